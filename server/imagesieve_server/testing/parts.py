"""A decoder, an encoder and a policy source that need no model, codec or process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from imagesieve_server.core.errors import (
    DeadlinePassed,
    EncoderUnavailable,
    ImageEmpty,
    ImageFormatUnsupported,
    ImageTooLarge,
    ImageUndecodable,
    UndecodableDetail,
    UnknownPolicy,
)
from imagesieve_server.core.near_duplicates import PictureHash
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.core.views import (
    DecodedImage,
    DecodeInfo,
    Embeddings,
    Pixels,
    Preprocessing,
    Preview,
    PreviewPlan,
    View,
    ViewKind,
    ViewPlan,
)
from imagesieve_server.testing.colours import FINGERPRINT, unit_vectors


class FakeDecoder:
    """Reads binary PPM files into one view. ``delay_s`` is how long each image takes."""

    def __init__(self, *, size: int = 8, max_bytes: int = 20 * 2**20, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self._size = size
        self._max_bytes = max_bytes

    async def decode(self, data: bytes, *, plan: ViewPlan, deadline: float) -> DecodedImage:
        """As the ImageDecoder port."""
        if not data:
            raise ImageEmpty("the image has no bytes")
        if len(data) > self._max_bytes:
            raise ImageTooLarge(f"the image has more than {self._max_bytes} bytes")
        if not data.startswith(b"P6"):
            raise ImageFormatUnsupported("the bytes are no PPM file")
        await _take(self.delay_s, deadline)
        pixels = _read_ppm(data)
        height, width = pixels.shape[:2]
        rows = np.arange(self._size) * height // self._size
        columns = np.arange(self._size) * width // self._size
        view = pixels[rows][:, columns]
        return DecodedImage(
            pixels=view[None],
            views=(View(kind=ViewKind.STILL, box=(0, 0, width, height)),),
            info=DecodeInfo(format="PPM", width=width, height=height, mode="RGB"),
            picture_hash=PictureHash(bits=sha256(view.tobytes()).hexdigest(), quality=100),
        )


class FakeEncoder:
    """Embeds a view as the unit vector of its mean colour.

    Set ``healthy`` or ``failure`` to break it. While ``pause`` holds, nothing is answered.
    """

    def __init__(self, *, size: int = 8, delay_s: float = 0.0) -> None:
        self.healthy = True
        self.failure: Exception | None = None
        self.delay_s = delay_s
        self.waiting = 0  # calls held by ``pause``
        self._size = size
        self._running = asyncio.Event()
        self._running.set()

    @property
    def spec(self) -> EncoderSpec:
        return EncoderSpec(
            fingerprint=FINGERPRINT,
            name="mean-colour",
            embedding_size=4,
            preprocessing=Preprocessing(size=self._size),
            logit_scale=100.0,
            logit_bias=0.0,
            precision="fp32",
            provider="none",
        )

    def pause(self) -> None:
        """Hold every call from now on."""
        self._running.clear()

    def resume(self) -> None:
        """Answer again, the held calls first."""
        self._running.set()

    async def encode(self, pixels: Pixels, *, deadline: float) -> Embeddings:
        """As the Encoder port."""
        self.waiting += 1
        try:
            await self._running.wait()
            await _take(self.delay_s, deadline)
        finally:
            self.waiting -= 1
        if self.failure:
            raise self.failure
        if not self.healthy:
            raise EncoderUnavailable("the encoder does not answer correctly at present")
        return unit_vectors(pixels.reshape(len(pixels), -1, 3).mean(axis=1))


class FreePlace:
    """The Place port with room for everything; remembers the views it was told."""

    def __init__(self) -> None:
        self.views = 0

    def take_views(self, views: int) -> None:
        """As the Place port."""
        self.views = views


class StaticPolicies:
    """The PolicySource port over policies that are replaced by hand; the first is the default."""

    def __init__(self, *policies: Policy) -> None:
        self.policies: tuple[Policy, ...] = policies

    def get(self, name: str) -> Policy:
        for policy in self.policies:
            if name in ("", policy.name):
                return policy
        raise UnknownPolicy(f"no policy named {name!r} is loaded", metadata={"policy": name})

    def all(self) -> Sequence[Policy]:
        return tuple(sorted(self.policies, key=lambda policy: policy.name))


class FakePreviews:
    """The PreviewMaker port over binary PPM files, which have one frame and are not reduced."""

    def __init__(self) -> None:
        self.asked: list[PreviewPlan] = []

    async def preview(self, data: bytes, *, plan: PreviewPlan, deadline: float) -> Preview:
        """As the PreviewMaker port."""
        self.asked.append(plan)
        if not data.startswith(b"P6"):
            raise ImageFormatUnsupported("the bytes are no PPM file")
        pixels = _read_ppm(data)
        height, width = pixels.shape[:2]
        info = DecodeInfo(format="PPM", width=width, height=height, mode="RGB")
        return Preview(pixels=pixels, frame=0, info=info)


def _read_ppm(data: bytes) -> Pixels:
    header, _, body = data.partition(b"\n")
    try:
        width, height = (int(part) for part in header.split()[1:3])
    except ValueError:
        raise _undecodable(UndecodableDetail.DECODE_ERROR) from None
    if width < 1 or height < 1:
        raise _undecodable(UndecodableDetail.DECODE_ERROR)
    if len(body) < width * height * 3:
        raise _undecodable(UndecodableDetail.TRUNCATED)
    flat = np.frombuffer(body, dtype=np.uint8, count=width * height * 3)
    return flat.reshape(height, width, 3)


def _undecodable(detail: UndecodableDetail) -> ImageUndecodable:
    return ImageUndecodable("no picture could be made of the file", detail=detail)


async def _take(seconds: float, deadline: float) -> None:
    """Spend the time, or as much as the deadline leaves."""
    left = deadline - time.monotonic()
    if left <= seconds:
        await asyncio.sleep(max(0.0, left))
        raise DeadlinePassed("the deadline passed during the work")
    if seconds:
        await asyncio.sleep(seconds)
