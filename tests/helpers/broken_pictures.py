"""Whole files broken on purpose: cut, flipped, spliced, and made to lie about themselves.

Every change is chosen by the generator it is given, so that a number names a file. Where a
format guards its parts by checksums they are made good again, or every lie would stop there.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator

Change = Callable[[bytes, bytes, random.Random], bytes]
"""From a file, and another one to take parts from, to a broken one."""

_ODD_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)
_ODD_32 = (
    0,
    1,
    7,
    255,
    256,
    16_383,
    16_384,
    65_535,
    65_536,
    2**24 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
_HEAD = 64  # bytes in which formats keep sides, lengths and counts


def break_file(data: bytes, other: bytes, chance: random.Random) -> tuple[str, bytes]:
    """One change, sometimes two. Returns its name and the broken file, which is never empty."""
    name = chance.choice(list(CHANGES))
    broken = CHANGES[name](data, other, chance)
    if broken and chance.random() < 0.2:
        broken = CHANGES[chance.choice(list(CHANGES))](broken, other, chance)
    return name, broken or data[:1]


def _cut(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """After some 1/64 of it."""
    return data[: len(data) * chance.randint(1, 63) // 64]


def _flip(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """One to 64 bits."""
    broken = bytearray(data)
    for _ in range(2 ** chance.randint(0, 6)):
        broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
    return bytes(broken)


def _flip_head(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """One to eight bits near the begin, where the headers are, the magic left alone."""
    broken = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(min(12, len(broken) - 1), min(len(broken), 12 + _HEAD))
        broken[at] ^= 1 << chance.randrange(8)
    return bytes(broken)


def _odd_bytes(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A run of one extreme byte."""
    at, length = chance.randrange(len(data)), 2 ** chance.randint(0, 8)
    return data[:at] + bytes([chance.choice(_ODD_BYTES)]) * length + data[at + length :]


def _odd_number(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """An extreme number of two or four bytes, in either order, anywhere."""
    order, (form, size) = chance.choice("<>"), chance.choice((("H", 2), ("I", 4)))
    number = chance.choice(_ODD_32) % 256**size
    at = max(0, chance.randrange(len(data)) - size)
    return data[:at] + struct.pack(order + form, number) + data[at + size :]


def _splice(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """The begin of one file and the end of another."""
    at = chance.randrange(len(data))
    return data[:at] + other[len(other) * at // len(data) :]


def _part_of_another(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A part replaced by, or with inserted, bytes of another file."""
    at, take = chance.randrange(len(data)), chance.randrange(len(other))
    length = chance.randint(1, 512)
    return data[:at] + other[take : take + length] + data[at + chance.choice((0, length)) :]


def _drop(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A part left out."""
    at = chance.randrange(len(data))
    return data[:at] + data[at + chance.randint(1, 256) :]


def _repeat(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A part more than once."""
    at, length = chance.randrange(len(data)), chance.randint(1, 512)
    return data[:at] + data[at : at + length] * chance.randint(2, 40) + data[at + length :]


def _lie(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A wrong side, length or count where the format keeps one."""
    fields = list(header_fields(data))
    if not fields:
        return _odd_number(data, other, chance)
    at, size, order = chance.choice(fields)
    old = int.from_bytes(data[at : at + size], order)
    number = chance.choice((*_ODD_32, old + 1, old - 1, old * 2, old // 2)) % 256**size
    return mend_png(data[:at] + number.to_bytes(size, order) + data[at + size :])


def _flip_mended(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Bits flipped behind a PNG's checksums; for other formats as ``flip``."""
    return mend_png(_flip(data, other, chance))


def _chunks_shuffled(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A PNG's chunks in another order, some twice; other formats: two halves swapped."""
    chunks = list(png_chunks(data))
    if not chunks:
        middle = len(data) // 2
        return data[:12] + data[middle:] + data[12:middle]
    chosen = [data[at : at + 12 + length] for at, length in chunks]
    inner = chosen[1:] + chance.choices(chosen, k=2)
    chance.shuffle(inner)
    return data[:8] + chosen[0] + b"".join(inner)


CHANGES: dict[str, Change] = {
    "cut": _cut,
    "flip": _flip,
    "flip head": _flip_head,
    "flip, checksums mended": _flip_mended,
    "odd bytes": _odd_bytes,
    "odd number": _odd_number,
    "splice": _splice,
    "part of another": _part_of_another,
    "drop": _drop,
    "repeat": _repeat,
    "lie": _lie,
    "chunks shuffled": _chunks_shuffled,
}


def header_fields(data: bytes) -> Iterator[tuple[int, int, str]]:
    """(offset, bytes, byte order) of numbers that a file says about itself."""
    if data.startswith(b"\x89PNG"):
        for at, length in png_chunks(data):
            yield at, 4, "big"
            if data[at + 4 : at + 8] in (b"IHDR", b"acTL", b"fcTL"):
                yield from ((at + 8 + step, 4, "big") for step in range(0, max(length - 3, 0), 4))
    elif data.startswith(b"\xff\xd8"):
        for at in _all(data, b"\xff"):
            marker = data[at + 1 : at + 2]
            if marker in (b"\xc0", b"\xc1", b"\xc2"):
                yield from ((at + 5, 2, "big"), (at + 7, 2, "big"), (at + 9, 1, "big"))
            if marker > b"\xbf" and marker != b"\xff":
                yield at + 2, 2, "big"
    elif data.startswith(b"GIF8"):
        yield from ((6, 2, "little"), (8, 2, "little"), (10, 1, "little"))
        for at in _all(data, b"\x2c"):
            yield from ((at + step, 2, "little") for step in (1, 3, 5, 7))
    elif data.startswith(b"RIFF"):
        for name in (b"RIFF", b"VP8 ", b"VP8L", b"VP8X", b"ANMF", b"ALPH", b"ANIM", b"EXIF"):
            for at in _all(data, name):
                yield at + 4, 4, "little"
                yield from ((at + 8 + step, 3, "little") for step in (0, 3, 4, 6, 7, 9))
    else:
        for name in (b"ispe", b"iloc", b"iinf", b"mdat", b"meta", b"tkhd", b"stsz", b"stco"):
            for at in _all(data, name):
                yield at - 4, 4, "big"
                yield from ((at + step, 4, "big") for step in (4, 8, 12, 16))


def png_chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """(offset, length of the body) of a PNG's chunks; nothing for another format."""
    at = 8 if data.startswith(b"\x89PNG") else len(data)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield at, length
        at += 12 + length


def mend_png(data: bytes) -> bytes:
    """A PNG with the right checksum on every chunk; other formats as they are."""
    mended = bytearray(data)
    for at, length in png_chunks(data):
        end = at + 8 + length
        if end + 4 <= len(data):
            mended[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
    return bytes(mended)


def _all(data: bytes, part: bytes) -> Iterator[int]:
    at = data.find(part)
    while 0 <= at < len(data) - 24:
        yield at
        at = data.find(part, at + 1)
