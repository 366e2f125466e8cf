"""Diagnoses in words: for each a few sentences, a table, and what it does not prove."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from imagesieve_server.offline.diagnosis.attributes import AttributeGap
from imagesieve_server.offline.diagnosis.composition import Composition
from imagesieve_server.offline.diagnosis.diagnose import Diagnosis
from imagesieve_server.offline.diagnosis.domain import DomainGap, NeutralFit
from imagesieve_server.offline.diagnosis.typography import (
    CONTROLS,
    MOST_PICTURES,
    Direction,
    Steered,
)
from imagesieve_server.offline.measures.figures import Figure
from imagesieve_server.offline.report.numbers import index, log_odds, percent, signed, with_interval

_KINDS = {
    "negated": "Prompts negated",
    "reversed": "Prompts with their words reversed",
    "swapped": "Prompts with their parts exchanged",
}
_MOST_PAIRS = 12
_MOST_NAMES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a head; all cells are text."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int  # columns that are flush left


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One diagnosis."""

    id: str
    title: str
    sentences: tuple[str, ...]
    table: Table | None
    limits: str  # what it does not prove


def tell(diagnosis: Diagnosis) -> list[Told]:
    """Every diagnosis that has something to say."""
    told = [
        _composition(diagnosis.composition),
        _printed(diagnosis.printed),
        _attributes(diagnosis.attributes),
        _domain(diagnosis.neutral, diagnosis.gap),
    ]
    return [one for one in told if one.sentences]


def _composition(found: tuple[Composition, ...]) -> Told:
    rows = [
        (
            one.kind,
            at.category,
            index(at.auc.value),
            index(at.changed_auc.value),
            _interval(at.difference, write=signed),
        )
        for one in found
        for at in one.pictures
    ]
    return Told(
        id="diagnosis_composition",
        title="Does the model read prompts as sentences?",
        sentences=tuple(_kind(one) for one in found),
        table=Table(
            head=("change", "category", "AUC as written", "changed", "difference"),
            rows=tuple(rows),
            left=2,
        )
        if rows
        else None,
        limits="Where a change is hardly read, prompts that hang on it (“a person without a "
        "weapon”) say little more than their words: write what is seen, and put look-alikes into "
        "counter_prompts. Only prompts that can be changed so are compared. A large change of the "
        "vectors is no proof that a sentence is understood.",
    )


def _kind(one: Composition) -> str:
    first, changed = one.example
    read = "hardly read" if one.is_not_read else "seen"
    return (
        f"{_KINDS[one.kind]} (“{first}” → “{changed}”, {one.prompts} in all): the change is "
        f"{read}. It moves a vector {one.distance:.2f} times as far as different prompts lie apart "
        f"(median), which can move a picture's log-odds by {one.reach:.1f} at most."
    )


def _printed(found: tuple[Steered, ...]) -> Told:
    rows = [
        (
            one.category,
            one.direction.value,
            one.word,
            percent(one.size),
            _interval(one.shift),
            log_odds(sum(one.control_shifts) / len(one.control_shifts)),
            percent(one.flipped.value),
            percent(one.control_flipped),
            "steers" if one.steers else "",
        )
        for one in found
    ]
    return Told(
        id="diagnosis_printed_words",
        title="Do printed words steer the scores?",
        sentences=tuple(_steering(found)),
        table=Table(
            head=(
                "category", "word", "printed", "height", "beyond nonsense", "by nonsense",
                "flips", "by nonsense", "",
            ),
            rows=tuple((row[0], row[1], row[2], *row[3:]) for row in rows),
            left=3,
        ) if rows else None,
        limits="One word, one label and one place were tried on at most "
        f"{MOST_PICTURES} pictures of a category, against {CONTROLS} nonsense words of the same "
        "length. A word that is not read goes beyond all of them in one case of "
        f"{CONTROLS + 1}, and what it does then is the doing of its shape. Whoever attacks tries "
        "more, and may cover the picture instead of writing on it.",
    )  # fmt: skip


def _steering(found: tuple[Steered, ...]) -> Iterator[str]:
    for direction, what in (
        (Direction.TRIGGERS, "A word of the category, printed on pictures that do not show it,"),
        (Direction.HIDES, "A benign word, printed on pictures that are flagged rightly,"),
    ):
        here = [one for one in found if one.direction is direction]
        if not here:
            continue
        beyond, chance = sum(one.beyond_nonsense for one in here), 1 / (CONTROLS + 1)
        often = beyond > len(here) * chance + 2 * math.sqrt(len(here) * chance * (1 - chance))
        yield (
            f"{what} went further its printer's way than every nonsense word in {beyond} of "
            f"{len(here)} cases; by chance it would in {len(here) * chance:.0f}. "
            f"{'The model seems to read.' if often else 'That is no sign of reading.'}"
        )
    hidden = [one for one in found if one.direction is Direction.HIDES]
    if hidden:
        most = max(hidden, key=lambda one: one.control_flipped)
        yield (
            f"Covering alone hides: a nonsense word of {percent(most.size)} of the height brought "
            f"{percent(most.control_flipped)} of the flagged pictures of {most.category} below "
            "review_at."
        )


