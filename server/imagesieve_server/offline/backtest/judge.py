"""Verdicts of many images at once, exactly those that ``core`` gives one by one.

Cosines are one float32 product, within a bound of the true ones. Where a threshold lies within
that bound of an image's measure, the image is judged again in float64, and where even that leaves
a doubt, by ``score_image`` and ``decide`` themselves. A test holds the verdicts and bands equal to
the core's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.kept import KINDS, KeptBlock, split
from imagesieve_server.core.policy import Method, Mode, OnPartialCoverage, Policy, Pooling
from imagesieve_server.core.scoring import UNIT_TOLERANCE, Doubles, pool, score_image
from imagesieve_server.core.verdict import Band, decide
from imagesieve_server.core.views import View, ViewKind
from imagesieve_server.offline.backtest.halves import floats
from imagesieve_server.offline.backtest.plans import (
    SLACK,
    CategoryPlan,
    Columns,
    Limit,
    Places,
    plan,
)

Strengths = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]

BANDS = (Band.CLEAR, Band.REVIEW, Band.BLOCK)
NOT_ASKED = -1
_STILL, _FRAME = KINDS.index(ViewKind.STILL), KINDS.index(ViewKind.FRAME)


@dataclass(slots=True, kw_only=True)
class Verdicts:
    """What one policy says of I images."""

    verdict: Strengths  # [I] Verdict.strength
    bands: Strengths  # [categories, I] place in BANDS; NOT_ASKED where it was not asked for
    margin: Doubles  # [I] log-odds of the nearest enforced category above its threshold, or −∞
    close: Flags  # [I] rounding to float16 may have changed the verdict
    doubtful: Flags  # [I] within the bound of a threshold

    def put(self, images: Places, other: Verdicts) -> None:
        """Replace some images' verdicts by what was found more exactly."""
        self.verdict[images] = other.verdict
        self.bands[:, images] = other.bands
        self.doubtful[images] = other.doubtful


@dataclass(frozen=True, slots=True, kw_only=True)
class _Images:
    """The numbers of some images, view by view."""

    vectors: npt.NDArray[Any]  # [V, D], 0 where unsound
    unsound: Flags  # [V]
    edge: Flags  # [V] nearly of a length where soundness ends
    first: Places  # [I]
    kinds: npt.NDArray[np.int8]  # [V] as the thresholds see them
    asked: tuple[Flags, ...]  # per text of ``categories``: which categories of a policy
    words: npt.NDArray[np.int32]  # [I] the text's number
    partial: Flags  # [I]


