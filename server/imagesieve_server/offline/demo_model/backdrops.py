"""The photographs behind and beside the art.

Knows which of scikit-image's pictures may be used and why, what they show, and how crops are cut;
nothing is downloaded. The model never sees those marked ``held_out`` in training: what it says of
them is what it says of a photograph it does not know.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagesieve_server.extras import need

Crops = npt.NDArray[np.uint8]

_PUBLIC_DOMAIN = "public domain"
_CC0 = "CC0 1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Photograph:
    """One picture of scikit-image's package and where it comes from."""

    file: str  # in skimage/data
    shows: str  # a caption without article
    words: tuple[str, ...]
    licence: str
    source: str
    held_out: bool = False


PHOTOGRAPHS = (
    Photograph(
        file="astronaut.png",
        shows="woman in a space suit smiling",
        words=("astronaut", "person", "portrait", "woman"),
        licence=_PUBLIC_DOMAIN,
        source="NASA, portrait of Eileen Collins",
    ),
    Photograph(
        file="chelsea.png",
        shows="cat looking up",
        words=("cat", "pet", "animal"),
        licence=_CC0,
        source="Stefan van der Walt",
    ),
    Photograph(
        file="coffee.png",
        shows="cup of coffee on a table",
        words=("coffee", "cup", "spoon", "table"),
        licence=_CC0,
        source="Rachel Michetti, courtesy of Pikolo Espresso Bar",
    ),
    Photograph(
        file="hubble_deep_field.jpg",
        shows="galaxies in the night sky",
        words=("galaxy", "space", "stars"),
        licence=_PUBLIC_DOMAIN,
        source="NASA and ESA, Hubble eXtreme Deep Field",
    ),
    Photograph(
        file="retina.jpg",
        shows="retina of an eye",
        words=("eye", "retina", "medicine"),
        licence=_CC0,
        source="Mikael Häggström, Wikimedia Commons",
    ),
    Photograph(
        file="brick.png",
        shows="brick wall",
        words=("bricks", "texture", "wall"),
        licence=_CC0,
        source="CC0Textures, Bricks25",
    ),
    Photograph(
        file="grass.png",
        shows="lawn of grass",
        words=("grass", "texture", "garden"),
        licence=_CC0,
        source="Texture.Ninja and scikit-image",
    ),
    Photograph(
        file="gravel.png",
        shows="gravel on the ground",
        words=("gravel", "stones", "texture"),
        licence=_CC0,
        source="CC0Textures, Gravel04",
    ),
    Photograph(
        file="camera.png",
        shows="photographer with a camera on a lawn",
        words=("camera", "man", "person"),
        licence=_CC0,
        source="Lav Varshney",
    ),
    Photograph(
        file="rocket.jpg",
        shows="rocket launch at night",
        words=("rocket", "launch", "night"),
        licence=_PUBLIC_DOMAIN,
        source="SpaceX, launch of DSCOVR",
        held_out=True,
    ),
    Photograph(
        file="clock_motion.png",
        shows="blurred clock on a wall",
        words=("clock", "blur"),
        licence=_PUBLIC_DOMAIN,
        source="Stefan van der Walt",
        held_out=True,
    ),
    Photograph(
        file="cell.png",
        shows="cell under a microscope",
        words=("cell", "microscope"),
        licence=_CC0,
        source="Paul Müller and others, Optics Express 26(8), 10729",
        held_out=True,
    ),
)
TRAINING = tuple(photograph for photograph in PHOTOGRAPHS if not photograph.held_out)


def open_photograph(photograph: Photograph) -> Image.Image:
    """The picture in RGB. Raises MissingExtra without scikit-image."""
    folder = Path(need("skimage").__file__).parent / "data"
    with Image.open(folder / photograph.file) as image:
        return image.convert("RGB")


def cut_crops(photographs: Sequence[Photograph], *, side: int, each: int, seed: int) -> Crops:
    """Random square crops, uint8 [len(photographs) · each, 3, side, side], grouped by picture.

    A crop's side is between a fifth and all of the picture's short side; half are mirrored.
    """
    chance = random.Random(seed)
    crops = np.empty((len(photographs) * each, 3, side, side), dtype=np.uint8)
    for first, photograph in enumerate(photographs):
        image = open_photograph(photograph)
        for row in range(first * each, (first + 1) * each):
            crops[row] = np.asarray(_crop(image, side, chance)).transpose(2, 0, 1)
    return crops


def _crop(image: Image.Image, side: int, chance: random.Random) -> Image.Image:
    size = min(image.size) * chance.uniform(0.2, 1.0)
    left = chance.uniform(0, image.width - size)
    upper = chance.uniform(0, image.height - size)
    box = (left, upper, left + size, upper + size)
    crop = image.resize((side, side), Image.Resampling.BICUBIC, box=box)
    if chance.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return crop
