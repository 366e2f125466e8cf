"""The right side of the picture: categories against their thresholds, and the prompts behind one.

Categories lie on an axis of log-odds whose marks are scores, so that 0.98 and 0.998 are as far
apart as they are for the model. A cosine has no log-odds: it is drawn at λ times its distance
from its threshold, which stands in the middle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from imagesieve_server.core.explaining import CategoryExplanation, Explanation, GroupPull
from imagesieve_server.core.policy import Method, Mode, Policy, Scale, Threshold
from imagesieve_server.core.verdict import Band
from imagesieve_server.offline.explain import wording
from imagesieve_server.offline.explain.canvas import Canvas
from imagesieve_server.offline.explain.palette import (
    BANDS,
    FAINT,
    GROUPS,
    INK,
    MUTED,
    RED,
    TRACK,
)

_MARKS: Final = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_REACH: Final = 7.6  # log-odds at either end of the axis; what is beyond stops there
_TITLE: Final = 196  # px for a category's title
_NUMBERS: Final = 130  # px for its score
_ROW: Final = 40
_PROMPTS: Final = 3  # shown of each group
_PROMPT_ROW: Final = 25
_MOST_CHANGES: Final = 5


def draw_categories(
    canvas: Canvas, explanation: Explanation, *, x: float, y: float, width: float
) -> float:
    """One bar for each category; returns where they end."""
    observed = all(found.score.mode is Mode.OBSERVE for found in explanation.categories)
    title = f"Categories against their thresholds{', all observed' if observed else ''}"
    canvas.text(x, y + 16, title, size=20, colour=INK, bold=True)
    left, right = x + _TITLE, x + width - _NUMBERS
    canvas.text(right + 16, y + 16, "score", size=13, colour=MUTED)
    canvas.text(right + 66, y + 16, "review at", size=13, colour=MUTED)
    y += 34
    lower = y + len(explanation.categories) * _ROW + 4
    for mark in _MARKS:
        at = _place(_log_odds(mark), left, right)
        canvas.line((at, y, at, lower), colour=FAINT)
        canvas.text(at, lower + 16, f"{mark:g}", size=12.5, colour=MUTED, anchor="ms")
    for found in explanation.categories:
        _category(
            canvas, explanation.policy, found, x=x, y=y, left=left, right=right, say=not observed
        )
        y += _ROW
    _legend(canvas, explanation, x=x, y=lower + 16)
    return lower + 34


def _legend(canvas: Canvas, explanation: Explanation, *, x: float, y: float) -> None:
    """What the upright marks are."""
    names = [("review_at", INK)]
    if any(found.score.block_threshold for found in explanation.categories):
        names.append(("block_at", RED))
    for name, colour in names:
        canvas.box((x, y - 12, x + 3, y + 1), fill=colour)
        x += 9 + canvas.text(x + 9, y, name, size=12.5, colour=MUTED) + 18


def _category(
    canvas: Canvas,
    policy: Policy,
    found: CategoryExplanation,
    *,
    x: float,
    y: float,
    left: float,
    right: float,
    say: bool,
) -> None:
    """``say``: whether a category that is only observed says so."""
    score = found.score
    observed = score.mode is Mode.OBSERVE
    flagged = score.band is not Band.CLEAR
    tail = ", observed" if observed and say else ""
    room = _TITLE - 16 - canvas.length(tail, size=15.5)
    title = canvas.fitted(found.category.title, size=15.5, width=room) + tail
    canvas.text(x, y + 25, title, size=15.5, colour=MUTED if observed else INK, bold=flagged)
    end = _place(_position(policy, found), left, right)
    canvas.box((left, y + 11, right, y + 28), fill=TRACK, radius=4)
    canvas.box((left, y + 11, max(end, left + 3), y + 28), fill=BANDS[score.band], radius=4)
    for threshold, colour in ((score.threshold, INK), (score.block_threshold, RED)):
        if threshold is not None:
            at = _place(_threshold_position(policy, found, threshold), left, right)
            canvas.box((at - 1.5, y + 5, at + 1.5, y + 34), fill=colour)
    canvas.text(right + 16, y + 25, f"{score.score:.3f}", size=16, colour=INK, bold=flagged)
    limit = canvas.fitted(_short(score.threshold), size=13.5, width=_NUMBERS - 66)
    canvas.text(right + 66, y + 25, limit, size=13.5, colour=MUTED)


def _short(threshold: Threshold | None) -> str:
    """A threshold in few letters."""
    if threshold is None:
        return "none"
    return f"{'logit ' if threshold.scale is Scale.LOGIT else ''}{threshold.value:g}"


def _position(policy: Policy, found: CategoryExplanation) -> float:
    """Where a category's score lies on the axis."""
    if found.category.method is not Method.COSINE:
        return found.score.log_odds
    if found.score.threshold is None:
        return policy.logit_scale * found.score.score
    return policy.logit_scale * (found.score.score - found.score.threshold.value)


