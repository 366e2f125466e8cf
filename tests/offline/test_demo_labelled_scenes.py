"""Labelled scenes for what measures policies."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from imagesieve_server.core.errors import ConfigError
from imagesieve_server.offline.demo_model import labelled_scenes, scenes
from imagesieve_server.offline.demo_model.categories import CATEGORIES
from imagesieve_server.offline.demo_model.emoji_art import Emoji

_MEMBERS = [name for names in CATEGORIES.values() for name in names]
_OTHERS = [f"thing {number}" for number in range(40)]


def _emoji() -> list[Emoji]:
    return [
        Emoji(code="0", name=name, words=(), group="", subgroup="", file="0.png")
        for name in [*_OTHERS, *_MEMBERS]
    ]


def _draw(seed: int, count: int = 3000) -> list[labelled_scenes.Scene]:
    artists = ("google", "twitter")
    return list(labelled_scenes.draw_scenes(_emoji(), artists, count=count, seed=seed))


def test_scenes_that_could_not_be_written_are_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "scenes"):
        with pytest.raises(ConfigError, match="cannot be written"):
            labelled_scenes.write_scenes(cache=tmp_path, out=out, count=1, seed=1)


def test_a_seed_is_a_draw() -> None:
    assert _draw(3) == _draw(3)
    assert _draw(3) != _draw(4)


def test_four_pictures_in_ten_show_what_the_policy_looks_for() -> None:
    drawn = _draw(1)
    found = [any(number >= len(_OTHERS) for number in scene.subjects) for scene in drawn]
    assert 0.37 < sum(found) / len(drawn) < 0.45
    assert 0.08 < sum(not scene.subjects for scene in drawn) / len(drawn) < 0.12


def test_every_category_and_shape_is_drawn_about_as_often_as_it_should() -> None:
    drawn = _draw(2)
    names = Counter(_emoji()[number].name for scene in drawn for number in scene.subjects)
    for members in CATEGORIES.values():
        assert 130 < sum(names[name] for name in members) < 290
    shapes = Counter(scene.shape for scene in drawn)
    assert set(shapes) == {"square", "wide", "tall", "pair", "animation"}


def test_the_subject_is_in_exactly_one_panel_of_a_wide_picture_or_an_animation() -> None:
    for scene in _draw(5):
        shown = [number for number in scene.panels if number != scenes.NONE]
        assert len(shown) == len(scene.subjects)
        if scene.shape in ("wide", "tall"):
            assert len(scene.panels) == 3
        if scene.shape == "pair":
            assert len(scene.panels) == 2


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        labelled_scenes.write_scenes(cache=tmp_path, out=tmp_path, count=1, seed=1)


@pytest.mark.torch
@pytest.mark.network
def test_pictures_are_as_their_labels_say(tmp_path: Path) -> None:
    out = tmp_path / "scenes"
    labelled_scenes.write_scenes(cache=tmp_path / "npm", out=out, count=120, seed=1)
    with (out / labelled_scenes.LABELS).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 120
    sizes = {"square": (64, 64), "wide": (128, 64), "tall": (64, 128), "pair": (128, 64)}
    for row in rows:
        with Image.open(out / row["file"]) as picture:
            assert picture.size == sizes.get(row["shape"], (64, 64))
            assert getattr(picture, "n_frames", 1) == (4 if row["shape"] == "animation" else 1)
        assert set(filter(None, row["categories"].split(";"))) <= set(CATEGORIES)
