"""Which code turns bytes to pixels here: part of the key of whatever is kept of pictures.

Knows this package's sources and its libraries' versions; two builds with one name give the same
pixels for the same bytes.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import PIL
from PIL import features

from imagesieve_server.images import simd

_CODECS = ("jpg", "zlib", "libtiff", "jpg_2000")
_MODULES = ("webp", "avif", "littlecms2")


@functools.cache
def decoder_build() -> str:
    """A name of this decoder, 16 hex digits: the package's sources, Pillow, its codecs, SIMD."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    versions = [PIL.__version__]
    versions += [f"{name} {features.version_codec(name)}" for name in _CODECS]
    versions += [f"{name} {features.version_module(name)}" for name in _MODULES]
    versions += [f"simd {simd.version()}"]
    digest.update("\n".join(versions).encode())
    return digest.hexdigest()[:16]
