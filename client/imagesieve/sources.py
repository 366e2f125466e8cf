"""Reads the bytes of an image, and refuses what must not be sent.

The original bytes are sent: the server decodes and judges exactly what would be published.
Nothing is read beyond the cap, so an endless file costs no more than a large one.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from imagesieve.errors import ImageEmpty, ImageTooLarge
from imagesieve.results import ImageSource


def read_image(source: ImageSource, *, max_bytes: int) -> bytes:
    """The image's bytes.

    Raises ImageEmpty, ImageTooLarge (over ``max_bytes``), OSError for an unreadable file and
    TypeError for anything that is no image source (a path is a ``Path``, not a string).
    """
    image = _read(source, max_bytes + 1)
    if not image:
        raise ImageEmpty("the image has no bytes")
    if len(image) > max_bytes:
        raise ImageTooLarge(
            f"the image has more than {max_bytes} bytes", metadata={"max_bytes": str(max_bytes)}
        )
    return image


def _read(source: ImageSource, limit: int) -> bytes:
    """Up to ``limit`` bytes; in-memory sources whole, they are already paid for."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    if isinstance(source, os.PathLike):
        with open(source, "rb") as file:
            return file.read(limit)
    if hasattr(source, "read"):
        return _read_all(source, limit)
    raise TypeError(f"an image is bytes, a Path or a binary file, not {type(source).__name__}")


def _read_all(file: BinaryIO, limit: int) -> bytes:
    """A pipe or socket may give less than was asked for before its end."""
    parts: list[bytes] = []
    missing = limit
    while missing and (part := file.read(missing)):
        if not isinstance(part, bytes):
            raise TypeError("the file is not open in binary mode")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