class BlockJudge:
    """Judges blocks by several policies of one model; prompts they share are computed once."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        columns = Columns()
        self._policies = tuple(policies)
        self._plans = tuple(plan(policy, columns) for policy in policies)
        self._matrix = columns.matrix()
        dimensions = self._matrix.shape[1]
        # γ of a sum of D products (Higham, Accuracy and Stability, §3.1), with room to spare
        self._error = {t: 1.02 * (dimensions + 4) * float(np.finfo(t).eps) / 2
                       for t in (np.float32, np.float64)}  # fmt: skip

    def judge(self, block: KeptBlock) -> tuple[Verdicts, ...]:
        """What each policy says of each image of the block."""
        found = self._judge(block, np.arange(len(block)), np.float32)
        doubtful = np.flatnonzero(np.any([v.doubtful for v in found], axis=0))
        if len(doubtful):
            finer = self._judge(block, doubtful, np.float64)
            for one, other in zip(found, finer, strict=True):
                one.put(doubtful, other)
            for policy, plans, verdicts in zip(self._policies, self._plans, found, strict=True):
                for image in np.flatnonzero(verdicts.doubtful):
                    _by_the_core(policy, plans, block, int(image), verdicts)
        return found

    def _judge(self, block: KeptBlock, images: Places, kind: Any) -> tuple[Verdicts, ...]:
        rows, first = _rows(block, images)
        vectors = floats(block.embeddings if rows is None else block.embeddings[rows]).astype(
            kind, copy=False
        )
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        unsound = ~(np.abs(lengths - 1.0) <= UNIT_TOLERANCE)
        vectors[unsound] = 0.0
        cosines = self._matrix.astype(kind, copy=False) @ vectors.T
        kinds = block.kinds if rows is None else block.kinds[rows]
        frames = block.frames if rows is None else block.frames[rows]
        kinds = np.where((kinds == _FRAME) & (frames == 0), np.int8(_STILL), kinds)
        kinds[first] = _STILL
        edge = np.abs(np.abs(lengths - 1.0) - UNIT_TOLERANCE) <= 4.0 * self._error[kind]
        found = []
        for policy, plans in zip(self._policies, self._plans, strict=True):
            numbers = _Images(
                vectors=vectors,
                unsound=unsound,
                edge=edge,
                first=first,
                kinds=kinds,
                asked=tuple(_asked(plans, text) for text in block.categories.texts),
                words=block.categories.codes[images],
                partial=block.coverage[images] < 1.0,
            )
            found.append(_verdicts(policy, plans, numbers, cosines, self._error[kind]))
        return tuple(found)


def _rows(block: KeptBlock, images: Places) -> tuple[Places | None, Places]:
    """The views of some images (None: all of them), and each one's first among them."""
    if len(images) == len(block):
        return None, block.first
    counts = np.diff(block.first, append=len(block.kinds))[images]
    ends = np.cumsum(counts)
    first = ends - counts
    rows = np.arange(int(ends[-1])) - np.repeat(first, counts)
    return rows + np.repeat(block.first[images], counts), first


def _asked(plans: Sequence[CategoryPlan], text: str) -> Flags:
    wanted = set(split(text))
    return np.array([not wanted or plan.category.id in wanted for plan in plans], dtype=np.bool_)


def _verdicts(
    policy: Policy,
    plans: Sequence[CategoryPlan],
    images: _Images,
    cosines: npt.NDArray[Any],
    error: float,
) -> Verdicts:
    count = len(images.first)
    invalid = _any(images.unsound, images.first)
    least = np.where(invalid, np.int8(1), np.int8(0))
    if policy.on_partial_coverage is OnPartialCoverage.REVIEW:
        least[images.partial] = 1
    verdict, low, high = least.copy(), least.copy(), least.copy()
    doubtful = _any(images.edge, images.first)
    bands = np.full((len(plans), count), NOT_ASKED, dtype=np.int8)
    margin = np.full(count, -np.inf)
    asked = np.stack(images.asked)[images.words]  # [I, categories]
    for number, one in enumerate(plans):
        bound = one.cosine_weight * error + SLACK
        measured = _measure(policy, one, cosines)
        measured[images.unsound] = -np.inf
        mine = asked[:, number]
        band, down, up, doubt, above = _bands(policy, one, measured, images, bound)
        bands[number, mine] = band[mine]
        doubtful |= doubt & mine
        if one.category.mode is Mode.ENFORCE:
            for total, part in ((verdict, band), (low, down), (high, up)):
                np.maximum(total, np.where(mine, part, np.int8(0)), out=total)
            np.maximum(margin, np.where(mine, above, -np.inf), out=margin)
    return Verdicts(
        verdict=verdict, bands=bands, margin=margin, close=low != high, doubtful=doubtful
    )


