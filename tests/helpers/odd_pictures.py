"""Whole files of every kind the decoder accepts: the seeds of the fuzz run.

Every format in every mode, depth, transparency and animation that Pillow writes or that can be
put together by hand. Small, deterministic, each named by what it is.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image

from helpers import pictures
from helpers.pictures import animation, encode, png_chunk, raw_png

SIZE = (96, 64)
FRAMES = 5
_KEYS = {0: b"\0\1", 2: b"\0\1\0\2\0\3", 3: b"\0\x80"}  # tRNS by colour type


def whole_files() -> dict[str, bytes]:
    """Every file by its name, whose first word is the format: "png grey 16 trns"."""
    parts = (_jpegs(), _pngs(), _webps(), _gifs(), _avifs(), _matrix())
    return dict(itertools.chain.from_iterable(parts))


def _photo(mode: str = "RGB", seed: int = 1) -> Image.Image:
    """A picture in any mode; with transparency, if the mode has it, that varies."""
    image = pictures.scene(SIZE, seed=seed)
    if mode == "LA":
        image = image.convert("L").convert("LA")
    elif mode == "PA":
        image = image.convert("P").convert("PA")
    elif mode == "I;16":
        ramp = np.asarray(image.convert("L"), dtype=np.uint16) * np.uint16(257)
        return Image.fromarray(ramp)
    else:
        image = image.convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.linear_gradient("L").resize(SIZE))
    return image


def _frames(mode: str = "RGB") -> list[Image.Image]:
    return [_photo(mode, seed=seed) for seed in range(FRAMES)]


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def _jpegs() -> Iterator[tuple[str, bytes]]:
    photo = _photo()
    yield "jpeg baseline", encode(photo, "JPEG", quality=85)
    yield "jpeg progressive", encode(photo, "JPEG", quality=85, progressive=True)
    yield "jpeg 444", encode(photo, "JPEG", subsampling=0)
    yield "jpeg restart", encode(photo, "JPEG", restart_marker_blocks=3)
    yield "jpeg icc", encode(photo, "JPEG", icc_profile=pictures.wide_gamut_profile())
    yield "jpeg cmyk progressive", encode(_photo("CMYK"), "JPEG", progressive=True)
    for orientation in range(1, 9):
        yield f"jpeg exif {orientation}", encode(photo, "JPEG", exif=_turned(orientation))


def _pngs() -> Iterator[tuple[str, bytes]]:
    width, height = SIZE
    noise = np.random.default_rng(7)
    for colour_type, samples, depths in (
        (0, 1, (1, 2, 4, 8, 16)), (2, 3, (8, 16)), (3, 1, (1, 2, 4, 8)),
        (4, 2, (8, 16)), (6, 4, (8, 16)),
    ):  # fmt: skip
        for bits in depths:
            rows = noise.bytes(height * ((width * samples * bits + 7) // 8))
            palette = png_chunk(b"PLTE", noise.bytes(3 * 2**bits)) if colour_type == 3 else b""
            plain = {"bits": bits, "colour_type": colour_type, "rows": rows}
            yield (
                f"png type {colour_type} of {bits} bits",
                raw_png(width, height, **plain, extra=palette),
            )
            if colour_type in (0, 2, 3):
                key = _KEYS[colour_type]
                yield (
                    f"png type {colour_type} of {bits} bits trns",
                    raw_png(width, height, **plain, extra=palette + png_chunk(b"tRNS", key)),
                )
    yield "png icc", encode(_photo(), "PNG", icc_profile=pictures.wide_gamut_profile())
    yield "png exif", encode(_photo(), "PNG", exif=_turned(6))
    for disposal, blend in itertools.product((0, 1, 2), (0, 1)):
        yield (
            f"apng dispose {disposal} blend {blend}",
            animation(_frames("RGBA"), "PNG", disposal=disposal, blend=blend),
        )
    yield "apng palette", animation(_frames("P"), "PNG")


def _webps() -> Iterator[tuple[str, bytes]]:
    yield "webp lossy", encode(_photo(), "WEBP", quality=70)
    yield "webp lossless", encode(_photo(), "WEBP", lossless=True)
    yield "webp lossy alpha", encode(_photo("RGBA"), "WEBP")
    yield "webp lossless alpha", encode(_photo("RGBA"), "WEBP", lossless=True, exact=True)
    yield (
        "webp exif icc",
        encode(_photo(), "WEBP", exif=_turned(5), icc_profile=pictures.wide_gamut_profile()),
    )
    for mode, lossless in itertools.product(("RGB", "RGBA"), (False, True)):
        yield (
            f"webp animated {mode} lossless {lossless}",
            animation(_frames(mode), "WEBP", lossless=lossless),
        )
    yield (
        "webp animated mixed",
        animation(_frames("RGBA"), "WEBP", allow_mixed=True, minimize_size=True),
    )


def _gifs() -> Iterator[tuple[str, bytes]]:
    yield "gif still", encode(_photo("P"), "GIF")
    yield "gif grey interlaced", encode(_photo("L"), "GIF", interlace=1)
    yield "gif transparent", encode(_photo("P"), "GIF", transparency=3)
    for disposal in range(4):
        yield f"gif dispose {disposal}", animation(_frames("P"), "GIF", disposal=disposal)
        yield (
            f"gif dispose {disposal} transparent",
            animation(_frames("RGBA"), "GIF", disposal=disposal),
        )
    yield "gif of tiny frames", pictures.gif_of_tiny_frames(40)


def _avifs() -> Iterator[tuple[str, bytes]]:
    yield "avif still", encode(_photo(), "AVIF", speed=10)
    yield "avif alpha", encode(_photo("RGBA"), "AVIF", speed=10)
    yield "avif grey 400", encode(_photo("L"), "AVIF", speed=10, subsampling="4:0:0")
    yield "avif exif", encode(_photo(), "AVIF", speed=10, exif=_turned(8))
    yield "avif sequence", animation(_frames(), "AVIF", speed=10)
    yield "avif sequence alpha", animation(_frames("RGBA"), "AVIF", speed=10)


def _matrix() -> Iterator[tuple[str, bytes]]:
    """Format × mode, where Pillow writes it."""
    modes = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16")
    for format_, mode in itertools.product(pictures.FORMATS, modes):
        try:
            yield f"{format_.lower()} mode {mode}", encode(_photo(mode), format_)
        except (OSError, KeyError, ValueError, struct.error):
            continue  # a mode this format does not have
