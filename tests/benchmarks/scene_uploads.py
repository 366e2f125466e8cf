"""Labelled scenes as people upload them: enlarged, grainy JPEGs of several sizes and qualities.

The scenes are as small as the demo model's input. Enlarged, each has a short side of four to
twelve times the model's, so that a decoder that scales does so, by 1/2, 1/4 or 1/8; grain at full
size gives it detail to lose, which an enlargement alone has not. Everything random comes from the
seed and the picture's number.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SHORT_SIDES = (4, 5, 6, 8, 12)  # times the model's
QUALITIES = (60, 75, 85, 95)
SUBSAMPLING = (0, 2)  # 4:4:4 and 4:2:0, as cameras and phones write them
GRAIN = 5.0  # standard deviation of brightness, of 255
_GRAIN_SIDE = 2048  # px; larger pictures repeat it


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One picture as it is sent."""

    data: bytes
    enlarged: int  # short side ÷ the model's
    quality: int  # of the JPEG


def uploads(labels: Path, *, n: int, seed: int, side: int) -> Iterator[Upload]:
    """``n`` pictures of the label file, drawn at random, for a model of ``side`` px."""
    with labels.open(newline="", encoding="utf-8") as rows:
        files = [row["file"] for row in csv.DictReader(rows)]
    grain = np.random.default_rng(seed).normal(0, GRAIN, (_GRAIN_SIDE, _GRAIN_SIDE))
    for number, name in enumerate(random.Random(seed).sample(files, min(n, len(files)))):
        chance = random.Random(f"{seed} {number}")
        yield _upload(labels.parent / name, chance, side, grain.astype(np.int16))


def _upload(path: Path, chance: random.Random, side: int, grain: np.ndarray) -> Upload:
    enlarged, quality = chance.choice(SHORT_SIDES), chance.choice(QUALITIES)
    with Image.open(path) as image:
        rgba = image.convert("RGBA")
    flat = Image.new("RGBA", rgba.size, "white")
    flat.alpha_composite(rgba)
    factor = enlarged * side / min(rgba.size)
    size = (round(rgba.width * factor), round(rgba.height * factor))
    pixels = np.asarray(flat.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    grainy = np.clip(pixels + _piece(grain, size, chance), 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(grainy).save(
        out, "JPEG", quality=quality, subsampling=chance.choice(SUBSAMPLING)
    )
    return Upload(data=out.getvalue(), enlarged=enlarged, quality=quality)


def _piece(grain: np.ndarray, size: tuple[int, int], chance: random.Random) -> np.ndarray:
    """int16 [H, W, 1] from a place in the grain that differs from picture to picture."""
    rows = (np.arange(size[1]) + chance.randrange(_GRAIN_SIDE)) % _GRAIN_SIDE
    columns = (np.arange(size[0]) + chance.randrange(_GRAIN_SIDE)) % _GRAIN_SIDE
    return grain[np.ix_(rows, columns)][:, :, np.newaxis]
