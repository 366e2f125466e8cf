"""What is refused before any decoding: empty, too large, not an allowed format.

Knows the byte cap and the allow-list. It refuses to look beyond the first bytes, so that it
costs nothing in the server's own process.
"""

from __future__ import annotations

from imagesieve_server.core.errors import ImageEmpty, ImageFormatUnsupported, ImageTooLarge
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.sniff import ImageFormat, sniff

ALL_FORMATS = frozenset(ImageFormat)


def admit(
    data: bytes, *, limits: Limits, formats: frozenset[ImageFormat] = ALL_FORMATS
) -> ImageFormat:
    """The format to decode ``data`` as.

    Raises ImageEmpty, ImageTooLarge, ImageFormatUnsupported.
    """
    if not data:
        raise ImageEmpty("the image has no bytes")
    if len(data) > limits.bytes:
        raise ImageTooLarge(
            f"the image has {len(data)} bytes; the limit is {limits.bytes}",
            metadata={"bytes": str(len(data)), "limit": str(limits.bytes)},
        )
    format_ = sniff(data)
    if format_ is None or format_ not in formats:
        allowed = ", ".join(sorted(formats))
        raise ImageFormatUnsupported(
            f"the bytes do not begin as an allowed format does ({allowed})",
            metadata={"allowed": allowed},
        )
    return format_
