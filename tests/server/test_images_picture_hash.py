"""PDQ as the reference makes it, and what small changes of a picture do to it.

The expected hashes were made with the reference implementation (pdqhash 0.2.8).
"""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageEnhance

from helpers.pictures import animation, encode, noise, scene
from imagesieve_server.core.near_duplicates import MATCH_DISTANCE, distance
from imagesieve_server.core.views import DecodedImage, Preprocessing, ViewPlan
from imagesieve_server.images import simd
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.picture_hash import (
    exact_square,
    hash_of,
    hash_of_square,
    quick_square,
)

REFERENCE = [
    ("scene", (64, 64), 1, "9988b275d5808df2daddfb1c5460a4f486c8990dea534d3cf14bb9d700f26f91", 94),
    ("scene", (256, 256), 2, "e2af80b6527859317cd12effe716d8afc608c87ec8606241a17c7e4c0d27d8cf",
     100),
    ("scene", (500, 333), 3, "c1f25c97caf50c91a410b37afa0b6fa2f83172dd01bc2c10f1fa946e792f8c69",
     100),
    ("scene", (100, 400), 4, "9d73ff2ec5f66c95398550b04e9c110c3e7eb472ec23425961376a5f945815ac",
     100),
    ("scene", (512, 512), 5, "05cc26dc80bdd30a0f24178fd86705fb57653dadf99c3192e1f04a5f1784c6d9",
     98),
    ("noise", (256, 256), 6, "faaa384878917d822a14a5d301c95fef4062e6a1a46bfc22a74243b799ef67db",
     100),
    ("scene", (37, 61), 8, "5036f25c99a6bbf02b7868091312afb052d354cfe8d52c64559f143b83fbbcd8",
     100),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "size", "seed", "bits", "quality"), REFERENCE)
def test_the_hash_is_the_reference_s(
    kind: str, size: tuple[int, int], seed: int, bits: str, quality: int
) -> None:
    """Grey values are rounded to whole ones here, which moves a bit that stood on the median."""
    found = hash_of({"scene": scene, "noise": noise}[kind](size, seed=seed))
    assert distance(found.bits, bits) <= 4
    assert abs(found.quality - quality) <= 3


@pytest.mark.parametrize("size", [(257, 300), (333, 700), (640, 480), (512, 512), (1200, 901)])
@pytest.mark.parametrize("seed", range(3) if simd.AVAILABLE else ())
def test_the_quick_hash_is_the_reference_s_but_for_a_few_bits(
    size: tuple[int, int], seed: int
) -> None:
    """Far fewer than the 31 within which two pictures are one."""
    picture = scene(size, seed=seed)
    quick, exact = (hash_of_square(way(picture)) for way in (quick_square, exact_square))
    assert distance(quick.bits, exact.bits) <= 10
    assert abs(quick.quality - exact.quality) <= 3


@pytest.mark.parametrize("size", [(4, 300), (300, 4)])
def test_a_thread_of_a_picture_has_no_quality(size: tuple[int, int]) -> None:
    assert hash_of(noise(size)).quality == 0


def test_a_plain_picture_is_not_compared() -> None:
    assert hash_of(Image.new("RGB", (300, 200), "white")).usable == ""


def test_what_uploads_suffer_on_their_way_keeps_a_picture_near_itself() -> None:
    picture = scene((640, 480), seed=11)
    saved = Image.open(io.BytesIO(encode(picture, "JPEG", quality=50))).convert("RGB")
    changed = [saved, picture.resize((320, 240)), ImageEnhance.Brightness(picture).enhance(1.2)]
    here = hash_of(picture)
    assert max(distance(here.bits, hash_of(other).bits) for other in changed) <= MATCH_DISTANCE
    assert distance(here.bits, hash_of(scene((640, 480), seed=12)).bits) > 80


def decoded(data: bytes) -> DecodedImage:
    return decode_image(
        data, plan=ViewPlan(), preprocessing=Preprocessing(size=32), limits=Limits()
    )


def test_a_still_without_transparency_has_a_hash_and_nothing_else_does() -> None:
    """What is seen only in a later frame, or only on black, must not be closed unseen."""
    picture = scene((200, 160), seed=3)
    clear = picture.copy()
    clear.putalpha(Image.linear_gradient("L").resize((200, 160)))
    opaque = picture.copy()
    opaque.putalpha(255)
    assert decoded(encode(picture, "PNG")).comparable == hash_of(picture).bits
    assert decoded(encode(opaque, "PNG")).comparable == hash_of(picture).bits
    assert decoded(encode(clear, "PNG")).comparable == ""
    frames = [picture, scene((200, 160), seed=4)]
    assert decoded(animation(frames, "GIF")).comparable == ""
    assert decoded(encode(Image.new("RGB", (90, 90)), "PNG")).comparable == ""
