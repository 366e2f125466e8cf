"""Any decoded picture to an upright one in RGB, losing nothing that a viewer would show.

Knows Pillow's modes, EXIF orientation, palettes, 16-bit samples and transparency. It refuses
to clip: 16-bit grey is scaled, colours under full transparency stay hidden, and a picture
drawn in transparency alone shows on one of the two backgrounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from imagesieve_server.core.views import Background
from imagesieve_server.images.colour import to_srgb

_TURN: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDES_SWAP: Final = frozenset([5, 6, 7, 8])
_GREY: Final = {Background.WHITE: 255, Background.BLACK: 0}
_WITH_ALPHA: Final = frozenset(["RGBA", "LA", "PA", "La", "RGBa"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Upright:
    """An upright picture: its colours, and how opaque they are."""

    colours: Image.Image  # RGB
    alpha: Image.Image | None  # L, 255 is opaque; None where every pixel is opaque
    icc_converted: bool

    @property
    def backgrounds(self) -> tuple[Background, ...]:
        """What to show the picture on: white and black where something is transparent."""
        if self.alpha is None:
            return (Background.NONE,)
        return (Background.WHITE, Background.BLACK)

    def on(self, background: Background) -> Image.Image:
        """The picture composited on a background, in RGB."""
        if self.alpha is None:
            return self.colours
        canvas = Image.new("RGB", self.colours.size, (_GREY[background],) * 3)
        canvas.paste(self.colours, mask=self.alpha)
        return canvas


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it cannot be read.

    Only EXIF itself counts: viewers do not turn a picture because its XMP says so.
    """
    raw = image.info.get("exif")
    if not isinstance(raw, bytes):
        return 1
    try:
        exif = Image.Exif()
        exif.load(raw)
        value = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - broken EXIF raises a dozen kinds; viewers ignore them all
        return 1
    return value if isinstance(value, int) and value in _TURN else 1


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height in px once the picture is turned."""
    return (size[1], size[0]) if orientation in _SIDES_SWAP else size


def upright(
    image: Image.Image, *, orientation: int, icc_bytes: int, sample_bits: int = 8
) -> Upright:
    """The picture in RGB, turned the right way up.

    ``image`` is loaded, of any mode. ``sample_bits`` is the file's own depth, which decides
    what a PNG's transparent colour means; ``icc_bytes`` bounds the colour profile. Raises
    what Pillow raises for a picture it cannot convert.
    """
    alpha = alpha_of(image, sample_bits=sample_bits)
    profile = image.info.get("icc_profile")
    colours, converted = to_srgb(opaque(image), profile, max_bytes=icc_bytes)
    turn = _TURN.get(orientation)
    if turn is not None:
        colours = colours.transpose(turn)
        alpha = alpha.transpose(turn) if alpha is not None else None
    return Upright(colours=colours, alpha=alpha, icc_converted=converted)


def opaque(image: Image.Image) -> Image.Image:
    """The colours alone, as L, RGB or CMYK."""
    mode = image.mode
    if mode in ("L", "RGB", "CMYK"):
        return image
    if mode == "1":
        return image.convert("L")
    if mode == "LA":
        return image.getchannel("L")
    if mode.startswith("I") or mode == "F":
        return _eight_bits(image)
    if mode in ("P", "La", "RGBa", "PA"):
        # By way of RGBA: straight to RGB, Pillow warns about byte transparency and picks
        # another colour for it.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of more than eight bits, scaled as a viewer does: the high byte of 16 bits.

    Values outside 16 bits (and floating point) are scaled by their own range instead.
    """
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if values.dtype.kind in "iu" and low >= 0 and high <= 0xFFFF:
        return Image.fromarray((values >> 8).astype(np.uint8))
    spread = (float(high) - float(low)) or 1.0
    scaled = (values.astype(np.float64) - float(low)) * (255.0 / spread)
    return Image.fromarray(np.nan_to_num(scaled).round().astype(np.uint8))


def alpha_of(image: Image.Image, *, sample_bits: int = 8) -> Image.Image | None:
    """How opaque each pixel is, as L; None where all are."""
    alpha = None
    if image.mode in _WITH_ALPHA:
        alpha = image.getchannel(image.getbands()[-1])
    elif "transparency" in image.info:
        alpha = _alpha_from_info(image, sample_bits)
    return None if alpha is None or alpha.getextrema()[0] == 255 else alpha


def _alpha_from_info(image: Image.Image, sample_bits: int) -> Image.Image | None:
    """The alpha that a transparent palette entry, grey or colour means."""
    key = image.info["transparency"]
    if image.mode == "P" and isinstance(key, (bytes, int)):
        return image.convert("RGBA").getchannel("A")
    if image.mode.startswith("I") and isinstance(key, int):
        return _hidden_where(np.asarray(image) == key)
    if image.mode in ("1", "L") and isinstance(key, int):
        # Samples of 2 and 4 bits were stretched to 8, the key was not.
        stretch = {2: 85, 4: 17}.get(sample_bits, 1)
        return _hidden_where(np.asarray(image.convert("L")) == key * stretch)
    if image.mode == "RGB" and isinstance(key, tuple) and len(key) == 3:
        # Of 16-bit samples Pillow keeps the high byte, so the key matches by that too.
        colour = [int(part) >> 8 if sample_bits == 16 else int(part) for part in key]
        return _hidden_where((np.asarray(image) == np.array(colour)).all(axis=-1))
    return None


def _hidden_where(hidden: npt.NDArray[np.bool_]) -> Image.Image:
    return Image.fromarray(np.where(hidden, 0, 255).astype(np.uint8))
