"""The one sentence per reason that a caller reads when no picture could be made of a file.

Knows the fixed texts. It refuses to quote codecs: their words are internal, and hostile files
choose some of them.
"""

from __future__ import annotations

from typing import Final

from imagesieve_server.core.errors import ImageUndecodable, UndecodableDetail

_MESSAGES: Final = {
    UndecodableDetail.TRUNCATED: "the image data end before the picture does",
    UndecodableDetail.OVER_CAPS: "the image is larger than the server decodes",
    UndecodableDetail.DECODE_ERROR: "the image data are damaged",
    UndecodableDetail.WORKER_KILLED: "decoding the image failed beyond recovery",
    UndecodableDetail.TIMED_OUT: "decoding the image took longer than allowed",
    UndecodableDetail.QUARANTINED: "decoding these bytes failed beyond recovery before",
}


def undecodable(detail: UndecodableDetail) -> ImageUndecodable:
    """The error for a detail, with its fixed message."""
    return ImageUndecodable(_MESSAGES[detail], detail=detail)
