"""What two policies say of the same images, counted; and the images that change most."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.kept import KeptBlock
from imagesieve_server.core.policy import AuditRates, Policy
from imagesieve_server.core.scoring import Doubles
from imagesieve_server.core.verdict import Verdict
from imagesieve_server.offline.backtest.judge import Flags, Strengths, Verdicts

VERDICTS: Final = (Verdict.ALLOW, Verdict.REVIEW, Verdict.BLOCK)
NAMED_SURFACES: Final = 1000
"""Further surfaces, which are the uploaders' words, are counted as one."""
OTHERS: Final = "(others)"


@dataclass(slots=True)
class Group:
    """Some of the images: a day, a tenant, a surface."""

    images: int = 0
    flagged_a: int = 0
    flagged_b: int = 0
    gained: int = 0  # flagged by B only
    lost: int = 0  # flagged by A only

    def add(self, flagged_a: Flags, flagged_b: Flags) -> None:
        self.images += len(flagged_a)
        self.flagged_a += int(flagged_a.sum())
        self.flagged_b += int(flagged_b.sum())
        self.gained += int((flagged_b & ~flagged_a).sum())
        self.lost += int((flagged_a & ~flagged_b).sum())


@dataclass(frozen=True, slots=True, order=True)
class Example:
    """An image whose verdict changes; ordered by how much."""

    steps: int  # between the verdicts: 1 or 2
    distance: float  # between its margins under A and B, log-odds
    sha256: str
    tenant: str = field(compare=False)
    surface: str = field(compare=False)
    day: date = field(compare=False)
    verdict_a: Verdict = field(compare=False)
    verdict_b: Verdict = field(compare=False)
    margin_a: float = field(compare=False)  # −∞ without an enforced category
    margin_b: float = field(compare=False)
    categories: tuple[str, ...] = field(compare=False)  # whose band differs


