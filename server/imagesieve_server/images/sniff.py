"""Which image format some bytes claim to be, by their first bytes.

Knows magic numbers. It refuses to know codecs, file names and content types: what is sniffed
here is the only format that the decoder will try.
"""

from __future__ import annotations

import enum


class ImageFormat(enum.StrEnum):
    """The formats that are accepted; the values are Pillow's names for them."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WEBP"
    GIF = "GIF"
    AVIF = "AVIF"


_AVIF_BRANDS = (b"avif", b"avis")  # a still, a sequence
_FTYP_MAX = 256  # bytes; real ones have fewer than ten brands


def sniff(data: bytes) -> ImageFormat | None:
    """The format whose magic ``data`` begins with, None for any other."""
    if data.startswith(b"\xff\xd8\xff"):
        return ImageFormat.JPEG
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return ImageFormat.PNG
    if data.startswith((b"GIF87a", b"GIF89a")):
        return ImageFormat.GIF
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ImageFormat.WEBP
    if _is_avif(data[:_FTYP_MAX]):
        return ImageFormat.AVIF
    return None


def _is_avif(head: bytes) -> bool:
    """True where an ISO media file names AVIF as its brand or among the compatible ones."""
    if head[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12]] + [head[at : at + 4] for at in range(16, end - 3, 4)]
    return any(brand in _AVIF_BRANDS for brand in brands)
