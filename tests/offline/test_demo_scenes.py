"""The compositor of the demo model's training pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from imagesieve_server.offline.demo_model import scenes, vocabulary

pytestmark = pytest.mark.torch


def _art() -> tuple[Any, Any]:
    """Three sprites (opaque red, green and blue squares) and four grey crops."""
    sprites = np.zeros((3, 4, scenes.SIDE, scenes.SIDE), dtype=np.uint8)
    sprites[:, 3] = 255
    for number in range(3):
        sprites[number, number] = 255
    crops = np.full((4, 3, scenes.SIDE, scenes.SIDE), 128, dtype=np.uint8)
    return sprites, crops


def _render(numbers: list[int], seed: int, **shares: float) -> Any:
    import torch

    maker = scenes.SceneMaker(*_art(), scenes.Shares(**shares))
    return maker.render(torch.tensor(numbers), torch.Generator().manual_seed(seed)).numpy()


def test_same_seed_same_pixels() -> None:
    numbers = [0, 1, 2, scenes.NONE] * 20
    assert np.array_equal(_render(numbers, 5), _render(numbers, 5))
    assert not np.array_equal(_render(numbers, 5), _render(numbers, 6))


def test_a_picture_is_uint8_and_square() -> None:
    pictures = _render([0, scenes.NONE], 1)
    assert pictures.shape == (2, 3, scenes.SIDE, scenes.SIDE)
    assert pictures.dtype == np.uint8


def test_art_shows_and_bare_backdrops_have_none() -> None:
    plain = {"photograph": 0.0, "smooth": 0.0, "companion": 0.0, "grey": 0.0, "silhouette": 0.0}
    drawn, bare = _render([0] * 40, 3, **plain), _render([scenes.NONE] * 40, 3, **plain)
    assert (drawn.reshape(40, -1).std(axis=1) > 1).mean() > 0.9
    # One plain colour, but for the rounding of the blur at the border.
    inner = bare[:, :, 2:-2, 2:-2].reshape(40, 3, -1)
    assert inner.std(axis=2).max() < 1


def test_grey_pictures_have_equal_channels() -> None:
    pictures = _render([0, 1, 2] * 5, 4, grey=1.0)
    assert np.array_equal(pictures[:, 0], pictures[:, 1])
    assert np.array_equal(pictures[:, 0], pictures[:, 2])


def test_angles_stay_within_the_bound() -> None:
    import torch

    drawn = scenes.angles(scenes.Draw(torch.Generator().manual_seed(1), 5000))
    assert float(drawn.abs().max()) <= math.radians(scenes.MAX_ANGLE)
    assert float(drawn.abs().max()) > math.radians(scenes.MAX_ANGLE) * 0.95


def test_merges_are_the_beginning_of_clips(tmp_path: Any) -> None:
    from open_clip.tokenizer import SimpleTokenizer

    vocabulary.write_merges(tmp_path / vocabulary.FILE)
    ours, full = vocabulary.make_tokenizer(tmp_path / vocabulary.FILE), SimpleTokenizer()
    assert ours.vocab_size == vocabulary.SIZE
    assert ours.bpe_ranks == {p: r for p, r in full.bpe_ranks.items() if r < vocabulary.MERGES}
    # Words made of early merges have the same tokens; only start and end are numbered anew.
    words = ["a picture of a dog", "a photo of the food"]
    for mine, theirs in zip(ours(words), full(words), strict=True):
        kept = [int(t) for t in theirs if 0 < t < vocabulary.SIZE - 2]
        assert [int(t) for t in mine if 0 < t < vocabulary.SIZE - 2] == kept


def test_merges_are_written_alike_each_time(tmp_path: Any) -> None:
    for name in ("one.gz", "two.gz"):
        vocabulary.write_merges(tmp_path / name)
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()


def test_text_vectors_without_padding_are_open_clips() -> None:
    import torch

    from imagesieve_server.offline.demo_model import architecture

    model = architecture.build_model(seed=1).eval()
    tokens = torch.zeros(3, vocabulary.CONTEXT_LENGTH, dtype=torch.int64)
    for row, length in enumerate((4, 9, 6)):
        tokens[row, 1:length] = torch.arange(1, length) * 100
        tokens[row, 0], tokens[row, length] = vocabulary.SIZE - 2, vocabulary.SIZE - 1
    with torch.no_grad():
        ours = architecture.encode_text(model, tokens)
        theirs = model.encode_text(tokens, normalize=True)
    assert torch.allclose(ours, theirs, atol=1e-6)
