"""The committed demo pictures: complete, small, as they claim to be, and judged as labelled."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import ExifTags, Image

from imagesieve_server.core.policy import Policy
from imagesieve_server.core.scoring import score_image
from imagesieve_server.core.verdict import Band
from imagesieve_server.core.views import DecodedImage, ViewPlan
from imagesieve_server.demo_data import DEMO_BUNDLE, DEMO_IMAGES, DEMO_POLICIES
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits
from imagesieve_server.offline.demo_images.catalogue import PICTURES, Evasion, Picture
from imagesieve_server.policy_files import compiled

BY_EVASION = {picture.evasion: picture for picture in PICTURES if picture.evasion}


def _open(kind: Evasion) -> Image.Image:
    return Image.open(DEMO_IMAGES / BY_EVASION[kind].file)


def test_the_folder_holds_what_the_catalogue_says() -> None:
    files = {path.name for path in DEMO_IMAGES.iterdir()}
    assert files == {p.file for p in PICTURES} | {"labels.csv", "LICENSES.md"}
    assert sum(path.stat().st_size for path in DEMO_IMAGES.iterdir()) <= 3_000_000


def test_the_labels_are_the_catalogues() -> None:
    with (DEMO_IMAGES / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = [(r["file"], r["expected"], r["category"]) for r in csv.DictReader(file)]
    assert rows == [(p.file, p.expected, p.category) for p in PICTURES]


def test_ordinary_pictures_come_in_every_format() -> None:
    suffixes = {p.file.rpartition(".")[2] for p in PICTURES if p.expected == "ordinary"}
    assert suffixes == {"jpg", "png", "webp", "gif", "avif"}
    assert set(BY_EVASION) == set(Evasion)


def test_the_late_frame_is_late() -> None:
    with _open(Evasion.LATE_FRAME) as image:
        assert image.n_frames == 24


def test_the_alpha_picture_has_one_plain_colour() -> None:
    with _open(Evasion.ALPHA_ONLY) as image:
        pixels = np.asarray(image)
    assert image.mode == "RGBA"
    assert len(np.unique(pixels[..., :3].reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(pixels[..., 3])) > 50


def test_the_strip_is_long() -> None:
    with _open(Evasion.STRIP_END) as image:
        assert image.size == (3000, 200)


def test_the_rotated_picture_says_so() -> None:
    with _open(Evasion.EXIF_ROTATED) as image:
        assert image.getexif()[ExifTags.Base.Orientation] == 3


def test_sixteen_bits_clip_to_white() -> None:
    with _open(Evasion.GREY16) as image:
        assert image.mode == "I;16"
        assert np.asarray(image).min() > 255


def test_four_inks() -> None:
    with _open(Evasion.CMYK) as image:
        assert image.mode == "CMYK"


@pytest.fixture(scope="module")
def encoder() -> OnnxImageEncoder:
    options = RuntimeOptions(provider=Provider.CPU, threads=1)
    return OnnxImageEncoder(bundle=load_bundle(DEMO_BUNDLE), options=options)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.file)
def test_the_model_and_the_policy_judge_as_labelled(
    picture: Picture, encoder: OnnxImageEncoder
) -> None:
    """Without what the pipeline adds for frames it did not look at."""
    policy = compiled.read(DEMO_POLICIES / f"demo{compiled.SUFFIX}").policy
    decoded = decode_image(
        (DEMO_IMAGES / picture.file).read_bytes(),
        plan=ViewPlan(coverage=policy.coverage, max_views=policy.max_views),
        preprocessing=encoder.spec.preprocessing,
        limits=Limits(),
    )
    if picture.evasion is Evasion.LATE_FRAME and "frames" in decoded.truncated:
        return  # said to be incomplete, which is a REVIEW
    flagged = _flagged(policy, encoder, decoded)
    assert (picture.category in flagged) if picture.category else not flagged


def _flagged(policy: Policy, encoder: OnnxImageEncoder, decoded: DecodedImage) -> set[str]:
    scored = score_image(
        policy=policy,
        categories=policy.categories,
        embeddings=encoder.run(decoded.pixels),
        views=decoded.views,
    )
    assert scored.valid
    return {score.category for score in scored.scores if score.band is not Band.CLEAR}