def _attributes(found: tuple[AttributeGap, ...]) -> Told:
    return Told(
        id="diagnosis_attributes",
        title="Do ordinary words for people lean towards a category?",
        sentences=tuple(_leanings(found)) if found else (),
        table=Table(
            head=("category", "nearer", "than", "effect", "log-odds", "p"),
            rows=tuple(_gap(one) for one in found[:_MOST_PAIRS]),
            left=3,
        )
        if found
        else None,
        limits="This is the model's text side, in this wording and relative to the policy's "
        "neutral prompts. It proves no harm to anybody's pictures, and its absence proves no "
        "fairness: for that, label pictures with a column for the attribute and read the slices.",
    )


def _leanings(found: tuple[AttributeGap, ...]) -> Iterator[str]:
    outstanding = [one for one in found if one.stands_out]
    yield (
        f"{len(outstanding)} of {len(found)} combinations of category and pair stand out: words "
        "for one kind of people lie nearer to the category than the same sentences about another "
        "(effect of 0.5 or more, p below 0.05 after adjustment for the number of tests)."
    )
    categories = len({one.category for one in found})
    for pair in dict.fromkeys(one.pair for one in outstanding):
        signs = [one.effect > 0 for one in outstanding if one.pair == pair]
        if categories > 1 and len(signs) == categories and len(set(signs)) == 1:
            near, far = (pair.first, pair.second) if signs[0] else (pair.second, pair.first)
            yield (
                f"Every category leans towards “{near}” against “{far}”: that is the neutral "
                "prompts' doing. One that names them brings the sides together."
            )


def _gap(one: AttributeGap) -> tuple[str, ...]:
    near, far = one.pair.first, one.pair.second
    if one.effect < 0:
        near, far = far, near
    return (
        one.category, near, far, f"{abs(one.effect):.2f}", log_odds(abs(one.log_odds)),
        f"{one.p:.3f}" if one.p >= 0.001 else "<0.001",
    )  # fmt: skip


def _domain(neutral: NeutralFit | None, gap: DomainGap | None) -> Told:
    return Told(
        id="diagnosis_domain",
        title="Are the pictures like those that the server will see?",
        sentences=(*_neutral(neutral), *_apart(gap)),
        table=Table(
            head=("category", "of ordinary labelled pictures", "of the reference"),
            rows=tuple(
                (
                    one.category,
                    with_interval(one.ordinary, share=True),
                    with_interval(one.reference, share=True),
                )
                for one in gap.flagged
            ),
            left=1,
        )
        if gap
        else None,
        limits="Figures hold for pictures like the labelled ones. A distance says that two "
        "collections differ, not in what or whether it matters; nobody said what the reference "
        "shows, so more flags there may be more offences. Only first views are compared.",
    )


def _neutral(found: NeutralFit | None) -> Iterator[str]:
    if found is None:
        yield "No picture is labelled as showing nothing: there are no ordinary ones to look at."
        return
    text, most = found.nearest[0]
    yield (
        f"Of {found.pictures} ordinary pictures “{text}” is the nearest neutral prompt of "
        f"{percent(most / found.pictures)}."
    )
    if found.unused:
        names = ", ".join(f"“{one}”" for one in found.unused[:_MOST_NAMES])
        more = (
            f" and {len(found.unused) - _MOST_NAMES} more"
            if len(found.unused) > _MOST_NAMES
            else ""
        )
        yield f"Neutral prompts that are nearest to none of them: {names}{more}."
    files = ", ".join(file for file, _ in found.farthest[:5])
    yield f"Described worst by any neutral prompt, so worth a look: {files}."


def _apart(gap: DomainGap | None) -> Iterator[str]:
    if gap is None:
        yield "Give a folder of real uploads with --reference to compare them."
        return
    alike = gap.tested.p >= 0.05
    yield (
        f"The {gap.pictures} labelled pictures and the {gap.references} of the reference are "
        f"{'not told apart' if alike else 'different collections'}: their distance is "
        f"{gap.times_chance:.1f} times what chance reaches in one of twenty shufflings "
        f"(p {gap.tested.p:.3f})."
    )


def _interval(figure: Figure, *, write: Callable[[float], str] = log_odds) -> str:
    return f"{write(figure.value)} [{write(figure.low)}, {write(figure.high)}]"
