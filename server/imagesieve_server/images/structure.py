"""The outer structure of image files: whether they end early, how many frames or scans they have.

Knows how each format frames its parts (segments, chunks, blocks, boxes). It refuses to decode:
it tells apart a file that was cut from one that is broken, which codecs do not do reliably,
and counts the frames of a GIF and the scans of a JPEG without drawing them.
"""

from __future__ import annotations

import re
from typing import Final

from imagesieve_server.images.sniff import ImageFormat

# A marker that has a length: not a fill byte, not stuffing, not one that stands alone.
_JPEG_SEGMENT: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_START_OF_SCAN: Final = 0xDA
_START_OF_FRAME: Final = frozenset([0xC0, 0xC1, 0xC2])
_PROGRESSIVE: Final = 0xC2
_END_OF_IMAGE: Final = b"\xff\xd9"
_GIF_BLOCK: Final = re.compile(rb"[\x21\x2c\x3b]")


def ends_early(data: bytes, format_: ImageFormat) -> bool:
    """True where the data end before the file's own structure does."""
    match format_:
        case ImageFormat.JPEG:
            return _jpeg_ends_early(data)
        case ImageFormat.PNG:
            return _png_ends_early(data)
        case ImageFormat.GIF:
            return _walk_gif(data, stop_at=None)[1]
        case ImageFormat.WEBP:
            return len(data) < 12 or int.from_bytes(data[4:8], "little") + 8 > len(data)
        case ImageFormat.AVIF:
            return _boxes_end_early(data)


def gif_frames(data: bytes, *, stop_at: int) -> int:
    """How many pictures a GIF holds, counted up to ``stop_at``."""
    return _walk_gif(data, stop_at=stop_at)[0]


def jpeg_scans(data: bytes, *, stop_at: int) -> int:
    """How many scans a JPEG's picture is stored in, counted up to ``stop_at``.

    Pictures behind its end (thumbnails, the second half of a stereo pair) do not count.
    """
    scans, at, components, is_progressive = 0, 2, 0, False
    while scans < stop_at and (found := _JPEG_SEGMENT.search(data, at)):
        at = found.end()
        marker, body = data[at - 1], data[at : at + 8]
        if marker == _END_OF_IMAGE[1]:
            break
        if marker in _START_OF_FRAME and len(body) == 8:
            components, is_progressive = body[7], marker == _PROGRESSIVE
        elif marker == _START_OF_SCAN:
            scans += 1
            if scans == 1 and not is_progressive and body[2:3] == bytes([components]):
                break  # everything is in the first, and decoders read no further
        at += int.from_bytes(body[:2], "big")
    return scans


def png_sample_bits(data: bytes) -> int:
    """Bits per sample from a PNG's header (1, 2, 4, 8 or 16), 8 where it is not there."""
    return data[24] if len(data) > 24 and data[12:16] == b"IHDR" else 8


def _jpeg_ends_early(data: bytes) -> bool:
    at = 2
    while found := _JPEG_SEGMENT.search(data, at):
        at = found.end()
        marker = data[at - 1]
        if marker == _END_OF_IMAGE[1]:
            return False
        if marker == _START_OF_SCAN:
            # Within a scan every 0xff is stuffed, so that the two bytes can only be the marker.
            return data.find(_END_OF_IMAGE, at) < 0
        at += int.from_bytes(data[at : at + 2], "big")
    return True


def _png_ends_early(data: bytes) -> bool:
    at = 8
    while at + 12 <= len(data):
        if data[at + 4 : at + 8] == b"IEND":
            return False
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return True


def _boxes_end_early(data: bytes) -> bool:
    at = 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if length == 0:  # this box runs to the end of the file
            return False
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16], "big")
        if length < 8:
            return False
        at += length
    return at != len(data)


def _walk_gif(data: bytes, *, stop_at: int | None) -> tuple[int, bool]:
    """Frames found (up to ``stop_at``), and whether the data ended before the trailer."""
    if len(data) < 13:
        return 0, True
    frames = 0
    at = 13 + _colour_table_bytes(data[10])
    while stop_at is None or frames < stop_at:
        block = _GIF_BLOCK.search(data, at)  # decoders skip stray bytes between blocks
        if block is None:
            return frames, True
        at, introducer = block.start(), data[block.start()]
        if introducer == 0x3B:  # the trailer
            return frames, False
        if introducer == 0x21:  # an extension: label, sub-blocks
            at = _skip_sub_blocks(data, at + 2)
        elif at + 10 <= len(data):  # a picture
            frames += 1
            at = _skip_sub_blocks(data, at + 11 + _colour_table_bytes(data[at + 9]))
        else:
            return frames, True
    return frames, False


def _colour_table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_sub_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1
