"""Odd, broken and hostile files, many of them: a picture or a typed error, nothing else.

The same files as the fuzz run sends to a whole server, here in this process.
"""

from __future__ import annotations

import random

import pytest

from helpers import broken_pictures, odd_pictures, pictures
from helpers.bombs import BOMBS
from imagesieve_server.core.errors import ImageFormatUnsupported, ImageUndecodable
from imagesieve_server.core.views import DecodedImage, Preprocessing, ViewPlan
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits

ODD = odd_pictures.whole_files()
_HEAVY = ("noise", "frames", "grey", "black", "rows")  # tenths of seconds each, or more
HEAVY = {name for name in BOMBS if any(word in name for word in _HEAVY)}


def outcome(data: bytes) -> DecodedImage | None:
    """The picture, or None where it was refused by name. Everything else is raised."""
    try:
        return decode_image(
            data, plan=ViewPlan(), preprocessing=Preprocessing(size=32), limits=Limits()
        )
    except (ImageUndecodable, ImageFormatUnsupported):
        return None


@pytest.mark.parametrize("name", ODD)
def test_odd_but_whole_files_are_pictures(name: str) -> None:
    """Every mode, depth, transparency and animation is decoded, all of it."""
    decoded = outcome(ODD[name])
    assert decoded is not None
    assert decoded.coverage == 1.0
    assert decoded.info.width * decoded.info.height in (96 * 64, 1)


@pytest.mark.parametrize("change", broken_pictures.CHANGES)
def test_broken_files_are_pictures_or_refused_by_name(change: str) -> None:
    """Whatever a codec makes of a lie, no other exception leaves the decoder."""
    chance = random.Random(change)
    files = sorted(ODD.values())
    found = []
    for _ in range(60):
        data, other = chance.choice(files), chance.choice(files)
        found.append(outcome(broken_pictures.CHANGES[change](data, other, chance) or b"GIF89a"))
    assert None in found  # something was broken
    assert all(image is None or 1 <= len(image.views) <= 32 for image in found)


def test_a_case_is_named_by_its_seed() -> None:
    """A long run can be resumed, and one case of it looked at again."""
    file, other = ODD["apng palette"], ODD["gif still"]
    first, again = (broken_pictures.break_file(file, other, random.Random("1:2")) for _ in range(2))
    assert first == again
    assert broken_pictures.break_file(file, other, random.Random("1:3")) != first


def test_lies_reach_behind_a_pngs_checksums() -> None:
    """A wrong checksum would end the file before the lie is read."""
    whole = ODD["png icc"]
    assert broken_pictures.mend_png(whole) == whole
    at = whole.index(b"IHDR") + 4
    lie = broken_pictures.mend_png(whole[:at] + b"\0\0\x27\x10" + whole[at + 4 :])
    assert lie[at + 13 : at + 17] != whole[at + 13 : at + 17]
    assert next(size for _, size in broken_pictures.png_chunks(lie)) == 13
    assert outcome(lie) is None


@pytest.mark.parametrize("name", sorted(set(BOMBS) - HEAVY))
def test_bombs_are_pictures_or_refused_by_name(name: str) -> None:
    """The heavier ones are left to the fuzz run."""
    data = BOMBS[name]()
    assert len(data) < 8_000_000
    outcome(data)


def test_what_comes_first_is_named() -> None:
    """The fields that are lied about are those of the format."""
    fields = {
        format_: pictures.encode(pictures.scene((64, 64)), format_) for format_ in pictures.FORMATS
    }
    for format_, data in fields.items():
        found = list(broken_pictures.header_fields(data))
        assert found, format_
        assert all(at >= 0 and at + size <= len(data) for at, size, _ in found)
