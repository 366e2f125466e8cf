"""One photograph stored in the nine ways that EXIF knows is one picture to the demo model."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from helpers import pictures
from imagesieve_server.core.views import Embeddings, ViewPlan
from imagesieve_server.demo_data import DEMO_BUNDLE, DEMO_IMAGES
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits

# How an upright picture is stored for each orientation: the viewer's turn, the other way round.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.fixture(scope="module")
def encoder() -> OnnxImageEncoder:
    options = RuntimeOptions(provider=Provider.CPU, threads=1)
    return OnnxImageEncoder(bundle=load_bundle(DEMO_BUNDLE), options=options)


def embedded(encoder: OnnxImageEncoder, data: bytes) -> Embeddings:
    """The embeddings of all views, one after the other."""
    decoded = decode_image(
        data, plan=ViewPlan(), preprocessing=encoder.spec.preprocessing, limits=Limits()
    )
    return encoder.run(decoded.pixels).ravel()


def stored(image: Image.Image, orientation: int, format_: str) -> bytes:
    """``image`` as a file with this tag; 0 is no tag."""
    exif = Image.Exif()
    if orientation:
        exif[ExifTags.Base.Orientation] = orientation
    if (turn := STORED.get(orientation)) is not None:
        image = image.transpose(turn)
    return pictures.encode(image, format_, exif=exif, quality=92)


def furthest(embeddings: list[Embeddings]) -> float:
    """The largest distance between any two."""
    return max(float(np.linalg.norm(one - other)) for one in embeddings for other in embeddings)


def photograph(name: str, size: tuple[int, int]) -> Image.Image:
    with Image.open(DEMO_IMAGES / name) as image:
        return image.convert("RGB").resize(size)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(320, 240), (240, 320)], ids=["landscape", "portrait"])
def test_nine_orientations_are_one_picture(
    encoder: OnnxImageEncoder, format_: str, size: tuple[int, int]
) -> None:
    """Nearer to each other than a tenth of the way to another scene."""
    scenes = [photograph(name, size) for name in ("photo_cat.jpg", "photo_rocket.jpg")]
    nine = [embedded(encoder, stored(scenes[0], tag, format_)) for tag in range(9)]
    other = embedded(encoder, stored(scenes[1], 0, format_))
    assert furthest(nine) < 0.1 * float(np.linalg.norm(nine[0] - other))


def test_without_turning_they_would_not_be(encoder: OnnxImageEncoder) -> None:
    """The same nine files with their tags taken away: the measure does tell them apart."""
    upright = photograph("photo_cat.jpg", (240, 240))
    other = embedded(encoder, stored(photograph("photo_rocket.jpg", (240, 240)), 0, "PNG"))
    turned = [upright, *(upright.transpose(turn) for turn in STORED.values())]
    embeddings = [embedded(encoder, pictures.encode(image, "PNG")) for image in turned]
    assert furthest(embeddings) > 0.1 * float(np.linalg.norm(embeddings[0] - other))


@pytest.mark.hostile_folder
def test_the_shared_photographs_of_every_orientation(
    hostile_folder: Path, encoder: OnnxImageEncoder
) -> None:
    """Two scenes, nine files each: every file is what another program turns upright.

    Each shows the number of its orientation in the middle, so that among themselves they differ
    by more than their orientation.
    """
    nine = {
        shape: [next(hostile_folder.rglob(f"{shape}_{tag}.jpg")).read_bytes() for tag in range(9)]
        for shape in ("Landscape", "Portrait")
    }
    seen = {shape: [embedded(encoder, data) for data in files] for shape, files in nine.items()}
    apart = float(np.linalg.norm(seen["Landscape"][0] - seen["Portrait"][0]))
    for shape, files in nine.items():
        turned = [embedded(encoder, upright(data)) for data in files]
        pairs = zip(seen[shape], turned, strict=True)
        assert max(float(np.linalg.norm(one - other)) for one, other in pairs) < 0.1 * apart
        assert furthest(seen[shape]) < 0.25 * apart


def upright(data: bytes) -> bytes:
    """The file as Pillow's own helper turns it, without a tag."""
    with Image.open(io.BytesIO(data)) as image:
        return pictures.encode(ImageOps.exif_transpose(image).convert("RGB"), "JPEG", quality=97)
