"""What happens to a picture between the camera and the model, for training.

Grain, JPEG of many qualities with and without chroma subsampling, decoding at a smaller scale,
and the filters that people and programs resize with. Everything random comes from the seed.
"""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
from PIL import Image

FILTERS = (
    Image.Resampling.BOX,
    Image.Resampling.BILINEAR,
    Image.Resampling.HAMMING,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)
QUALITIES = (60, 95)
SUBSAMPLING = (0, 2)
_ENLARGED, _SMALL = 0.3, 0.2  # shares that are a larger JPEG, or a JPEG of the model's own size
_FACTORS = (1.5, 2.0, 3.0)
_GRAIN = 8.0  # greatest standard deviation of brightness at an upload's size, of 255
_NOISE = 3.0  # greatest standard deviation of each value at the model's size
_LEVELS = 3  # greatest uniform change of each value at the model's size


def as_uploaded(pixels: Any, seed: int) -> Any:
    """uint8 [N, S, S, 3], each picture after a way of its own through an upload and a decoder."""
    chance = random.Random(seed)
    noise = np.random.default_rng(seed)
    changed = np.stack([_through_jpeg(picture, chance, noise) for picture in pixels])
    shape = (len(pixels), 1, 1, 1)
    spread = noise.uniform(0, _NOISE, shape) * (noise.random(shape) < 0.5)
    levels = noise.integers(0, _LEVELS + 1, shape)
    values = changed + spread * noise.standard_normal(pixels.shape, dtype=np.float32)
    values += np.rint(levels * noise.uniform(-1, 1, pixels.shape))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _through_jpeg(picture: Any, chance: random.Random, noise: Any) -> Any:
    way = chance.random()
    if way >= _ENLARGED + _SMALL:
        return picture
    image, side = Image.fromarray(picture), len(picture)
    if way < _ENLARGED:
        larger = round(side * chance.choice(_FACTORS))
        image = image.resize((larger, larger), chance.choice(FILTERS[1:]))
        grain = noise.normal(0, chance.uniform(0, _GRAIN), (larger, larger, 1))
        image = Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
    return np.asarray(_decoded(_jpeg(image, chance), side, chance))


def _jpeg(image: Image.Image, chance: random.Random) -> bytes:
    out = io.BytesIO()
    quality, subsampling = chance.randint(*QUALITIES), chance.choice(SUBSAMPLING)
    image.save(out, "JPEG", quality=quality, subsampling=subsampling)
    return out.getvalue()


def _decoded(data: bytes, side: int, chance: random.Random) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        if chance.random() < 0.5:
            image.draft("RGB", (side, side))
        return image.convert("RGB").resize((side, side), chance.choice(FILTERS))
