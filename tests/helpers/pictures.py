"""Pictures made in code: noise, scenes, animations, and files that lie or break.

Everything is deterministic and small, so that the tests need no files from elsewhere.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")


def noise(size: tuple[int, int], *, seed: int = 0) -> Image.Image:
    """An RGB picture of random bytes; ``size`` is width, height in px."""
    width, height = size
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def scene(size: tuple[int, int], *, seed: int = 0) -> Image.Image:
    """An RGB picture with the spectrum of a photograph: strong coarse, weak fine structure."""
    generator = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3), dtype=np.float64)
    side, weight = 2, 1.0
    while side < max(size):
        cells = (min(side, size[1]), min(side, size[0]), 3)
        coarse = generator.integers(0, 256, cells, dtype=np.uint8)
        layer = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        total += weight * (np.asarray(layer, dtype=np.float64) - 128)
        side, weight = side * 2, weight * 0.55
    return Image.fromarray(np.clip(total + 128, 0, 255).astype(np.uint8))


def halves(size: tuple[int, int]) -> Image.Image:
    """Red above, blue below, with a green square in the upper left corner: shows every turn."""
    width, height = size
    image = Image.new("RGB", size, (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, width, height // 2))
    image.paste((0, 255, 0), (0, 0, width // 3, height // 3))
    return image


def encode(image: Image.Image, format_: str, **options: object) -> bytes:
    """The picture as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def animation(frames: Sequence[Image.Image], format_: str, **options: object) -> bytes:
    """An animated GIF, PNG, WebP or AVIF."""
    settings = {"save_all": True, "append_images": list(frames[1:]), "duration": 40} | options
    return encode(frames[0], format_, **settings)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_png(
    width: int,
    height: int,
    *,
    bits: int,
    colour_type: int,
    rows: bytes,
    extra: bytes = b"",
) -> bytes:
    """A PNG from its samples; ``rows`` holds each line without the filter byte."""
    per_line = len(rows) // height if height else 0
    lines = (b"\0" + rows[at : at + per_line] for at in range(0, len(rows), max(per_line, 1)))
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + extra
        + png_chunk(b"IDAT", zlib.compress(b"".join(lines), 9))
        + png_chunk(b"IEND", b"")
    )


def black_png(width: int, height: int) -> bytes:
    """A one-bit black PNG: a few hundred bytes whatever its sides in px."""
    line = b"\0" * (1 + (width + 7) // 8)
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", body)
        + png_chunk(b"IEND", b"")
    )


def lying_png(width: int, height: int) -> bytes:
    """A PNG whose header announces sides that its data do not have."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + png_chunk(b"IEND", b"")
    )


def lying_jpeg(width: int, height: int) -> bytes:
    """A JPEG whose frame header announces sides that its scan does not have."""
    data = bytearray(encode(scene((64, 64)), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def lying_webp(width: int, height: int) -> bytes:
    """A WebP whose canvas is announced larger than its picture."""
    payload = encode(scene((64, 64)), "WEBP")[12:]
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<II", 10, 0) + sides + payload
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif_of_tiny_frames(count: int) -> bytes:
    """A GIF of ``count`` one-pixel frames, 16 bytes each."""
    screen = struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + screen + frame * count + b"\x3b"


def cuts(data: bytes, parts: int = 64) -> list[bytes]:
    """The file cut off after each 1/``parts`` of it, from the second part on."""
    return [data[: len(data) * part // parts] for part in range(1, parts)]


def wide_gamut_profile() -> bytes:
    """A display profile like Adobe RGB's: gamma 2.2, a greener green."""
    return _matrix_profile((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087))


def blanking_profile() -> bytes:
    """A valid profile that turns every colour almost black."""
    return _matrix_profile((0.001, 0.001, 0.001), (0.001, 0.001, 0.001), (0.001, 0.001, 0.001))


def _matrix_profile(
    red: tuple[float, float, float],
    green: tuple[float, float, float],
    blue: tuple[float, float, float] = (0.14919, 0.06322, 0.74457),
) -> bytes:
    """A minimal ICC v2 matrix profile from the colourants (CIE XYZ, D50)."""

    def fixed(values: tuple[float, ...]) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + b"\0" * 79
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    white = (0.9642, 1.0, 0.8249)
    tags = {
        b"desc": text,
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": b"XYZ \0\0\0\0" + fixed(white),
        b"rXYZ": b"XYZ \0\0\0\0" + fixed(red),
        b"gXYZ": b"XYZ \0\0\0\0" + fixed(green),
        b"bXYZ": b"XYZ \0\0\0\0" + fixed(blue),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        tag += b"\0" * (-len(tag) % 4)
        table += name + struct.pack(">II", start + len(body), len(tag))
        body += tag
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"lcms", 0x02400000, b"mntr", b"RGB ",
                         b"XYZ ")  # fmt: skip
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    header += fixed(white)
    return header + b"\0" * (128 - len(header)) + table + body


def grey_ramp_16() -> npt.NDArray[np.uint16]:
    """A 64×64 ramp over the whole 16-bit range."""
    return np.linspace(0, 65535, 64 * 64).round().astype(np.uint16).reshape(64, 64)
