"""Decoding and preprocessing on one core ÷ the plain way: every pixel decoded, resized, cropped
and made floating point, as open_clip's own transform does with Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from PIL import Image

from imagesieve_server.assembly import limits_of
from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.figures import Aim, Ratio, Series
from imagesieve_server.commands.bench.matmul_peak import calls_per_s
from imagesieve_server.commands.bench.pictures import LARGE, MEDIUM, SMALL, Pictures, Size
from imagesieve_server.core.views import Coverage, Preprocessing, ViewPlan
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.preprocess import bundle_view
from imagesieve_server.images.resample import by_pillow

NAME = "decode"
AIMS: Mapping[Size, Aim] = {
    SMALL: Aim(at_least=1.3),
    MEDIUM: Aim(at_least=2.5),
    LARGE: Aim(at_least=3.5),
}
Transform = Callable[[bytes], object]


def measure(bench: Bench) -> list[Ratio]:
    """One ratio for each size, against Pillow alone."""
    preprocessing = bench.bundle.manifest.preprocessing
    plain = plain_transform(preprocessing)
    return compare(bench, plain, name="every pixel by Pillow", side=preprocessing.size)


def compare(bench: Bench, reference: Transform, *, name: str, side: int) -> list[Ratio]:
    """Ours ÷ ``reference``, which takes a JPEG's bytes; both to ``side`` px, in this process, one
    after the other. The way to a worker process and back is not in it."""
    limits = limits_of(bench.settings)
    preprocessing = replace(bench.bundle.manifest.preprocessing, size=side)
    plan = ViewPlan(coverage=Coverage.CENTRE)
    found: dict[Size, list[tuple[float, float]]] = {size: [] for size in AIMS}
    supplies = {size: Pictures(size, different=3) for size in AIMS}
    for _ in range(bench.effort.rounds):
        for size, pictures in supplies.items():

            def ours(new: Callable[[], bytes] = pictures.new) -> object:
                return decode_image(new(), plan=plan, preprocessing=preprocessing, limits=limits)

            def theirs(new: Callable[[], bytes] = pictures.new) -> object:
                return reference(new())

            seconds = bench.effort.seconds / 2
            found[size].append((calls_per_s(ours, seconds), calls_per_s(theirs, seconds)))
    return [_ratio(size, rounds, supplies[size], name) for size, rounds in found.items()]


def plain_transform(preprocessing: Preprocessing) -> Transform:
    """The bundle's transform as open_clip writes it, without torch: float32 [3, S, S] out."""
    mean = np.array(preprocessing.mean, dtype=np.float32)
    std = np.array(preprocessing.std, dtype=np.float32)

    def transform(data: bytes) -> object:
        with Image.open(io.BytesIO(data)) as image:
            pixels = bundle_view(image.convert("RGB"), preprocessing, resample=by_pillow)
        scaled = (pixels.astype(np.float32) / np.float32(255) - mean) / std
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))

    return transform


def _ratio(size: Size, rounds: list[tuple[float, float]], pictures: Pictures, name: str) -> Ratio:
    return Ratio(
        measure=NAME,
        title=f"decoding of {size.name} ÷ {name}",
        over=Series(what="decoder, one core", unit="images/s", values=tuple(o for o, _ in rounds)),
        under=Series(what=name, unit="images/s", values=tuple(t for _, t in rounds)),
        aim=AIMS[size],
        beside={"kB a picture": sum(map(len, pictures.different)) / 1000 / len(pictures.different)},
    )