@dataclass(slots=True, kw_only=True)
class Tally:
    """Everything that was counted. A and B are the policies before and after."""

    a: Policy
    b: Policy
    keep_examples: int
    images: int = 0
    views: int = 0
    verdicts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, 3), np.int64))
    bands: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    """Per category [4, 4], A by B: not asked or not in the policy, CLEAR, REVIEW, BLOCK."""
    days: dict[date, Group] = field(default_factory=dict)
    tenants: dict[str, Group] = field(default_factory=dict)
    surfaces: dict[str, Group] = field(default_factory=dict)
    close_a: int = 0
    close_b: int = 0
    audit_a: float = 0.0  # expected audit samples
    audit_b: float = 0.0
    given: int = 0  # images that were judged by A when they came
    given_otherwise: int = 0  # whose verdict then was another one
    other_plan: Counter[str] = field(default_factory=Counter)
    other_policy: Counter[str] = field(default_factory=Counter)
    stricter: list[Example] = field(default_factory=list)
    laxer: list[Example] = field(default_factory=list)

    def left_out(self, block: KeptBlock, chosen: Flags, plan: Flags) -> None:
        """Count the images that are not compared, by why: first the policy, then the plan."""
        for place, text in enumerate(block.policy.texts):
            if count := int((~chosen & (block.policy.codes == place)).sum()):
                self.other_policy[text] += count
        for place, text in enumerate(block.plan.texts):
            if count := int((chosen & ~plan & (block.plan.codes == place)).sum()):
                self.other_plan[text] += count

    def add(
        self, block: KeptBlock, day: date, of_a: Verdicts, of_b: Verdicts, chosen: Flags
    ) -> None:
        """Count one block's chosen images."""
        a, b = of_a.verdict[chosen], of_b.verdict[chosen]
        self.images += len(a)
        self.views += int(np.diff(block.first, append=len(block.kinds))[chosen].sum())
        self.verdicts += _table(a, b, 3)
        flagged_a, flagged_b = a > 0, b > 0
        self.days.setdefault(day, Group()).add(flagged_a, flagged_b)
        self.tenants.setdefault(block.tenant, Group()).add(flagged_a, flagged_b)
        self._surfaces(block, flagged_a, flagged_b, chosen)
        self._bands(of_a.bands[:, chosen], of_b.bands[:, chosen])
        self.close_a += int(of_a.close[chosen].sum())
        self.close_b += int(of_b.close[chosen].sum())
        self.audit_a += _audited(self.a.audit, of_a, chosen)
        self.audit_b += _audited(self.b.audit, of_b, chosen)
        self._given(block, of_a, chosen)
        self._examples(block, day, of_a, of_b, chosen)

    def _surfaces(
        self, block: KeptBlock, flagged_a: Flags, flagged_b: Flags, chosen: Flags
    ) -> None:
        codes = block.surface.codes[chosen]
        for place in np.unique(codes):
            name = block.surface.texts[place]
            if name not in self.surfaces and len(self.surfaces) >= NAMED_SURFACES:
                name = OTHERS
            mine = codes == place
            self.surfaces.setdefault(name, Group()).add(flagged_a[mine], flagged_b[mine])

    def _bands(self, of_a: Strengths, of_b: Strengths) -> None:
        rows_a = dict(zip((c.id for c in self.a.categories), of_a, strict=True))
        rows_b = dict(zip((c.id for c in self.b.categories), of_b, strict=True))
        absent = np.full(of_a.shape[1], -1, dtype=np.int8)
        for name in {**rows_a, **rows_b}:
            table = _table(rows_a.get(name, absent) + 1, rows_b.get(name, absent) + 1, 4)
            self.bands[name] = self.bands.get(name, 0) + table

    def _given(self, block: KeptBlock, of_a: Verdicts, chosen: Flags) -> None:
        same = np.array([text == self.a.version for text in block.policy_version.texts])
        mine = chosen & same[block.policy_version.codes]
        strengths = np.array([Verdict(text).strength for text in block.verdict.texts])
        then = strengths[block.verdict.codes]
        self.given += int(mine.sum())
        self.given_otherwise += int((mine & (then != of_a.verdict)).sum())

    def _examples(
        self, block: KeptBlock, day: date, of_a: Verdicts, of_b: Verdicts, chosen: Flags
    ) -> None:
        """Keep the block's largest changes, if they are among the largest of all."""
        change = np.where(chosen, of_b.verdict - of_a.verdict, 0)
        for heap, wanted in ((self.stricter, change > 0), (self.laxer, change < 0)):
            images = np.flatnonzero(wanted)
            distance = _distance(of_a.margin[images], of_b.margin[images])
            order = np.lexsort((distance, np.abs(change[images])))[::-1]
            for place in order[: self.keep_examples]:
                example = self._example(block, day, of_a, of_b, images[place], distance[place])
                heapq.heappush(heap, example)
                if len(heap) > self.keep_examples:
                    heapq.heappop(heap)

    def _example(
        self,
        block: KeptBlock,
        day: date,
        of_a: Verdicts,
        of_b: Verdicts,
        image: int,
        distance: float,
    ) -> Example:
        bands_a = dict(zip((c.id for c in self.a.categories), of_a.bands[:, image], strict=True))
        bands_b = dict(zip((c.id for c in self.b.categories), of_b.bands[:, image], strict=True))
        names = {**bands_a, **bands_b}
        return Example(
            steps=abs(int(of_b.verdict[image]) - int(of_a.verdict[image])),
            distance=float(distance),
            sha256=block.sha256[image].tobytes().hex(),
            tenant=block.tenant,
            surface=block.surface.of(image),
            day=day,
            verdict_a=VERDICTS[of_a.verdict[image]],
            verdict_b=VERDICTS[of_b.verdict[image]],
            margin_a=float(of_a.margin[image]),
            margin_b=float(of_b.margin[image]),
            categories=tuple(n for n in names if bands_a.get(n, -1) != bands_b.get(n, -1)),
        )


def _table(a: Strengths, b: Strengths, size: int) -> npt.NDArray[np.int64]:
    """How often each pair of numbers below ``size`` comes, [size, size]."""
    pairs = a.astype(np.int64) * size + b
    return np.bincount(pairs, minlength=size * size).reshape(size, size)


def _distance(a: Doubles, b: Doubles) -> Doubles:
    with np.errstate(invalid="ignore"):
        apart = np.abs(b - a)
    return np.asarray(np.where(np.isfinite(apart), apart, 0.0))


def _audited(rates: AuditRates | None, verdicts: Verdicts, chosen: Flags) -> float:
    """How many allowed images are expected to be drawn (``core.audit`` has the rule)."""
    if rates is None:
        return 0.0
    scored = (verdicts.bands >= 0).any(axis=0)
    below = -verdicts.margin[chosen & scored & (verdicts.verdict == 0)]
    expected = np.full(len(below), rates.rate)
    for near in reversed(rates.near):
        expected[below <= near.within] = near.rate
    return float(expected.sum())


def largest(heap: Sequence[Example]) -> list[Example]:
    """The kept examples, the largest change first."""
    return sorted(heap, reverse=True)
