"""How long an image should take to decode, from its header alone.

Knows where each format announces its size, its frames and how it is stored. It refuses to
decode, to walk a file to its end, and to raise: what cannot be read is judged by its bytes. It
decides only whose turn it is. A header that lies moves nobody but its own image: what is then
done is what the decoder finds, and counts as the time that it took.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from imagesieve_server.images.sniff import ImageFormat

MOST_S: Final = 8.0
_LEAST_S: Final = 0.0005
_SCALES: Final = (8, 4, 2)  # of the DCT, as ``opening.py`` uses them

# Seconds of one common core, by measurement; what counts is the order they put images in.
_BASE: Final = 0.0012  # of any image
_JPEG_BYTE: Final = 10e-9
_JPEG_PIXEL: Final = 0.3e-9  # as stored
_JPEG_SHOWN: Final = 13e-9  # of those that are left after scaling
_PROGRESSIVE: Final = 3e-9  # more for each pixel as stored
_PNG_PIXEL: Final = 35e-9
_WEBP_PIXEL: Final = 16e-9
_LOSSLESS_PIXEL: Final = 26e-9  # of a WebP
_GIF_PIXEL: Final = 14e-9
_AVIF_PIXEL: Final = 14e-9
_BYTE: Final = 15e-9  # of a file whose header says nothing

_SEGMENT: Final = re.compile(rb"\xff+([^\x00\x01\xd0-\xd8\xff])")
_SEGMENTS: Final = 100  # looked at before a picture begins; real files have a few
_FILL: Final = 16  # bytes before a marker that are looked at
_START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE_FRAMES: Final = frozenset([0xC2, 0xC6, 0xCA, 0xCE])
_START_OF_SCAN: Final = 0xDA
_PARTS: Final = 64  # chunks or blocks that are looked at in other formats
_GIF_PICTURE: Final = 0x2C
_GIF_EXTENSION: Final = 0x21
_GIF_BLOCKS: Final = 512  # sub-blocks of at most 255 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """What a header says."""

    frame_s: float  # seconds for one frame
    frames: int = 1


def expected_s(data: bytes, format_: ImageFormat, *, target: int) -> float:
    """Seconds of one common core. ``target`` is the side in px of the squares that are cut.

    Takes microseconds, whatever the bytes are, and raises nothing.
    """
    found = _READERS[format_](data, target)
    if found is None:
        return min(_BASE + len(data) * _BYTE, MOST_S)
    return min(_BASE + found.frames * found.frame_s, MOST_S)


def _jpeg(data: bytes, target: int) -> Announced | None:
    at = 2
    for _ in range(_SEGMENTS):
        found = _SEGMENT.match(data, at, at + _FILL)
        if found is None:
            return None
        marker, at = found[1][0], found.end()
        if marker in _START_OF_FRAME:
            height, width = _big(data, at + 3, 2), _big(data, at + 5, 2)
            return _jpeg_of(len(data), width, height, target, marker in _PROGRESSIVE_FRAMES)
        if marker == _START_OF_SCAN:
            return None
        at += max(2, _big(data, at, 2))
    return None


def _jpeg_of(size: int, width: int, height: int, target: int, progressive: bool) -> Announced:
    short, pixels = min(width, height), width * height
    scale = next((scale for scale in _SCALES if short // scale >= 2 * target), 1)
    a_pixel = _JPEG_PIXEL + _JPEG_SHOWN / scale**2 + progressive * _PROGRESSIVE
    # More bytes than a picture of so many pixels can have lie behind it.
    return Announced(frame_s=pixels * a_pixel + min(size, 2 * pixels) * _JPEG_BYTE)


def _png(data: bytes, target: int) -> Announced:
    del target
    pixels = _big(data, 16, 4) * _big(data, 20, 4)
    frames, at = 1, 8
    for _ in range(_PARTS):
        kind = data[at + 4 : at + 8]
        if kind == b"acTL":
            frames = _big(data, at + 8, 4)
        if kind in (b"acTL", b"IDAT", b""):
            break
        at += 12 + _big(data, at, 4)
    return Announced(frame_s=pixels * _PNG_PIXEL, frames=frames)


def _webp(data: bytes, target: int) -> Announced | None:
    del target
    match data[12:16]:
        case b"VP8X":
            pixels = (1 + _little(data, 24, 3)) * (1 + _little(data, 27, 3))
            frames = _webp_frames(data) if _little(data, 20, 1) & 2 else 1
            return Announced(frame_s=pixels * _WEBP_PIXEL, frames=frames)
        case b"VP8L":
            bits = _little(data, 21, 4)
            pixels = (1 + (bits & 0x3FFF)) * (1 + (bits >> 14 & 0x3FFF))
            return Announced(frame_s=pixels * _LOSSLESS_PIXEL)
        case b"VP8 ":
            pixels = (_little(data, 26, 2) & 0x3FFF) * (_little(data, 28, 2) & 0x3FFF)
        case _:
            return None
    return Announced(frame_s=pixels * _WEBP_PIXEL)


def _webp_frames(data: bytes) -> int:
    """Frames of an animation; where there are many, as many as those looked at promise."""
    frames, at = 0, 12
    for _ in range(_PARTS):
        if at + 8 > len(data):
            return max(1, frames)
        frames += data[at : at + 4] == b"ANMF"
        at += 8 + (_little(data, at + 4, 4) + 1 & ~1)
    return max(1, frames * len(data) // min(at, len(data)))


def _gif(data: bytes, target: int) -> Announced:
    """The screen, and as many frames as the first blocks promise for the whole file."""
    del target
    pixels = _little(data, 6, 2) * _little(data, 8, 2)
    frames, blocks, at = 0, 0, 13 + _colours(data, 10)
    while blocks < _GIF_BLOCKS and frames < _PARTS and at < len(data):
        introducer = data[at]
        if introducer == _GIF_PICTURE:
            at += 11 + _colours(data, at + 9)
        elif introducer == _GIF_EXTENSION:
            at += 2
        else:
            return _gif_of(pixels, frames)
        while blocks < _GIF_BLOCKS and at < len(data) and data[at]:
            blocks, at = blocks + 1, at + 1 + data[at]
        if blocks < _GIF_BLOCKS:  # else it goes on behind them
            frames += introducer == _GIF_PICTURE
        blocks, at = blocks + 1, at + 1
    if not frames:
        return _gif_of(pixels, round(len(data) / max(pixels, at)))
    return _gif_of(pixels, frames * len(data) // min(at, len(data)))


def _gif_of(pixels: int, frames: int) -> Announced:
    return Announced(frame_s=pixels * _GIF_PIXEL, frames=max(1, frames))


def _avif(data: bytes, target: int) -> Announced | None:
    """The largest picture that the first properties speak of; a sequence's number of samples."""
    del target
    head = data[:4096]
    pixels, at = 0, head.find(b"ispe")
    for _ in range(_PARTS):
        if at < 0:
            break
        pixels = max(pixels, _big(head, at + 8, 4) * _big(head, at + 12, 4))
        at = head.find(b"ispe", at + 4)
    samples = head.find(b"stsz") if data[8:12] == b"avis" else -1
    frames = max(1, _big(head, samples + 12, 4)) if samples >= 0 else 1
    if not pixels:
        return None
    return Announced(frame_s=pixels * _AVIF_PIXEL, frames=frames)


_READERS: Final[Mapping[ImageFormat, Callable[[bytes, int], Announced | None]]] = {
    ImageFormat.JPEG: _jpeg,
    ImageFormat.PNG: _png,
    ImageFormat.WEBP: _webp,
    ImageFormat.GIF: _gif,
    ImageFormat.AVIF: _avif,
}


def _big(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _little(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _colours(data: bytes, at: int) -> int:
    """Bytes of the colour table that the flags at ``at`` announce."""
    flags = data[at] if at < len(data) else 0
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
