"""When two pictures look the same to a person who decides: distances between PDQ hashes.

Pure. A hash is 256 bits; two pictures without anything in common differ in about 128 of them.
Neighbours are found by multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012) without its
second step: a hash is filed under each of 16 bands of 16 bits. Two hashes that differ in at most
15 bits share a band whole; of those that differ in 24 or 31 bits by chance, 98 and 91 of 100 do.
Whoever is missed begins a group of its own. To find the rest would take 256 looks more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BITS = 256
BANDS = 16
BAND_BITS = 16

MATCH_DISTANCE = 31
"""Bits; PDQ's published threshold."""
QUALITY_MIN = 50
"""PDQ's published bound: pictures below it have too little in them to be told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureHash:
    """What a picture looks like from afar."""

    bits: str  # 64 hexadecimal digits
    quality: int  # 0 to 100

    @property
    def usable(self) -> str:
        """The bits, "" where the picture is too plain to be compared."""
        return self.bits if self.quality >= QUALITY_MIN else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """How near to a group's seed a picture must be to belong to it."""

    distance: int = MATCH_DISTANCE  # bits, 0 to MATCH_DISTANCE


def distance(one: str, other: str) -> int:
    """Bits in which two hashes differ, 0 to 256."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def bands(bits: str) -> tuple[int, ...]:
    """The 16 keys under which a hash is filed: band number and the band's bits.

    A band takes one bit of each row and column of the 16 x 16 frequencies, so that none holds
    only coarse or only fine ones, which pictures share for no reason.
    """
    places = np.unpackbits(np.frombuffer(bytes.fromhex(bits), dtype=np.uint8))
    cut = np.packbits(places[_DIAGONALS], axis=1).view(">u2").ravel()
    return tuple((cut + _NUMBERS).tolist())


_ROWS = np.arange(BAND_BITS)
_DIAGONALS = np.array([BAND_BITS * _ROWS + (_ROWS + band) % BAND_BITS for band in range(BANDS)])
_NUMBERS = np.arange(BANDS, dtype=np.int64) << BAND_BITS
