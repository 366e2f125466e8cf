"""Precision and recall of each policy version and category, from what was decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time

import numpy as np

from imagesieve_server.offline.from_decisions import recall, units
from imagesieve_server.offline.from_decisions.missed import Band
from imagesieve_server.offline.from_decisions.past import Past, read_past
from imagesieve_server.offline.from_decisions.recall import Flags, Recall
from imagesieve_server.offline.from_decisions.units import Reading, Unit, Units
from imagesieve_server.offline.measures.figures import Figure, proportion
from imagesieve_server.offline.report.numbers import percent
from imagesieve_server.review_queue.read_only import QueueReader

ANY = "any"
"""The row of all categories together."""
WAITING_LIMIT = 0.10
"""A share of undecided pictures above which the assumption about them carries the result."""
DROPPED_LIMIT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryResult:
    """One row."""

    category: str  # ``ANY`` for all together
    precision: Figure | None  # of decided pictures that it flagged, the share that violates it
    decided: int  # pictures behind that
    estimate: Recall


@dataclass(frozen=True, slots=True, kw_only=True)
class BandResult:
    """One band of samples, whatever they violate."""

    name: str
    probability: float
    allowed: int  # uploads
    decided: int  # samples; pictures, as are the next three
    waiting: int
    dropped: int
    violating: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionResult:
    """One policy version."""

    policy: str
    version: str
    since: str  # date of its first flag or sample in the window, UTC
    flagged: int  # uploads
    allowed: int | None  # uploads; None where nothing counted them
    flags_waiting: float  # share of flagged pictures without a decision
    samples_waiting: float  # share of samples without a decision
    bands: tuple[BandResult, ...]
    categories: tuple[CategoryResult, ...]
    warnings: tuple[str, ...] = field(default=())


def from_decisions(
    reader: QueueReader,
    *,
    policy: str = "",
    since: date | None = None,
    aliases: Mapping[str, str] | None = None,
) -> tuple[VersionResult, ...]:
    """Measure every version of the policies; ``since`` is a day in UTC, ``aliases`` give labels
    the category they mean. Raises StoreNotUsable."""
    return measured(read_past(reader, policy=policy), since=since, aliases=aliases or {})


def measured(
    past: Past, *, since: date | None = None, aliases: Mapping[str, str]
) -> tuple[VersionResult, ...]:
    reading = Reading(categories=units.categories_of(past.uploads), aliases=aliases)
    begin = datetime.combine(since, time(), UTC).timestamp() if since else 0.0
    found = units.units_of(
        past, since=begin, day=since.isoformat() if since else "", reading=reading
    )
    results = [_version(policy, version, of) for (policy, version), of in found.items()]
    return tuple(sorted(results, key=lambda result: (result.policy, result.since)))


def _version(policy: str, version: str, of: Units) -> VersionResult:
    rates = sorted({*of.allowed, *(unit.probability for unit in of.samples)}, reverse=True)
    rows = [ANY, *sorted(of.categories)]
    return VersionResult(
        policy=policy,
        version=version,
        since=datetime.fromtimestamp(of.first, UTC).date().isoformat(),
        flagged=int(sum(unit.uploads for unit in of.flags)),
        allowed=sum(of.allowed.values()) if of.allowed else None,
        flags_waiting=_waiting(of.flags),
        samples_waiting=_waiting(of.samples),
        bands=tuple(_band_result(of, rate) for rate in rates),
        categories=tuple(_row(category, of, rates) for category in rows),
        warnings=tuple(_warnings(of)),
    )


def _row(category: str, of: Units, rates: list[float]) -> CategoryResult:
    def hit(unit: Unit) -> bool:
        named = unit.violates or frozenset()
        return bool(named) if category == ANY else category in named

    decided = [
        unit
        for unit in of.flags
        if unit.violates is not None and (category == ANY or category in unit.raised)
    ]
    right = sum(hit(unit) for unit in decided)
    return CategoryResult(
        category=category,
        precision=proportion(right, len(decided)) if decided else None,
        decided=len(decided),
        estimate=recall.estimate(
            flags=_flags(of.flags, hit), bands=[_band(of, rate, hit) for rate in rates]
        ),
    )


def _flags(flags: tuple[Unit, ...], hit: Callable[[Unit], bool]) -> list[Flags]:
    """By the category that flagged them: those that wait are like the others of theirs."""
    groups: dict[str, list[Unit]] = {}
    for unit in flags:
        groups.setdefault(unit.category, []).append(unit)
    return [
        Flags(
            uploads=np.array([u.uploads for u in same if u.violates is not None]),
            violating=np.array([hit(u) for u in same if u.violates is not None], dtype=bool),
            waiting=sum(u.uploads for u in same if u.violates is None),
        )
        for same in groups.values()
    ]


def _band(of: Units, rate: float, hit: Callable[[Unit], bool]) -> Band:
    same = [unit for unit in of.samples if unit.probability == rate]
    decided = [unit for unit in same if unit.violates is not None]
    return Band(
        name=of.bands.get(rate, ""),
        probability=rate,
        allowed=of.allowed.get(rate, 0),
        uploads=np.array([unit.uploads for unit in decided], dtype=np.float64),
        violating=np.array([hit(unit) for unit in decided], dtype=bool),
        missing=len(same) - len(decided) + of.dropped.get(rate, 0),
    )


def _band_result(of: Units, rate: float) -> BandResult:
    band = _band(of, rate, lambda unit: bool(unit.violates))
    dropped = of.dropped.get(rate, 0)
    return BandResult(
        name=band.name,
        probability=rate,
        allowed=band.allowed,
        decided=len(band.uploads),
        waiting=band.missing - dropped,
        dropped=dropped,
        violating=int(band.violating.sum()),
    )


def _waiting(some: tuple[Unit, ...]) -> float:
    return sum(unit.violates is None for unit in some) / len(some) if some else 0.0


def _warnings(of: Units) -> list[str]:
    said = []
    if not of.samples and not of.allowed:
        said.append("nothing was audited: without audit samples the recall is not known")
    elif all(sample.violates is None for sample in of.samples):
        said.append("no sample is decided yet: the bounds are those of having seen nothing")
    if of.flags and all(flag.violates is None for flag in of.flags):
        said.append("no flag is decided yet: nothing can be said of what was caught")
    for what, share in (("flags", _waiting(of.flags)), ("samples", _waiting(of.samples))):
        if WAITING_LIMIT < share < 1.0:
            said.append(
                f"{percent(share)} of the {what} are not decided; they are taken to be like the "
                f"others (above {percent(WAITING_LIMIT)} this assumption carries the result)"
            )
    dropped = sum(of.dropped.values())
    if dropped > DROPPED_LIMIT * (len(of.samples) + dropped):
        said.append(f"{dropped} samples were lost before they were kept; taken to be like the rest")
    if of.unlabelled:
        said.append(
            f"{of.unlabelled} REJECTs have no label; each counts for the category that its "
            "reviewer was shown"
        )
    if of.other:
        some = ", ".join(f"{label!r} ×{number}" for label, number in list(of.other.items())[:8])
        said.append(f"labels that name no category, and count for none: {some}")
    return said
