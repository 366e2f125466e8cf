"""The demo model's training, with the real art."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from imagesieve_server.offline.demo_model import emoji_art
from imagesieve_server.offline.demo_model.categories import CATEGORIES

pytestmark = [pytest.mark.torch, pytest.mark.network]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The npm packages."""
    folder = tmp_path_factory.mktemp("npm")
    emoji_art.fetch(folder)
    return folder


def test_every_category_names_emoji_that_exist(cache: Path) -> None:
    names = [emoji.name for emoji in emoji_art.read_emoji(cache)]
    assert len(names) == len(set(names)) == 1636
    assert {name for row in CATEGORIES.values() for name in row} <= set(names)


def test_sprites_are_premultiplied(cache: Path) -> None:
    emoji = emoji_art.read_emoji(cache)[:40]
    for artist in emoji_art.ARTISTS:
        sprites = emoji_art.read_sprites(cache, artist, emoji)
        assert sprites.shape == (40, 4, emoji_art.SIDE, emoji_art.SIDE)
        assert (sprites[:, :3] <= sprites[:, 3:]).all()


@pytest.mark.timeout(300)
def test_a_resumed_run_is_the_uninterrupted_one(cache: Path, tmp_path: Path) -> None:
    import torch

    from imagesieve_server.offline.demo_model import architecture
    from imagesieve_server.offline.demo_model.options import Options
    from imagesieve_server.offline.demo_model.train import train

    whole = Options(
        cache=cache,
        out=tmp_path / "whole",
        steps=4,
        batch=16,
        save_every=2,
        names_every=2,
        threads=1,
    )
    folder = train(whole, report=lambda _: None)
    cut = dataclasses.replace(whole, out=tmp_path / "cut", stop_after=2)
    train(cut, report=lambda _: None)
    resumed = train(dataclasses.replace(cut, stop_after=None, resume=True), report=lambda _: None)
    first, second = (architecture.load_folder(f)[0].state_dict() for f in (folder, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
