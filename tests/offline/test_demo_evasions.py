"""What plain decoding misses and the server sees: the demo's evasions, with the same model.

The tables of docs/reference/evasions.md come from here; --update-golden rewrites them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from helpers import reference
from helpers.evasions import HIDE, OPEN, SHIPPED, Judges, Seen, openly, shipped_file, shown
from helpers.reference import REFERENCE, table
from imagesieve_server.core.views import Background, View, ViewKind
from imagesieve_server.offline.demo_images.catalogue import Evasion, Picture

PAGE = REFERENCE / "evasions.md"
MISSED = {Evasion.LATE_FRAME, Evasion.ALPHA_ONLY, Evasion.STRIP_END, Evasion.GREY16}
"""What plain decoding does not show to the model at all."""

WAYS = {
    Evasion.LATE_FRAME: "in one frame of 24",
    Evasion.ALPHA_ONLY: "in transparency alone",
    Evasion.STRIP_END: "at the end of a strip",
    Evasion.EXIF_ROTATED: "upside down, with an EXIF tag",
    Evasion.GREY16: "in 16-bit grey",
    Evasion.CMYK: "in four inks",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """One evasion applied to every openly flagged picture: how each was judged."""

    whole: list[Seen]
    plain: list[Seen]
    openly: list[Seen]


@pytest.fixture(scope="module")
def judges() -> Judges:
    return Judges()


@pytest.fixture(scope="module")
def shipped(judges: Judges) -> dict[Evasion, tuple[Picture, Seen, Seen]]:
    """By evasion: the demo's file, and what the server and plain decoding make of it."""
    rows = {}
    for picture in SHIPPED:
        data = shipped_file(picture)
        seen = (judges.whole(data, picture.category), judges.plain(data, picture.category))
        assert picture.evasion
        rows[picture.evasion] = (picture, *seen)
    return rows


@pytest.fixture(scope="module")
def hidden(judges: Judges) -> dict[Evasion, Hidden]:
    """Every openly flagged picture of the demo, hidden in all six ways."""
    rows = {}
    for kind, hide in HIDE.items():
        files = [(hide(shown(p)), openly(shown(p), kind), p.category) for p in OPEN]
        rows[kind] = Hidden(
            whole=[judges.whole(data, category) for data, _, category in files],
            plain=[judges.plain(data, category) for data, _, category in files],
            openly=[judges.whole(data, category) for _, data, category in files],
        )
    return rows


def test_every_shipped_evasion_is_flagged(
    shipped: dict[Evasion, tuple[Picture, Seen, Seen]],
) -> None:
    assert set(shipped) == set(Evasion)
    assert [kind for kind, (_, whole, _) in shipped.items() if not whole.flagged] == []


def test_plain_decoding_misses_four_and_loses_score_on_the_fifth(
    shipped: dict[Evasion, tuple[Picture, Seen, Seen]],
) -> None:
    """Of four inks Pillow itself makes the right colours."""
    assert [kind for kind in MISSED if shipped[kind][2].flagged] == []
    gain = {kind: whole.log_odds - plain.log_odds for kind, (_, whole, plain) in shipped.items()}
    assert all(gain[kind] > 1 for kind in MISSED), gain
    assert gain[Evasion.EXIF_ROTATED] > 0
    assert gain[Evasion.CMYK] == pytest.approx(0, abs=0.5)


def test_the_view_that_is_named_is_where_it_was_hidden(
    shipped: dict[Evasion, tuple[Picture, Seen, Seen]],
) -> None:
    views = {kind: whole.view for kind, (_, whole, _) in shipped.items()}
    assert (views[Evasion.LATE_FRAME].frame, views[Evasion.LATE_FRAME].kind) == (19, ViewKind.FRAME)
    assert views[Evasion.ALPHA_ONLY].background is Background.WHITE
    assert views[Evasion.STRIP_END].kind is ViewKind.TILE
    assert views[Evasion.STRIP_END].box[2] == 3000  # the very end


@pytest.mark.parametrize("kind", Evasion)
def test_hiding_gains_nothing(hidden: dict[Evasion, Hidden], kind: Evasion) -> None:
    """Any flagged picture, hidden in any way, is judged about as it is when shown openly."""
    row = hidden[kind]
    whole, plain, open_ = (_flags(seen) for seen in (row.whole, row.plain, row.openly))
    assert open_ > 0
    assert whole >= open_ - 1
    assert plain <= whole
    if kind in MISSED:
        assert plain <= 1


def _flags(seen: list[Seen]) -> int:
    return sum(one.flagged for one in seen)


def test_the_tables_say_what_is_measured(
    shipped: dict[Evasion, tuple[Picture, Seen, Seen]],
    hidden: dict[Evasion, Hidden],
    request: pytest.FixtureRequest,
) -> None:
    """Verdicts and words to the letter; numbers as far as processors agree."""
    parts: dict[str, Callable[[], str]] = {
        "shipped": lambda: _shipped_table(shipped),
        "hidden": lambda: _hidden_table(hidden),
    }
    for name, make in parts.items():
        before, inside, after = reference.split(PAGE.read_text(encoding="utf-8"), name)
        wanted = f"\n{make()}\n\n"
        if request.config.getoption("--update-golden"):
            PAGE.write_text(before + wanted + after, encoding="utf-8")
        else:
            assert _alike(inside, wanted), f"{PAGE.name} is out of date: make golden\n{wanted}"


def _alike(text: str, other: str) -> bool:
    number = re.compile(r"\d+\.\d+")
    pairs = zip(number.findall(text), number.findall(other), strict=False)
    return number.sub("#", text) == number.sub("#", other) and all(
        abs(float(one) - float(two)) <= 0.05 for one, two in pairs
    )


def _shipped_table(rows: dict[Evasion, tuple[Picture, Seen, Seen]]) -> str:
    head = ("Subject", "Hidden", "imagesieve", "score", "view", "plain decoding", "score")
    return table(
        head,
        [
            (
                picture.scene.emoji, WAYS[kind], str(whole.verdict), f"{whole.score:.2f}",
                _where(whole.view), str(plain.verdict), f"{plain.score:.2f}",
            )
            for kind, (picture, whole, plain) in rows.items()
        ],
    )  # fmt: skip


def _where(view: View) -> str:
    left, upper, right, lower = view.box
    frame = f" {view.frame}" if view.kind is ViewKind.FRAME else ""
    ground = f" on {view.background}" if view.background is not Background.NONE else ""
    return f"{view.kind}{frame}, {left}, {upper} to {right}, {lower}{ground}"


def _hidden_table(rows: dict[Evasion, Hidden]) -> str:
    head = ("Hidden", "pictures", "flagged by imagesieve", "by plain decoding", "shown openly")
    return table(
        head,
        [
            (WAYS[kind], *(str(n) for n in (len(row.whole), *_counts(row))))
            for kind, row in rows.items()
        ],
    )


def _counts(row: Hidden) -> tuple[int, int, int]:
    return _flags(row.whole), _flags(row.plain), _flags(row.openly)