def _bands(
    policy: Policy, one: CategoryPlan, measured: Doubles, images: _Images, bound: float
) -> tuple[Strengths, Strengths, Strengths, Flags, Doubles]:
    """Each image's band, the lowest and highest that rounding leaves possible, whether ``bound``
    leaves a doubt, and how far it is above the threshold."""
    count = len(images.first)
    band, down, up = (np.zeros(count, dtype=np.int8) for _ in range(3))
    doubt = np.zeros(count, dtype=np.bool_)
    above = np.full(count, -np.inf)
    scale = policy.logit_scale if one.category.method is Method.COSINE else 1.0
    for limits in one.limits:
        part = measured
        if limits.kind is not None:
            part = np.where(images.kinds == limits.kind, measured, -np.inf)
        top = _largest(part, images.first)
        there = top > -np.inf
        for strength, limit in ((np.int8(1), limits.review), (np.int8(2), limits.block)):
            for total, shift in ((band, 0.0), (down, -one.rounding), (up, one.rounding)):
                reached = there & (top + shift >= limit.at)
                np.maximum(total, np.where(reached, strength, np.int8(0)), out=total)
            with np.errstate(invalid="ignore"):  # ∞ − ∞ where nothing is there
                doubt |= ~(np.abs(top - limit.at) > bound + limit.slack) & there
        doubt |= np.isnan(top) | np.isposinf(top)
        with np.errstate(invalid="ignore"):
            distance = (top - _nearest(limits.review, limits.block)) * scale
        np.fmax(above, distance, out=above)
    return band, down, up, doubt, above


def _nearest(review: Limit, block: Limit) -> float:
    return block.at if np.isposinf(review.at) else review.at


def _measure(policy: Policy, one: CategoryPlan, cosines: npt.NDArray[Any]) -> Doubles:
    """Each view's log-odds, or its cosine for method cosine, [V]; as ``core.logits_of``."""
    category = one.category
    if category.method is Method.PROBE:
        bias = category.probe.bias if category.probe else 0.0
        return np.asarray(cosines[one.prompts[0]].astype(np.float64) + bias)
    m_p = _pooled(policy, one.prompts, cosines, category.pooling)
    if category.method is Method.COSINE:
        return m_p
    if category.method is Method.SIGMOID:
        return np.asarray(policy.logit_scale * m_p + policy.logit_bias)
    against = policy.logit_scale * _pooled(policy, one.neutral, cosines, category.pooling)
    if len(one.counter):
        m_c = _pooled(policy, one.counter, cosines, category.pooling)
        against = np.logaddexp(against, policy.logit_scale * m_c)
    return np.asarray(policy.logit_scale * m_p - against)


def _pooled(policy: Policy, places: Places, cosines: npt.NDArray[Any], pooling: Pooling) -> Doubles:
    if not len(places):
        return np.zeros(cosines.shape[1])
    if pooling is Pooling.MAX:
        top = cosines[places[0]].copy()
        for place in places[1:]:
            np.maximum(top, cosines[place], out=top)
        return np.asarray(top, dtype=np.float64)
    return pool(
        cosines[places].T.astype(np.float64), pooling=pooling, logit_scale=policy.logit_scale
    )


def _largest(measured: Doubles, first: Places) -> Doubles:
    if len(first) == len(measured):
        return measured
    return np.asarray(np.maximum.reduceat(measured, first))


def _any(flags: Flags, first: Places) -> Flags:
    if len(first) == len(flags):
        return flags.copy()
    return np.asarray(np.logical_or.reduceat(flags, first))


def _by_the_core(
    policy: Policy, plans: Sequence[CategoryPlan], block: KeptBlock, image: int, into: Verdicts
) -> None:
    """Judge one image as the server does."""
    rows = block.rows(image)
    views = tuple(
        View(kind=KINDS[block.kinds[row]], box=(0, 0, 1, 1), frame=int(block.frames[row]))
        for row in range(rows.start, rows.stop)
    )
    asked = _asked(plans, block.categories.of(image))
    scored = score_image(
        policy=policy,
        categories=[one.category for one, wanted in zip(plans, asked, strict=True) if wanted],
        embeddings=floats(block.embeddings[rows]),
        views=views,
    )
    judgement = decide(
        policy=policy,
        scores=scored.scores,
        scores_valid=scored.valid,
        coverage=float(block.coverage[image]),
    )
    into.verdict[image] = judgement.verdict.strength
    bands = {score.category: BANDS.index(score.band) for score in judgement.scores}
    for number, one in enumerate(plans):
        into.bands[number, image] = bands.get(one.category.id, 0) if asked[number] else NOT_ASKED
    into.doubtful[image] = False
