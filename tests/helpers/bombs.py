"""Small files that ask for much: pixels, frames, scans, tables, memory or time.

Each is valid or nearly so, and each is what one cap or limit of the decoder is for.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from helpers import pictures
from helpers.pictures import animation, encode, png_chunk, raw_png


def many_scans(scans: int, side: int = 2_000) -> bytes:
    """A progressive JPEG whose last scan comes ``scans`` times over: each goes through every
    coefficient of the picture again, and costs a few bytes."""
    data = encode(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = data.rfind(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def big_frames(count: int, side: int = 2_000) -> bytes:
    """A GIF of ``count`` whole frames that differ by little, a few kilobytes each."""
    frames = [Image.new("P", (side, side), number % 250) for number in range(count)]
    return animation(frames, "GIF", optimize=False)


def inflating_text(mebibytes: int) -> bytes:
    """A PNG whose compressed text chunk unfolds to ``mebibytes`` MiB."""
    body = b"Comment\0\0" + zlib.compress(b"a" * (mebibytes << 20), 9)
    return _grey_png(png_chunk(b"zTXt", body))


def inflating_profile(mebibytes: int) -> bytes:
    """A PNG whose colour profile unfolds to ``mebibytes`` MiB."""
    body = b"icc\0\0" + zlib.compress(b"\0" * (mebibytes << 20), 9)
    return _grey_png(png_chunk(b"iCCP", body))


def inflating_rows(mebibytes: int) -> bytes:
    """A small PNG with far more pixel data than its header wants."""
    header = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (mebibytes << 20), 9)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def exif_in_circles() -> bytes:
    """A JPEG whose EXIF directory names itself as the next one, with 60 000 entries."""
    directory = b"MM\0*\0\0\0\x08" + struct.pack(">H", 5_000)
    directory += struct.pack(">HHII", 0x8769, 4, 1, 8) * 5_000 + struct.pack(">I", 8)
    return encode(pictures.scene((64, 64)), "JPEG", exif=b"Exif\0\0" + directory[:65_000])


def many_parts(format_: str, count: int) -> bytes:
    """A file with ``count`` parts that say nothing: chunks, segments or blocks."""
    if format_ == "PNG":
        data, at, part = pictures.black_png(64, 64), 33, png_chunk(b"tEXt", b"a\0b")
    elif format_ == "JPEG":
        data, at, part = encode(pictures.scene((64, 64)), "JPEG"), 2, b"\xff\xe5\0\2"
    else:
        data, part = encode(Image.new("P", (64, 64)), "GIF"), b"\x21\xfe\1a\0"
        at = 13 + (3 << ((data[10] & 7) + 1))
    return data[:at] + part * count + data[at:]


def dense(format_: str, side: int, **options: object) -> bytes:
    """Noise, which costs the most time a pixel."""
    grey = np.random.default_rng(3).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    picture = Image.fromarray(np.tile(grey, (8, 8, 1)))
    return encode(picture, format_, **options)


def _grey_png(extra: bytes) -> bytes:
    return raw_png(64, 64, bits=8, colour_type=0, rows=b"\x80" * 64 * 64, extra=extra)


BOMBS: dict[str, Callable[[], bytes]] = {
    "png 8000x8000 black": lambda: pictures.black_png(8_000, 8_000),
    "png 60000x1000 black": lambda: pictures.black_png(60_000, 1_000),
    "png 20000x20 black": lambda: pictures.black_png(20_000, 20),
    "png 65535x65535 announced": lambda: pictures.lying_png(65_535, 65_535),
    "png 7000x7000 announced": lambda: pictures.lying_png(7_000, 7_000),
    "png text of 64 MiB": lambda: inflating_text(64),
    "png profile of 64 MiB": lambda: inflating_profile(64),
    "png rows of 256 MiB": lambda: inflating_rows(256),
    "jpeg 16000x16000 announced": lambda: pictures.lying_jpeg(16_000, 16_000),
    "jpeg 65500x65500 announced": lambda: pictures.lying_jpeg(65_500, 65_500),
    "jpeg 12000x12000 grey": lambda: encode(Image.new("L", (12_000, 12_000)), "JPEG"),
    "jpeg 500 scans": lambda: many_scans(500),
    "jpeg 20000 scans": lambda: many_scans(20_000),
    "jpeg exif in circles": exif_in_circles,
    "webp 16000x16000 announced": lambda: pictures.lying_webp(16_000, 16_000),
    "webp 8000x8000 announced": lambda: pictures.lying_webp(8_000, 8_000),
    "webp 4096x4096 lossless noise": lambda: dense("WEBP", 4_096, lossless=True, method=0),
    "webp 16383x4000 black": lambda: encode(
        Image.new("RGB", (16_383, 4_000)), "WEBP", lossless=True, method=0
    ),
    "gif 2900 tiny frames": lambda: pictures.gif_of_tiny_frames(2_900),
    "gif 300000 tiny frames": lambda: pictures.gif_of_tiny_frames(300_000),
    "gif 60 frames of 4 MP": lambda: big_frames(60),
    "gif 2900 frames of 200x200": lambda: big_frames(2_900, side=200),
    "avif 2048x2048 noise": lambda: dense("AVIF", 2_048, speed=10),
    "avif 8000x8000 black": lambda: encode(Image.new("RGB", (8_000, 8_000)), "AVIF", speed=10),
    "png 300000 chunks": lambda: many_parts("PNG", 300_000),
    "jpeg 500000 segments": lambda: many_parts("JPEG", 500_000),
    "gif 500000 comments": lambda: many_parts("GIF", 500_000),
}
"""By name; each is made when called."""
