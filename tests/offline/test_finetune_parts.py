"""What fine-tuning needs no torch for: files of pairs, features kept on disk, figures by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.picture_pairs import write_pairs
from imagesieve_server.core.errors import LabelsError
from imagesieve_server.offline.finetune import features
from imagesieve_server.offline.finetune.features import Floats, computed_once
from imagesieve_server.offline.finetune.figures import Gallery, ability, turned_by
from imagesieve_server.offline.finetune.pairs import held_out, read_pairs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three different pictures; d.png has the bytes of a.png."""
    for number, name in enumerate("abc"):
        Image.new("RGB", (8, 8), (number * 90, 10, 10)).save(tmp_path / f"{name}.png")
    (tmp_path / "d.png").write_bytes((tmp_path / "a.png").read_bytes())
    return tmp_path


def write(folder: Path, text: str, name: str = "pairs.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_same_bytes_are_one_picture_and_the_same_words_one_caption(folder: Path) -> None:
    path = write(
        folder,
        "file,caption,class\na.png,a cat,cat\nb.png,a dog,dog\nd.png,my cat,cat\nc.png,a cat,\n",
    )
    pairs = read_pairs(path, folder)
    assert [picture.name for picture in pairs.pictures] == ["a.png", "b.png", "c.png"]
    assert pairs.captions == ("a cat", "a dog", "my cat")
    assert pairs.picture_of.tolist() == [0, 1, 0, 2]
    assert pairs.caption_of.tolist() == [0, 1, 2, 0]
    assert (pairs.classes, pairs.class_of.tolist()) == (("cat", "dog"), [0, 1, -1])


def test_json_lines_may_say_several_things_of_a_picture(folder: Path) -> None:
    rows = [{"file": "a.png", "caption": ["one", "two"]}, {"file": "b.png", "caption": "three"}]
    path = write(folder, "\n".join(map(json.dumps, rows)), "pairs.jsonl")
    pairs = read_pairs(path, folder)
    assert (pairs.captions, pairs.picture_of.tolist()) == (("one", "two", "three"), [0, 0, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,text\na.png,x\n", r"pairs.csv: column 'caption': is missing; .* 'file', 'text'"),
        ("name,caption\na.png,x\n", r"pairs.csv: column 'file': is missing"),
        ("file,caption\na.png,x\nb.png,  \n", r"pairs.csv:3: column 'caption': is empty"),
        ("file,caption\n ,x\n", r"pairs.csv:2: column 'file': is empty"),
        ("file,caption\n../secret.png,x\n", r"pairs.csv:2: .*leads out of"),
        ("file,caption\nno.png,x\n", r"pairs.csv:2: .*there is no picture 'no.png'"),
        ("file,caption\na.png,x,y\n", r"pairs.csv:2: has 3 fields"),
        ("file,caption\n", r"pairs.csv: has no rows"),
    ],
)
def test_a_wrong_line_is_named(folder: Path, text: str, message: str) -> None:
    with pytest.raises(LabelsError, match=message):
        read_pairs(write(folder, text), folder)


@pytest.mark.parametrize(
    ("value", "column"), [({"caption": []}, "caption"), ({"caption": "x", "class": ["a"]}, "class")]
)
def test_a_wrong_json_line_is_named(folder: Path, value: dict[str, object], column: str) -> None:
    path = write(folder, json.dumps({"file": "a.png", **value}), "pairs.jsonl")
    with pytest.raises(LabelsError, match=f"pairs.jsonl:1: column '{column}'"):
        read_pairs(path, folder)


def test_the_share_held_out_depends_on_bytes_and_seed_alone(tmp_path: Path) -> None:
    pairs = read_pairs(write_pairs(tmp_path, count=60, seed=3), tmp_path)
    first = held_out(pairs, share=0.25, seed=1)
    assert first.sum() == round(0.25 * len(pairs.pictures))
    lines = (tmp_path / "pairs.csv").read_text().splitlines()
    turned = write(tmp_path, "\n".join([lines[0], *reversed(lines[1:])]), "turned.csv")
    again = read_pairs(turned, tmp_path)
    out = held_out(again, share=0.25, seed=1)
    assert {p.sha256 for p, one in zip(pairs.pictures, first, strict=True) if one} == {
        p.sha256 for p, one in zip(again.pictures, out, strict=True) if one
    }
    assert (held_out(pairs, share=0.25, seed=2) != first).any()


class Counting:
    """Features of thing n are [n, n + 0.5]; counts what it was asked."""

    def __init__(self, *, fails_at: int = 10**9, base: bool = False) -> None:
        self.asked, self._fails_at, self._base = 0, fails_at, base

    def __call__(self, start: int, stop: int) -> tuple[Floats, Floats | None]:
        if stop > self._fails_at:
            raise InterruptedError
        self.asked += stop - start
        column = np.arange(start, stop, dtype=np.float32)[:, None]
        return np.hstack([column, column + 0.5]), column if self._base else None


def compute(folder: Path, of: Counting, *, key: str = "k", count: int = 150) -> features.Features:
    return computed_once(
        folder, "things", key=key, count=count, compute=of, progress=lambda _: None
    )


def test_features_are_computed_once(tmp_path: Path) -> None:
    first = compute(tmp_path, Counting(base=True))
    assert first.inputs[:, 0].tolist() == list(range(150))
    inputs, base = first.rows(np.array([149, 3]))
    assert base is not None
    assert (inputs.tolist(), base.tolist()) == ([[149, 149.5], [3, 3.5]], [[149], [3]])
    again = Counting()
    assert compute(tmp_path, again).base is not None
    assert again.asked == 0


def test_an_interruption_costs_one_chunk_and_another_key_everything(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        compute(tmp_path, Counting(fails_at=130))
    rest = Counting()
    assert compute(tmp_path, rest).inputs[:, 0].tolist() == list(range(150))
    assert rest.asked == 150 - 2 * features.CHUNK
    other = Counting()
    assert compute(tmp_path, other, key="another", count=70).inputs.shape == (70, 2)
    assert other.asked == 70
    (tmp_path / "things.json").write_text("{")  # a damaged note is as none
    assert len(compute(tmp_path, Counting(), key="another", count=70)) == 70


def unit(*angles: float) -> np.ndarray:
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_ability_by_hand() -> None:
    """Picture 1 lies nearer to picture 0's caption than to its own."""
    gallery = Gallery(
        pictures=unit(0, 30, 90),
        captions=unit(5, 60, 91),
        picture_of=np.array([0, 1, 2, 2]),
        caption_of=np.array([0, 1, 2, 1]),
        classes=unit(0, 90),
        class_of=np.array([0, 1, 1]),
    )
    found = ability(gallery)
    assert found.picture_to_caption_1 == pytest.approx(2 / 3)
    assert found.picture_to_caption_5 == 1.0
    assert found.caption_to_picture_1 == 1.0
    assert found.zero_shot == pytest.approx(2 / 3)


def test_a_tie_counts_against() -> None:
    same = np.repeat(unit(10), 6, axis=0)
    one_each = np.arange(6)
    gallery = Gallery(pictures=same, captions=same, picture_of=one_each, caption_of=one_each)
    found = ability(gallery)
    assert (found.picture_to_caption_1, found.picture_to_caption_5) == (0.0, 0.0)
    assert found.zero_shot is None


def test_how_far_embeddings_turned() -> None:
    assert turned_by(unit(0, 90), unit(0, 90)) == pytest.approx(1.0)
    assert turned_by(unit(0, 90), unit(60, 30)) == pytest.approx(0.5)
