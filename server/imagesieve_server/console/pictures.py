"""Pictures for people: previews encoded anew, and their veiled twins.

A decode worker makes the pixels; they are encoded here, so that nothing of the uploaded file
reaches a browser. The veiled twin is made of 24 × 24 px or less: what it hides is not in it.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageFilter

from imagesieve_server.core.errors import (
    ImagesieveError,
    ImageUndecodable,
    ItemNotFound,
    RequestError,
    UndecodableDetail,
)
from imagesieve_server.core.ports import PreviewMaker, ReviewQueue
from imagesieve_server.core.review import Item, State
from imagesieve_server.core.views import Background, Preview, PreviewPlan

PATIENCE_S: Final = 15.0
_KEPT_BYTES: Final = 64 << 20
_VEIL_PX: Final = 24  # the longer side of what a veiled picture is made of
_VEILED_PX: Final = 480  # and of the veiled picture
_QUALITY: Final = 85

_GONE: Final = "The file is not kept any more."
_WHY: Final = {
    UndecodableDetail.TRUNCATED: "The file ends before the picture does.",
    UndecodableDetail.OVER_CAPS: "The file announces a larger picture than this server opens.",
    UndecodableDetail.DECODE_ERROR: "The file is damaged or not what it says it is.",
    UndecodableDetail.WORKER_KILLED: "Opening the file crashed the decoder.",
    UndecodableDetail.TIMED_OUT: "Opening the file took too long.",
    UndecodableDetail.QUARANTINED: "The file crashed decoders before and is not opened any more.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One frame on one background, as JPEG."""

    clear: bytes
    veiled: bytes
    width: int  # px of the upright original
    height: int
    frames: int
    has_alpha: bool
    media: str  # JPEG, PNG, …


class NoPicture(Exception):
    """There is nothing to show; the text says why, for a person."""


class Pictures:
    """Makes and keeps pictures, for one event loop."""

    def __init__(self, *, queue: ReviewQueue, maker: PreviewMaker) -> None:
        self._queue = queue
        self._maker = maker
        self._kept: OrderedDict[tuple[str, str, int, Background], Picture] = OrderedDict()
        self._bytes = 0

    async def picture(self, item: Item, *, frame: int, background: Background) -> Picture:
        """Raises NoPicture, and CapacityError or StoreUnavailable, which pass."""
        tenant, sha256 = item.tenant, item.sha256
        if item.state is State.EXPIRED:  # erased, or past its time: what is kept here goes too
            self._forget(tenant, sha256)
            raise NoPicture(_GONE)
        key = (tenant, sha256, frame, background)
        if found := self._kept.get(key):
            self._kept.move_to_end(key)
            return found
        plan = PreviewPlan(frame=frame, background=background)
        try:
            data = await self._queue.evidence(tenant=tenant, sha256=sha256)
            preview = await self._maker.preview(
                data, plan=plan, deadline=time.monotonic() + PATIENCE_S
            )
        except ImageUndecodable as error:
            raise NoPicture(_WHY[error.detail]) from None
        except ItemNotFound:
            raise NoPicture(_GONE) from None
        except RequestError:
            raise NoPicture("The file is not of a kind that this server opens.") from None
        picture = await asyncio.to_thread(_encode, preview)
        self._keep(key, picture)
        return picture

    def _keep(self, key: tuple[str, str, int, Background], picture: Picture) -> None:
        if key in self._kept:  # two asked for it at the same time
            self._bytes -= _size(self._kept.pop(key))
        self._kept[key] = picture
        self._bytes += _size(picture)
        while self._bytes > _KEPT_BYTES:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= _size(gone)

    def _forget(self, tenant: str, sha256: str) -> None:
        for key in [key for key in self._kept if key[:2] == (tenant, sha256)]:
            self._bytes -= _size(self._kept.pop(key))


async def try_picture(
    pictures: Pictures, item: Item, *, frame: int, background: Background
) -> Picture | str:
    """The picture, or why there is none just now."""
    try:
        return await pictures.picture(item, frame=frame, background=background)
    except NoPicture as error:
        return str(error)
    except ImagesieveError:
        return "The picture cannot be made at this moment. Load the page again in a little while."


def _size(picture: Picture) -> int:
    return len(picture.clear) + len(picture.veiled)


def _encode(preview: Preview) -> Picture:
    image = Image.fromarray(preview.pixels)
    return Picture(
        clear=_jpeg(image),
        veiled=_jpeg(_veiled(image)),
        width=preview.info.width,
        height=preview.info.height,
        frames=preview.info.frames,
        has_alpha=preview.info.has_alpha,
        media=preview.info.format,
    )


def _veiled(image: Image.Image) -> Image.Image:
    small = _fitted(image.convert("L"), _VEIL_PX, Image.Resampling.BOX)
    # The result only ever sees ``small``; the blur takes the squares away that it is made of.
    size = _fitted_size(image.size, _VEILED_PX)
    large = small.resize(size, Image.Resampling.BICUBIC)
    return large.filter(ImageFilter.GaussianBlur(_VEILED_PX / _VEIL_PX))


def _fitted(image: Image.Image, side: int, filter_: Image.Resampling) -> Image.Image:
    return image.resize(_fitted_size(image.size, side), filter_)


def _fitted_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = side / max(size)
    return (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
