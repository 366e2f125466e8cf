"""Opening a file: the one sniffed codec, caps from the header, DCT scaling; no pixel decoded.

Knows Pillow's lazy opening and its bomb check. It refuses to decode what announces more
pixels, longer sides or more frames than the limits allow.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from PIL import (  # noqa: F401 - Image.open finds the formats it is given only where imported
    AvifImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from imagesieve_server.core.errors import UndecodableDetail
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.normalise import orientation_of, upright_size
from imagesieve_server.images.sniff import ImageFormat
from imagesieve_server.images.structure import gif_frames, jpeg_scans, png_sample_bits
from imagesieve_server.images.undecodable import undecodable

_SCALES: Final = (8, 4, 2, 1)  # the DCT scales worth using; the others are slower


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A file whose header was read and found within the limits."""

    data: bytes
    image: Image.Image  # not loaded; for a JPEG already set to its DCT scale
    format: ImageFormat
    width: int  # px, upright, before DCT scaling
    height: int  # px, upright, before DCT scaling
    stored_size: tuple[int, int]  # px as decoded: after DCT scaling, before the turn
    frames: int
    orientation: int  # EXIF, 1 to 8
    sample_bits: int  # of the file, per channel
    scale: int  # DCT scale denominator: 1, 2, 4 or 8


@contextmanager
def pillow_bomb_cap(pixels: int) -> Iterator[None]:
    """Within, Pillow itself raises DecompressionBombError above ``pixels``.

    Pillow warns at its global and raises at twice that; it checks in places where we cannot
    (a WebP canvas before it is allocated, a GIF frame that outgrows the screen).
    """
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = pixels // 2
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # codecs warn about what is answered by an error
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def open_image(data: bytes, format_: ImageFormat, *, limits: Limits, target: int) -> Opened:
    """Read the header. ``target`` is the side in px of the squares that will be cut.

    Raises ImageUndecodable (OVER_CAPS), and whatever Pillow raises for a broken header.
    """
    image = _open(data, format_)
    width, height = image.size
    is_jpeg = format_ is ImageFormat.JPEG
    if max(width, height) > limits.side or width * height > pixel_cap(format_, limits):
        raise undecodable(UndecodableDetail.OVER_CAPS)
    frames = _frames(image, data, format_, limits)
    if frames > limits.frames or not _scans_within(image, data, limits):
        raise undecodable(UndecodableDetail.OVER_CAPS)
    scale = _scale_down(image, target) if is_jpeg else 1
    if image.width * image.height > limits.pixels:
        raise undecodable(UndecodableDetail.OVER_CAPS)
    orientation = orientation_of(image)
    width, height = upright_size((width, height), orientation)
    return Opened(
        data=data,
        image=image,
        format=format_,
        width=width,
        height=height,
        stored_size=image.size,
        frames=frames,
        orientation=orientation,
        sample_bits=png_sample_bits(data) if format_ is ImageFormat.PNG else 8,
        scale=scale,
    )


def open_again(opened: Opened) -> Image.Image:
    """The file from its start. Rewinding instead leaves some codecs in a wrong state."""
    return _open(opened.data, opened.format)


def _open(data: bytes, format_: ImageFormat) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=[format_.value])
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        # Pillow hands a file over in pieces of 64 KiB, and near the end of each libjpeg goes
        # over to a slower reader.
        image.decodermaxblock = len(data)
    return image


def pixel_cap(format_: ImageFormat, limits: Limits) -> int:
    """The most pixels a header of this format may announce."""
    return limits.jpeg_pixels if format_ is ImageFormat.JPEG else limits.pixels


def _frames(image: Image.Image, data: bytes, format_: ImageFormat, limits: Limits) -> int:
    """How many frames there are to see. Further pictures inside a JPEG (MPO) are not shown."""
    if format_ is ImageFormat.JPEG:
        return 1
    if format_ is ImageFormat.GIF:
        # Pillow would walk millions of tiny frames to count them.
        return max(1, gif_frames(data, stop_at=limits.frames + 1))
    return int(getattr(image, "n_frames", 1))


def _scans_within(image: Image.Image, data: bytes, limits: Limits) -> bool:
    """False for a JPEG in so many scans, or so many pixels of them, that it is a bomb.

    In more than one scan, all coefficients are kept in memory whatever the DCT scale, and every
    scan goes through all of them again, for as little as ten bytes of file.
    """
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return True
    scans = jpeg_scans(data, stop_at=limits.scans + 1)
    if scans <= 1 and "progressive" not in image.info:
        return True
    # Per component: identifier, horizontal and vertical sampling, quantisation table.
    samplings = [horizontal * vertical for _, horizontal, vertical, _ in image.layer]
    pixels = image.width * image.height
    coefficients = pixels * sum(samplings) // max(samplings)
    in_memory = 2 * coefficients <= limits.memory_bytes // 2
    return in_memory and scans <= limits.scans and scans * pixels <= limits.scan_pixels


def _scale_down(image: Image.Image, target: int) -> int:
    """Set the largest DCT scaling that leaves the short side at least twice ``target``."""
    short = min(image.size)
    scale = next((scale for scale in _SCALES if short // scale >= 2 * target), 1)
    if scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))
    return scale
