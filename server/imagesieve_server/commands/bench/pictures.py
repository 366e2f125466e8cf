"""Synthetic JPEGs of stated sizes, the same on every machine, none sent twice.

Colours that change slowly under noise, so that a file has about the bytes of a photograph (0.35
a pixel). Bytes after a JPEG's end change its hash and nothing else: by them every picture that
is sent is new to the server, at the price of one decoding of few different pictures.
"""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

_COARSE_PX = 16  # side of a patch of one colour before smoothing
_NOISE = 9.0  # standard deviation, of 255
_QUALITY = 85


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One size of picture."""

    name: str
    width: int  # px
    height: int  # px

    @property
    def megapixels(self) -> float:
        return self.width * self.height / 1e6


SQUARE = Size(name="square", width=480, height=480)
SMALL = Size(name="0.3 MP", width=640, height=480)
MEDIUM = Size(name="3 MP", width=2048, height=1536)
LARGE = Size(name="12 MP", width=4032, height=3024)


@functools.lru_cache(maxsize=64)  # several measures send the same ones
def synthetic_jpeg(size: Size, *, seed: int) -> bytes:
    """One picture of this size; equal seeds give equal pixels."""
    rng = np.random.default_rng(seed)
    shape = (-(-size.height // _COARSE_PX), -(-size.width // _COARSE_PX), 3)
    coarse = Image.fromarray(rng.integers(0, 255, size=shape, dtype=np.uint8))
    smooth = coarse.resize((size.width, size.height), Image.Resampling.BICUBIC)
    noise = rng.normal(0, _NOISE, size=(size.height, size.width, 1)).astype(np.float32)
    pixels = np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


class Pictures:
    """An endless supply of pictures of one size, a few in turn, each with bytes of its own."""

    def __init__(self, size: Size, *, different: int = 8, seed: int = 0) -> None:
        self.size = size
        self.different: Sequence[bytes] = [
            synthetic_jpeg(size, seed=seed + number) for number in range(different)
        ]
        self._numbers = itertools.count()
        self._turn: Iterator[bytes] = itertools.cycle(self.different)

    def new(self) -> bytes:
        """A picture whose bytes nobody saw before."""
        return next(self._turn) + f"{self.size.name} {next(self._numbers)}".encode()
