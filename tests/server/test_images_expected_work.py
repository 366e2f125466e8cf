"""What an image should cost is read from its header: in order, cheaply, from any bytes."""

from __future__ import annotations

import io
import os
import random
import struct

import pytest
from PIL import Image

from helpers import pictures
from imagesieve_server.images.expected_work import MOST_S, expected_s
from imagesieve_server.images.job_queue import LONG_S
from imagesieve_server.images.sniff import ImageFormat

TARGET = 224


def cost(data: bytes, format_: str, *, target: int = TARGET) -> float:
    return expected_s(data, ImageFormat(format_), target=target)


def plain(width: int, height: int, format_: str, **options: object) -> bytes:
    return pictures.encode(Image.new("RGB", (width, height), (90, 120, 40)), format_, **options)


@pytest.mark.parametrize("format_", pictures.FORMATS)
def test_more_pixels_cost_more(format_: str) -> None:
    sizes = [(64, 48), (400, 300), (800, 600), (1000, 3000)]
    costs = [cost(plain(*size, format_), format_, target=64) for size in sizes]
    assert costs == sorted(costs)
    assert costs[-1] > 2 * costs[0]


def test_what_is_measured_to_be_long_is_long() -> None:
    """The border lies between a JPEG of one megapixel and one of three."""
    noise = pictures.noise((640, 480))
    assert cost(pictures.encode(noise, "JPEG", quality=60), "JPEG") < LONG_S
    assert cost(plain(1280, 960, "JPEG"), "JPEG") < LONG_S
    assert cost(plain(2048, 1536, "JPEG"), "JPEG") < 3 * LONG_S
    large = cost(plain(4032, 3024, "JPEG"), "JPEG")
    assert large > LONG_S
    assert cost(plain(4032, 3024, "JPEG", progressive=True), "JPEG") > 2 * large
    assert cost(plain(1280, 960, "PNG"), "PNG") > LONG_S


def test_a_jpeg_is_judged_as_it_will_be_scaled() -> None:
    """For large squares less is scaled away."""
    data = plain(1600, 1600, "JPEG")
    assert cost(data, "JPEG", target=448) > 2 * cost(data, "JPEG", target=224)


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP", "AVIF"])
def test_frames_count(format_: str) -> None:
    frames = [pictures.noise((60, 40), seed=seed) for seed in range(30)]
    one = cost(pictures.encode(frames[0], format_), format_)
    many = cost(pictures.animation(frames, format_), format_)
    base = cost(plain(1, 1, format_), format_)
    assert 15 < (many - base) / (one - base) < 60


def test_a_film_is_longer_than_any_photograph() -> None:
    """Frames beyond those that are looked at are guessed from the file's length."""
    frames = [pictures.noise((100, 70), seed=seed).convert("L") for seed in range(100)]
    data = pictures.animation(frames, "GIF")
    pixels = 100 * 100 * 70
    still = cost(plain(1000, pixels // 1000, "GIF"), "GIF")
    assert cost(data, "GIF") == pytest.approx(still, rel=0.3)
    screen, rest = data[:6], data[10:]
    film = screen + struct.pack("<HH", 1280, 720) + rest
    assert cost(film, "GIF") > 20 * cost(plain(4032, 3024, "JPEG"), "JPEG")


def test_a_large_gif_of_one_picture_is_one_picture() -> None:
    data = pictures.encode(pictures.noise((1000, 800)).convert("L"), "GIF")
    assert cost(data, "GIF") < 3 * cost(plain(1000, 800, "GIF"), "GIF")


def test_a_thumbnail_inside_does_not_speak_for_the_picture() -> None:
    """Segments are skipped as a whole, whatever lies in them."""
    small, large = plain(32, 32, "JPEG"), plain(3000, 3000, "JPEG")
    app1 = b"\xff\xe1" + struct.pack(">H", len(small) + 2) + small
    assert cost(large[:2] + app1 + large[2:], "JPEG") == pytest.approx(
        cost(large, "JPEG"), rel=0.01
    )


class Watched(bytes):
    """Bytes that count how often they are looked into."""

    looks = 0

    def __getitem__(self, key):  # type: ignore[no-untyped-def, override]
        Watched.looks += 1
        found = super().__getitem__(key)
        assert isinstance(found, int) or len(found) <= 4096
        return found


HEADS = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "GIF": b"GIF89a",
    "WEBP": b"RIFF\0\0\0\0WEBPVP8X",
    "AVIF": b"\0\0\0\x20ftypavis",
}
FILLINGS = [
    b"", b"\0", b"\xff", b"\xff\xe1\0\2", b"\xff\xfe\0\0", b"\x2c", b"\x21", b"\x21\xf9\0",
    b"\x01\x01", b"\0\0\0\0tEXt\0\0\0\0", b"\xff\xff\xff\xffIDAT", b"ANMF\0\0\0\0",
    b"ispe", b"stsz", b"\0\0\0\0ispe\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
]  # fmt: skip


@pytest.mark.parametrize("format_", HEADS)
@pytest.mark.parametrize("filling", FILLINGS)
def test_bytes_made_to_cost_the_reader_time_cost_it_little(format_: str, filling: bytes) -> None:
    """Megabytes of whatever keeps a walker walking: a bounded number of looks."""
    data = Watched(HEADS[format_] + filling * (2_000_000 // max(1, len(filling))))
    Watched.looks = 0
    assert 0 < cost(data, format_) <= MOST_S
    assert Watched.looks < 4000


def test_any_bytes_have_a_cost() -> None:
    """Cut anywhere, changed anywhere, or made up. N=… and SEED=… for more."""
    chance = random.Random(int(os.environ.get("SEED", "1")))
    frames = [pictures.noise((9, 7), seed=seed) for seed in range(3)]
    files = {name: [pictures.encode(frames[0], name)] for name in pictures.FORMATS}
    for name in ("GIF", "PNG", "WEBP", "AVIF"):
        files[name].append(pictures.animation(frames, name))
    files["WEBP"].append(pictures.encode(frames[0], "WEBP", lossless=True))
    for _ in range(int(os.environ.get("N", "3000"))):
        name = chance.choice(pictures.FORMATS)
        data = bytearray(chance.choice(files[name]))
        for _ in range(chance.randrange(6)):
            data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        if chance.random() < 0.5:
            del data[chance.randrange(len(data)) :]
        if chance.random() < 0.1:
            data = bytearray(chance.randbytes(chance.randrange(80)))
        assert 0 < cost(bytes(data), name) <= MOST_S


def test_what_is_read_is_what_pillow_reads() -> None:
    """Sizes agree on sound files of every kind that has a header of its own."""
    for format_, options in (
        ("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("GIF", {}),
        ("WEBP", {}), ("WEBP", {"lossless": True}), ("AVIF", {}),
    ):  # fmt: skip
        small = plain(301, 203, format_, **options)
        assert Image.open(io.BytesIO(small)).size == (301, 203)
        twice = plain(301, 406, format_, **options)
        least = cost(plain(1, 1, format_, **options), format_)
        grown = (cost(twice, format_) - least) / (cost(small, format_) - least)
        assert grown == pytest.approx(2, rel=0.2), (format_, options)