def _threshold_position(policy: Policy, found: CategoryExplanation, threshold: Threshold) -> float:
    if found.category.method is not Method.COSINE:
        return threshold.log_odds()
    review = found.score.threshold
    return policy.logit_scale * (threshold.value - (review.value if review else 0.0))


def _place(log_odds: float, left: float, right: float) -> float:
    kept = min(max(log_odds, -_REACH), _REACH) if not math.isnan(log_odds) else _REACH
    return left + (kept + _REACH) / (2 * _REACH) * (right - left)


def _log_odds(score: float) -> float:
    return math.log(score / (1 - score))


def draw_reasons(
    canvas: Canvas,
    policy: Policy,
    found: CategoryExplanation,
    *,
    x: float,
    y: float,
    width: float,
) -> float:
    """The prompts behind one category's number, the sum, and what would change it."""
    score = found.score
    canvas.line((x, y - 22, x + width, y - 22), colour=FAINT)
    colour = BANDS[score.band]
    shown = canvas.text(x, y + 12, found.category.title, size=20, colour=INK, bold=True)
    canvas.text(x + shown + 14, y + 12, _distance(found), size=16, colour=colour, bold=True)
    y = _prompts(canvas, policy, found, x=x, y=y + 26, width=width)
    sum_ = wording.arithmetic(found, scale=policy.logit_scale, bias=policy.logit_bias)
    if found.category.method is not Method.COSINE:
        sum_ = f"log-odds {sum_}   (score {found.terms.score:.3f})"
    y = canvas.paragraph(x, y + 20, sum_, size=16, colour=INK, width=width)
    if found.what_if:
        y += 8
        canvas.text(x, y + 4, "What would change it", size=15.5, colour=INK, bold=True)
        y += 28
    for change in found.what_if[:_MOST_CHANGES]:
        canvas.dot(x + 5, y - 5, radius=2.5, colour=MUTED)
        told = wording.what_if(change, found)
        y = canvas.paragraph(x + 18, y, told, size=15, colour=INK, width=width - 18) + 2
    return y


def _distance(found: CategoryExplanation) -> str:
    score = found.score
    if score.threshold is None:
        return "no review_at"
    digits = 3 if found.category.method is Method.COSINE else 2
    above = "above" if score.margin >= 0 else "below"
    flagged = score.band is not Band.CLEAR
    ends = ", observed only" if flagged and score.mode is Mode.OBSERVE else ""
    unit = "" if found.category.method is Method.COSINE else " in log-odds"
    return f"{abs(score.margin):.{digits}f}{unit} {above} review_at{ends}"


def _groups(found: CategoryExplanation) -> Iterator[tuple[str, GroupPull]]:
    terms = found.terms
    named = (("prompts", terms.prompts), ("neutral", terms.neutral), ("counter", terms.counter))
    yield from ((name, group) for name, group in named if group is not None)


def _prompts(
    canvas: Canvas,
    policy: Policy,
    found: CategoryExplanation,
    *,
    x: float,
    y: float,
    width: float,
) -> float:
    """The nearest prompts of each group, as dots on λ times their cosine."""
    groups = [(name, group.prompts[:_PROMPTS]) for name, group in _groups(found)]
    values = [policy.logit_scale * p.cosine for _, prompts in groups for p in prompts]
    if not values:
        return y
    low, high = min(values), max(values)
    room = max(high - low, 1.0)
    left, right = x + width * 0.52, x + width - 60
    for name, prompts in groups:
        colour = GROUPS[name]
        y += 8
        canvas.text(x, y + 15, name, size=13.5, colour=colour, bold=True)
        for number, pull in enumerate(prompts):
            value = policy.logit_scale * pull.cosine
            at = left + (value - low + 0.08 * room) / (1.08 * room) * (right - left)
            middle = y + 10
            text = canvas.fitted(pull.text, size=15, width=width * 0.52 - 92)
            canvas.text(x + 78, y + 15, text, size=15, colour=INK if number == 0 else MUTED)
            canvas.line((left, middle, at, middle), colour=FAINT, width=2)
            canvas.dot(at, middle, radius=6 if number == 0 else 4, colour=colour)
            canvas.text(
                x + width,
                y + 15,
                f"{value:.2f}",
                size=15,
                colour=INK if number == 0 else MUTED,
                anchor="rs",
            )
            y += _PROMPT_ROW
    return y
