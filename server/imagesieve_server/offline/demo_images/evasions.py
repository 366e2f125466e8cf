"""The six evasions: files that show an offence to people and hide it from a careless decoder.

Each is a known weakness of naive pipelines (a frame never looked at, an alpha channel dropped,
a crop, an orientation tag ignored, 16 bits clipped to 8, inks taken for colours).
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageChops

from imagesieve_server.offline.demo_images.catalogue import Evasion, Scene
from imagesieve_server.offline.demo_images.drawing import ArtBox, draw

_QUALITY = 88
_FRAMES, _OFFENCE_AT = 24, 19
_UPSIDE_DOWN = 3  # EXIF orientation: the viewer turns the picture by 180°

Writer = Callable[[Scene, ArtBox, random.Random, Path], None]


def _late_frame(scene: Scene, art: ArtBox, chance: random.Random, path: Path) -> None:
    """A cat for 23 frames of 24, the offence in the twentieth."""
    harmless = dataclasses.replace(scene, emoji="cat face")
    frames = [
        draw(scene if number == _OFFENCE_AT else harmless, art, chance).quantize(48)
        for number in range(_FRAMES)
    ]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=120, loop=0)


def _alpha_only(scene: Scene, art: ArtBox, chance: random.Random, path: Path) -> None:
    """Every pixel black, the drawing in how transparent it is: on white, a grey picture."""
    luma = draw(scene, art, chance).convert("L")
    picture = Image.new("RGBA", scene.size, (0, 0, 0, 255))
    picture.putalpha(ImageChops.invert(luma))
    picture.save(path, optimize=True)


def _strip_end(scene: Scene, art: ArtBox, chance: random.Random, path: Path) -> None:
    draw(scene, art, chance).save(path, quality=_QUALITY)


def _exif_rotated(scene: Scene, art: ArtBox, chance: random.Random, path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = _UPSIDE_DOWN
    stored = draw(scene, art, chance).transpose(Image.Transpose.ROTATE_180)
    stored.save(path, quality=_QUALITY, exif=exif)


def _grey16(scene: Scene, art: ArtBox, chance: random.Random, path: Path) -> None:
    """All values above 255, so that a conversion which clips at 255 sees plain white."""
    luma = np.asarray(draw(scene, art, chance).convert("L"), dtype=np.uint16)
    Image.fromarray(np.maximum(luma * np.uint16(257), np.uint16(256))).save(path, optimize=True)


def _cmyk(scene: Scene, art: ArtBox, chance: random.Random, path: Path) -> None:
    draw(scene, art, chance).convert("CMYK").save(path, quality=_QUALITY)


WRITERS: dict[Evasion, Writer] = {
    Evasion.LATE_FRAME: _late_frame,
    Evasion.ALPHA_ONLY: _alpha_only,
    Evasion.STRIP_END: _strip_end,
    Evasion.EXIF_ROTATED: _exif_rotated,
    Evasion.GREY16: _grey16,
    Evasion.CMYK: _cmyk,
}
