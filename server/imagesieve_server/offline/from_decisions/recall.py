"""Recall: caught ÷ (caught + missed), in uploads, over what was uploaded in the window.

What was caught is known but for flags that wait for a decision; those are taken to be like the
decided flags of the same category (missing at random). The interval of the ratio is put together
from both intervals (MOVER: Donner and Zou, Statistical Methods in Medical Research 21, 2012).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.scoring import Doubles
from imagesieve_server.offline.from_decisions import missed
from imagesieve_server.offline.from_decisions.missed import Band
from imagesieve_server.offline.measures.figures import Figure

WIDTH = 0.10
"""The interval that more samples shall reach: ± 5 %."""
_Z = 1.959963984540054
_MOST_TIMES = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """Flagged uploads of one category."""

    uploads: Doubles  # of each decided picture [n]
    violating: npt.NDArray[np.bool_]  # [n]
    waiting: float = 0.0  # uploads of pictures without a decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """What is estimated of one category, or of all together."""

    recall: Figure | None  # None where nothing violating was caught, decided or audited
    caught: Figure  # violating uploads that were flagged; NaN between its bounds: not known
    missed: Figure  # violating uploads that were allowed
    share: Figure | None  # violating ÷ all uploads; None where uploads were not counted
    found: int  # samples behind ``missed``
    effective: float  # samples of equal weight that would say as much (Kish 1965)
    needed: int | None  # further samples for a recall of ± 5 %; None where no number will do


def estimate(*, flags: Sequence[Flags], bands: Sequence[Band]) -> Recall:
    """Put caught and missed together."""
    allowed = missed.estimate(bands)
    caught = _caught(flags)
    lost = allowed.figure()
    uploads = sum(float(f.uploads.sum()) + f.waiting for f in flags)
    uploads += sum(band.allowed for band in bands)
    counted = bool(bands) and all(band.allowed for band in bands) and not math.isnan(caught.value)
    weights = np.array([1.0 / band.reached for band in bands for _ in band.uploads])
    return Recall(
        recall=_recall(caught, lost) if bands else None,
        caught=caught,
        missed=lost,
        share=_share(caught, lost, uploads) if counted else None,
        found=allowed.found,
        effective=float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) else 0.0,
        needed=_needed(caught, lambda times: allowed.figure(times=times), len(weights)),
    )


def _caught(flags: Sequence[Flags]) -> Figure:
    known = expected = variance = 0.0
    waiting = sum(f.waiting for f in flags)
    everything = _pooled(flags)
    if waiting and not len(everything.uploads):
        return Figure(value=math.nan, low=0.0, high=waiting)  # nobody has said anything yet
    for f in flags:
        known += float(f.uploads[f.violating].sum())
        like = f if len(f.uploads) else everything
        if not f.waiting:
            continue
        n = len(like.uploads)
        expected += f.waiting * float(like.uploads[like.violating].sum() / like.uploads.sum())
        near = (int(like.violating.sum()) + 2.0) / (n + 4.0)  # never quite none or all
        variance += (f.waiting**2 / n + f.waiting) * near * (1.0 - near)
    spread = _Z * math.sqrt(variance)
    value = known + expected
    return Figure(
        value=value, low=max(known, value - spread), high=min(known + waiting, value + spread)
    )


def _pooled(flags: Sequence[Flags]) -> Flags:
    if not flags:
        return Flags(uploads=np.zeros(0), violating=np.zeros(0, dtype=bool))
    return Flags(
        uploads=np.concatenate([f.uploads for f in flags]),
        violating=np.concatenate([f.violating for f in flags]),
    )


def _recall(caught: Figure, lost: Figure) -> Figure | None:
    if not caught.value > 0.0:
        return None
    low, high = _ratio(lost, caught)
    value = caught.value / (caught.value + lost.value)
    return Figure(value=value, low=1.0 / (1.0 + high), high=1.0 / (1.0 + low))


def _ratio(top: Figure, bottom: Figure) -> tuple[float, float]:
    """The interval of top ÷ bottom."""
    product = top.value * bottom.value

    def end(of_top: float, of_bottom: float, sign: float) -> float:
        divisor = of_bottom * (2.0 * bottom.value - of_bottom)
        if divisor <= 0.0 or math.isinf(of_top):
            return math.inf if sign > 0 else 0.0
        inside = product**2 - of_top * (2.0 * top.value - of_top) * divisor
        return (product + sign * math.sqrt(max(0.0, inside))) / divisor

    return max(0.0, end(top.low, bottom.high, -1.0)), end(top.high, bottom.low, 1.0)


def _share(caught: Figure, lost: Figure, uploads: float) -> Figure:
    value = caught.value + lost.value
    low = value - math.hypot(caught.value - caught.low, lost.value - lost.low)
    high = value + math.hypot(caught.high - caught.value, lost.high - lost.value)
    return Figure(value=value / uploads, low=low / uploads, high=min(1.0, high / uploads))


def _needed(caught: Figure, lost: Callable[[float], Figure], samples: int) -> int | None:
    """Further samples, drawn as those before, until the recall's interval is ``WIDTH`` wide."""

    def wide(times: float) -> bool:
        found = _recall(caught, lost(times))
        return found is None or found.high - found.low > WIDTH

    if not wide(1.0):
        return 0
    if not samples or wide(_MOST_TIMES):
        return None
    low, high = 1.0, _MOST_TIMES
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if wide(middle) else (low, middle)
    return math.ceil((high - 1.0) * samples)
