"""Picture files to embeddings, with the server's own decode workers and encoder.

A hostile picture costs a worker process, never the run: what cannot be decoded is reported by
name and left out. While one group of pictures is encoded, the next is decoded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from prometheus_client import CollectorRegistry

from imagesieve_server.core.errors import ImageUndecodable, RequestError
from imagesieve_server.core.ports import ImageDecoder
from imagesieve_server.core.verdict import ReasonCode
from imagesieve_server.core.views import DecodedImage, Embeddings, Preprocessing, View, ViewPlan
from imagesieve_server.encoders.row_encoder import RowEncoder
from imagesieve_server.images.decoder_pool import DecoderPool
from imagesieve_server.metrics.recorder import PrometheusMetrics
from imagesieve_server.offline.labelled.pictures import Picture
from imagesieve_server.usable_cores import usable_cores

_GROUP_VIEWS = 1024  # planned views that are in memory at once, decoded or being encoded
_GROUP_PICTURES = 32
_FAR_AWAY_S = 3600.0  # the workers' own limits end a picture long before


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One picture's views as the encoder sees them."""

    embeddings: Embeddings  # float32 [v, D], unit rows
    views: tuple[View, ...]  # v
    coverage: float  # 0 to 1; below 1 something planned was cut


Report = Callable[[Picture, Encoded | str], None]
"""Takes each picture as it is done: its embeddings, or the reason why there are none."""


def encode_pictures(
    pictures: Sequence[Picture],
    *,
    encoder: RowEncoder,
    plan: ViewPlan,
    report: Report,
) -> None:
    """Decode and encode each picture and report it, in order. Blocks; runs an event loop.

    Raises EncoderUnavailable where the encoder fails, StartupError where no decode worker
    starts, LabelsError where a file changes meanwhile.
    """
    if pictures:
        asyncio.run(_with_pool(pictures, encoder, plan, report))


async def _with_pool(
    pictures: Sequence[Picture], encoder: RowEncoder, plan: ViewPlan, report: Report
) -> None:
    pool = decoder_pool(encoder.spec.preprocessing, plan)
    await pool.start()
    try:
        await _encode_groups(pictures, pool, encoder, plan, report)
    finally:
        await pool.close()


def decoder_pool(preprocessing: Preprocessing, plan: ViewPlan) -> DecoderPool:
    """The server's decoder with its default limits; start it before use, close it after.

    The frame choice breaks ties by an empty key, so that it is the same on every machine; each
    server breaks them by its own secret.
    """
    return DecoderPool(
        preprocessing=preprocessing,
        metrics=PrometheusMetrics(registry=CollectorRegistry(), version="offline"),
        workers=usable_cores(),
        queue_capacity=_GROUP_PICTURES,
        max_views=plan.max_views,
    )


async def decode_picture(
    picture: Picture, *, decoder: ImageDecoder, plan: ViewPlan
) -> DecodedImage | str:
    """The picture's views, or why there are none (UndecodableDetail, or an error's reason)."""
    try:
        return await decoder.decode(
            picture.read(), plan=plan, deadline=time.monotonic() + _FAR_AWAY_S
        )
    except ImageUndecodable as error:
        return error.detail.value
    except RequestError as error:
        return error.reason


async def _encode_groups(
    pictures: Sequence[Picture],
    decoder: ImageDecoder,
    encoder: RowEncoder,
    plan: ViewPlan,
    report: Report,
) -> None:
    size = max(1, min(_GROUP_PICTURES, _GROUP_VIEWS // plan.max_views))
    encoding: asyncio.Task[Sequence[Encoded | str]] | None = None
    before: Sequence[Picture] = ()
    for start in range(0, len(pictures), size):
        group = pictures[start : start + size]
        decoded = await asyncio.gather(
            *(decode_picture(picture, decoder=decoder, plan=plan) for picture in group)
        )
        if encoding is not None:
            _report_all(report, before, await encoding)
        encoding = asyncio.create_task(asyncio.to_thread(_encode, encoder, decoded))
        before = group
    if encoding is not None:
        _report_all(report, before, await encoding)


def _report_all(
    report: Report, pictures: Sequence[Picture], found: Sequence[Encoded | str]
) -> None:
    for picture, one in zip(pictures, found, strict=True):
        report(picture, one)


def _encode(encoder: RowEncoder, decoded: Sequence[DecodedImage | str]) -> list[Encoded | str]:
    images = [one for one in decoded if not isinstance(one, str)]
    if not images:
        return [one for one in decoded if isinstance(one, str)]
    embeddings = encoder.run(np.concatenate([image.pixels for image in images]))
    rows = iter(np.split(embeddings, np.cumsum([len(image.views) for image in images])[:-1]))
    return [one if isinstance(one, str) else _encoded(one, next(rows)) for one in decoded]


def _encoded(image: DecodedImage, embeddings: Embeddings) -> Encoded | str:
    if not np.isfinite(embeddings).all():
        return ReasonCode.SCORE_INVALID.value
    return Encoded(embeddings=embeddings, views=image.views, coverage=image.coverage)
