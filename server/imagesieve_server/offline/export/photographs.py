"""Photographs for calibration and parity, from scikit-image's own package files.

Knows which pictures there are and how crops are taken; refuses to know what they are for, except
that the two sets share no picture. Nothing is downloaded.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from imagesieve_server.core.errors import BundleError
from imagesieve_server.extras import need

CALIBRATION_NAME = "scikit-image-crops-32"

# The first four are also a bundle's canaries, and so are copied into it: public domain and CC0.
_PARITY = (
    "chelsea.png",
    "camera.png",
    "hubble_deep_field.jpg",
    "retina.jpg",
    "motorcycle_left.png",
    "moon.png",
    "brick.png",
    "cell.png",
    "page.png",
)
_CALIBRATION = (
    "astronaut.png",
    "coffee.png",
    "rocket.jpg",
    "coins.png",
    "grass.png",
    "gravel.png",
    "ihc.png",
    "text.png",
)
_CALIBRATION_CROPS = 4  # of each picture
_SEED = 20

# Share of the width and height, as left, upper, right, lower; chosen for odd sizes and aspects.
_CROPS = (
    ("chelsea.png", (0.25, 0.05, 0.75, 0.95)),
    ("motorcycle_left.png", (0.0, 0.3, 1.0, 0.62)),
    ("hubble_deep_field.jpg", (0.45, 0.0, 0.61, 1.0)),
    ("retina.jpg", (0.3, 0.3, 0.38, 0.37)),
    ("motorcycle_left.png", (0.4, 0.4, 0.43, 0.45)),
)


def parity_photographs() -> list[Image.Image]:
    """Sixteen RGB pictures of different sizes (25 px to 1411 px), aspects and source modes.

    Raises MissingExtra without scikit-image.
    """
    pictures = [_open(name) for name in _PARITY]
    pictures += [_crop(_open(name), box) for name, box in _CROPS]
    palette = _open("chelsea.png").quantize(64).convert("RGB")
    inks = _open("motorcycle_left.png").convert("CMYK").convert("RGB").transpose(_TURN)
    return [*pictures, palette, inks]


def calibration_photographs() -> list[Image.Image]:
    """Thirty-two RGB crops of pictures that ``parity_photographs`` does not show."""
    return list(_random_crops([_open(name) for name in _CALIBRATION]))


def folder_photographs(folder: Path) -> list[Image.Image]:
    """Every picture of a user's folder, in name order. Raises BundleError where one is unreadable.

    The user's own files, read on the user's own machine: no decoding limits apply here.
    """
    pictures = []
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        try:
            with Image.open(path) as image:
                pictures.append(image.convert("RGB"))
        except (OSError, ValueError) as problem:
            raise BundleError(f"{path.name}: not a readable picture") from problem
    if not pictures:
        raise BundleError(f"{folder.name}: no pictures to calibrate with")
    return pictures


_TURN = Image.Transpose.ROTATE_90


def _open(name: str) -> Image.Image:
    folder = Path(need("skimage").__file__).parent / "data"
    with Image.open(folder / name) as image:
        return image.convert("RGB")


def _crop(image: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    left, upper, right, lower = box
    width, height = image.size
    return image.crop(
        (int(left * width), int(upper * height), int(right * width), int(lower * height))
    )


def _random_crops(images: list[Image.Image]) -> Iterator[Image.Image]:
    chance = random.Random(_SEED)
    for image in images:
        yield image
        for _ in range(_CALIBRATION_CROPS - 1):
            width, height = chance.uniform(0.3, 0.9), chance.uniform(0.3, 0.9)
            left, upper = chance.uniform(0, 1 - width), chance.uniform(0, 1 - height)
            yield _crop(image, (left, upper, left + width, upper + height))
