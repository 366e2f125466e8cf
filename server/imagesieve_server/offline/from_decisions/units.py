"""From uploads and decisions to the units of the estimates: pictures with their uploads, and the
categories that each turned out to violate.

Knows what a REJECT means: the categories that its labels name; without labels the one that the
reviewer was shown; with labels that name no category a violation that this policy has no word
for, which counts for nothing here and is reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imagesieve_server.core.review import AuditCount
from imagesieve_server.offline.from_decisions.past import Past, Upload, Word

UNNAMED = ""
"""Stands among a unit's categories for a REJECT that names none, on an item without one."""

Version = tuple[str, str]  # policy, version


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One picture under one policy version."""

    uploads: float
    violates: frozenset[str] | None  # categories; None: not decided
    category: str = ""  # that flagged it, "" for a sample
    raised: frozenset[str] = frozenset()
    probability: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """One policy version's pictures in the window."""

    flags: tuple[Unit, ...]
    samples: tuple[Unit, ...]
    categories: frozenset[str]  # that its answers were judged by
    allowed: Mapping[float, int]  # uploads by probability, drawn or not
    dropped: Mapping[float, int]  # samples that were lost, by probability
    bands: Mapping[float, str]  # names, by probability
    first: float  # time of the first upload, seconds since the epoch
    unlabelled: int  # REJECTs without labels
    other: Mapping[str, int]  # labels that name no category, and how often


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What labels mean."""

    categories: frozenset[str]
    aliases: Mapping[str, str]  # label → category

    def of(self, word: Word) -> frozenset[str]:
        """The categories that a decision names."""
        if not word.rejected:
            return frozenset()
        if not word.labels:
            return frozenset({word.category or UNNAMED})
        named = {self.aliases.get(label, label) for label in word.labels}
        return frozenset(named & self.categories)


def categories_of(uploads: Iterable[Upload]) -> frozenset[str]:
    """Every category that an answer was judged by or an item was flagged for."""
    found: set[str] = set()
    for upload in uploads:
        found |= {upload.category, *(upload.asked or ())}
    return frozenset(found - {""})


def units_of(past: Past, *, since: float, day: str, reading: Reading) -> dict[Version, Units]:
    """The units of every version with uploads from ``since`` on (seconds since the epoch), which
    is the beginning of ``day`` ("" for all)."""
    uploads: dict[Version, list[Upload]] = {}
    for upload in past.uploads:
        uploads.setdefault((upload.policy, upload.version), []).append(upload)
    counts: dict[Version, list[AuditCount]] = {}
    for count in past.counts:
        if count.day >= day:
            counts.setdefault((count.policy, count.policy_version), []).append(count)
    found = {}
    for version in sorted({*uploads, *counts}):
        units = _units(uploads.get(version, []), counts.get(version, []), past, since, reading)
        if units.flags or units.samples or units.allowed:
            found[version] = units
    return found


def _units(
    uploads: list[Upload],
    counts: list[AuditCount],
    past: Past,
    since: float,
    reading: Reading,
) -> Units:
    flagged = [u for u in uploads if not u.audit and u.received_at >= since]
    whole = [count for count in counts if not count.sha256]
    samples = _samples([u for u in uploads if u.audit], counts, past, since)
    words = [
        past.words[item]
        for item in {u.item for u in flagged} | {u.item for u, _ in samples}
        if item in past.words
    ]
    rejected = [word for word in words if word.rejected]
    names = Counter(
        label
        for word in rejected
        for label in word.labels
        if reading.aliases.get(label, label) not in reading.categories
    )
    return Units(
        flags=tuple(_flags(flagged, past, reading)),
        samples=tuple(
            Unit(uploads=size, violates=_hits(u, past, reading), probability=u.probability)
            for u, size in samples
        ),
        categories=categories_of(uploads),
        allowed=_by_rate((count.probability, count.uploads) for count in whole),
        dropped=_by_rate((count.probability, count.dropped) for count in whole),
        bands={count.probability: count.band for count in sorted(whole, key=lambda c: c.band)},
        first=min((u.received_at for u in uploads if u.received_at >= since), default=0.0),
        unlabelled=sum(not word.labels for word in rejected),
        other=dict(names.most_common()),
    )


def _flags(flagged: list[Upload], past: Past, reading: Reading) -> Iterable[Unit]:
    """An item's uploads are one unit; what a category did is the last upload's."""
    by_item: dict[tuple[str, str], list[Upload]] = {}
    for upload in flagged:
        by_item.setdefault(upload.item, []).append(upload)
    for same in by_item.values():
        last = same[-1]
        yield Unit(
            uploads=float(len(same)),
            violates=_hits(last, past, reading),
            category=last.category,
            raised=last.raised,
        )


def _samples(
    drawn: list[Upload], counts: list[AuditCount], past: Past, since: float
) -> list[tuple[Upload, float]]:
    """Each sampled picture once, with its uploads in the window.

    A picture that was kept twice (a server forgets between) has the item that was decided.
    """
    sizes = Counter[tuple[str, str, float]]()
    for count in counts:
        if count.sha256:
            sizes[count.tenant, count.sha256, count.probability] += count.uploads
    seen: dict[tuple[str, str, float], Upload] = {}
    kept = Counter[tuple[str, str, float]]()
    for upload in drawn:
        key = (upload.tenant, upload.sha256, upload.probability)
        if key not in seen or seen[key].item not in past.words:
            seen[key] = upload
        kept[key] += upload.received_at >= since
    # Counts are best effort: a picture that was kept was uploaded, whatever they say.
    found = [(upload, float(max(sizes[key], kept[key]))) for key, upload in seen.items()]
    return [(upload, size) for upload, size in found if size]


def _hits(upload: Upload, past: Past, reading: Reading) -> frozenset[str] | None:
    """The categories that it violates among those it was judged by."""
    word = past.words.get(upload.item)
    if word is None:
        return None
    named = reading.of(word)
    return named if upload.asked is None else named & (upload.asked | {UNNAMED})


def _by_rate(pairs: Iterable[tuple[float, int]]) -> dict[float, int]:
    found = Counter[float]()
    for probability, number in pairs:
        found[probability] += number
    return dict(found)
