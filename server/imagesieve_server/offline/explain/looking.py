"""Look at one file as the server would: its decoder in a worker process, its encoder, its rules.

A hostile file can end the worker, never the command. Knows files of the server's formats and
how to run the parts once; refuses to know what is done with the explanation.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry

from imagesieve_server.core.errors import ImageUndecodable, PolicyError
from imagesieve_server.core.explaining import CategoryExplanation, Explanation, explain
from imagesieve_server.core.failure import judge_undecodable
from imagesieve_server.core.policy import OnUndecodable, Policy
from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.core.verdict import Judgement
from imagesieve_server.core.views import (
    Coverage,
    DecodedImage,
    Pixels,
    Preprocessing,
    ViewPlan,
)
from imagesieve_server.encoders.bucketed import BucketedEncoder
from imagesieve_server.images.decoder_pool import DecoderPool
from imagesieve_server.images.limits import Limits
from imagesieve_server.metrics.recorder import PrometheusMetrics

PREVIEW_PX: Final = 1024
"""The longer side of the whole picture, for showing it."""

SERVER_VIEWS: Final = 32
"""Views that a server's decoder has room for, whatever a policy asks."""

_PATIENCE_S: Final = 120.0  # for one image; its own limits end a bad one long before


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One file under one policy and model."""

    file: str
    sha256: str
    policy: Policy
    model: EncoderSpec
    judgement: Judgement
    image: DecodedImage | None  # with its pixels; None where no picture could be made
    explanation: Explanation | None  # None where no picture could be made
    whole: Pixels | None = None  # uint8 [H, W, 3]: the frame that decided, upright and uncut


class Looker:
    """Explains files with one open encoder."""

    def __init__(self, *, encoder: BucketedEncoder, limits: Limits, frame_key: bytes) -> None:
        """``frame_key`` is the server's secret of the frame choice; it decides ties only."""
        self._encoder = encoder
        self._limits = limits
        self._frame_key = frame_key

    def explain(
        self,
        data: bytes,
        *,
        file: str,
        policy: Policy,
        with_picture: bool = False,
        about: Collection[str] = (),
    ) -> Report:
        """Judge the bytes as a server with this model and policy would, and say why.

        ``with_picture`` fetches the whole frame that decided, for the first of the categories
        in ``about`` (of all where it is empty).

        Raises PolicyError where the policy was compiled for another model, and what decoding
        and encoding raise; ImageUndecodable only where the policy refuses such files.
        """
        refuse_other_model(policy, self._encoder.spec, file=file)
        report = functools.partial(
            Report,
            file=file,
            sha256=hashlib.sha256(data).hexdigest(),
            policy=policy,
            model=self._encoder.spec,
        )
        plan = ViewPlan(coverage=policy.coverage, max_views=policy.max_views)
        try:
            image = self._decode(data, plan, self._encoder.spec.preprocessing)
        except ImageUndecodable as error:
            if policy.on_undecodable is OnUndecodable.REJECT:
                raise
            judgement = judge_undecodable(error.detail)
            return report(judgement=judgement, image=None, explanation=None)
        explanation = explain(
            policy=policy,
            embeddings=self._encoder.run(image.pixels),
            views=image.views,
            coverage=image.coverage,
            truncated=image.truncated,
        )
        whole = self._whole(data, image, explanation.about(about)) if with_picture else None
        return report(
            judgement=explanation.judgement,
            image=image,
            explanation=explanation,
            whole=whole,
        )

    def _whole(
        self, data: bytes, image: DecodedImage, about: Sequence[CategoryExplanation]
    ) -> Pixels | None:
        """The whole frame that decided, through the worker like everything else.

        There is room for as many frames as were judged, each on two backgrounds; frames are
        chosen one after the other, the same ones in the same order, so it is among them.
        """
        view = image.views[about[0].score.view if about else 0]
        room = 2 * len({other.frame for other in image.views})
        shown = self._decode(
            data,
            ViewPlan(coverage=Coverage.CENTRE, max_views=room),
            Preprocessing(size=PREVIEW_PX, resize="longest"),
            room=room,
        )
        for number, other in enumerate(shown.views):
            if (other.frame, other.background) == (view.frame, view.background):
                return _without_padding(shown.pixels[number], image)
        return None

    def _decode(
        self, data: bytes, plan: ViewPlan, preprocessing: Preprocessing, *, room: int = SERVER_VIEWS
    ) -> DecodedImage:
        return asyncio.run(self._decode_once(data, plan, preprocessing, room))

    async def _decode_once(
        self, data: bytes, plan: ViewPlan, preprocessing: Preprocessing, room: int
    ) -> DecodedImage:
        pool = DecoderPool(
            preprocessing=preprocessing,
            metrics=PrometheusMetrics(registry=CollectorRegistry(), version=""),
            limits=self._limits,
            workers=1,
            max_views=room,
            frame_key=self._frame_key,
        )
        await pool.start()
        try:
            return await pool.decode(data, plan=plan, deadline=time.monotonic() + _PATIENCE_S)
        finally:
            await pool.close()


def refuse_other_model(policy: Policy, model: EncoderSpec, *, file: str = "") -> None:
    """Raise PolicyError where the policy's vectors were made with another model."""
    if policy.model_fingerprint != model.fingerprint:
        raise PolicyError(
            f"policy {policy.name!r} was compiled for model {policy.model_fingerprint[:12]}, but "
            f"--model is {model.fingerprint[:12]} ({model.name}); compile it for that model, or "
            "name the model it was compiled for",
            file=file,
        )


def _without_padding(square: Pixels, image: DecodedImage) -> Pixels:
    """The picture in the middle of a padded square (``preprocess`` mode longest)."""
    size = len(square)
    ratio = max(image.info.width, image.info.height) / size
    width = max(1, round(image.info.width / ratio))
    height = max(1, round(image.info.height / ratio))
    left, upper = (size - width) // 2, (size - height) // 2
    return square[upper : upper + height, left : left + width]
