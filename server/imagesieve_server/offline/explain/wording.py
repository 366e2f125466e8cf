"""The words that text and picture share: thresholds, distances, views, changes."""

from __future__ import annotations

from imagesieve_server.core.errors import UndecodableDetail
from imagesieve_server.core.explaining import CategoryExplanation
from imagesieve_server.core.policy import Method, Scale, Threshold
from imagesieve_server.core.verdict import Band, Judgement, Reason, ReasonCode
from imagesieve_server.core.views import Background, View, ViewKind
from imagesieve_server.core.what_if import Change, WhatIf

_REASONS = {
    ReasonCode.CATEGORY_REVIEW: "reached review_at",
    ReasonCode.CATEGORY_BLOCK: "reached block_at",
    ReasonCode.UNDECODABLE: "no picture could be made of the file",
    ReasonCode.VIEWS_TRUNCATED: "a part of the picture was not looked at",
    ReasonCode.SCORE_INVALID: "the model gave a number that is not sound",
}


_DETAILS = {
    UndecodableDetail.TRUNCATED: "the data end before the picture does",
    UndecodableDetail.OVER_CAPS: "the header announces more than is allowed",
    UndecodableDetail.DECODE_ERROR: "the decoder refused it",
    UndecodableDetail.WORKER_KILLED: "the worker that decoded it died",
    UndecodableDetail.TIMED_OUT: "decoding took too long",
    UndecodableDetail.QUARANTINED: "it killed workers before",
}


def undecodable(detail: str) -> str:
    """Why no picture could be made, in words; "" for a detail that has none."""
    return _DETAILS.get(UndecodableDetail(detail), "") if detail in set(UndecodableDetail) else ""


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, the minus as a minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def plain(value: float, digits: int = 2) -> str:
    """A number, its minus as a minus."""
    return f"{value:.{digits}f}".replace("-", "−")


def printable(text: str) -> str:
    """Text from outside without what moves a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def limit(threshold: Threshold | None) -> str:
    """A threshold as the policy writes it."""
    if threshold is None:
        return "-"
    if threshold.scale is Scale.LOGIT:
        return f"{{logit: {threshold.value:g}}}"
    return f"{threshold.value:g}"


def reason(found: Reason) -> str:
    """A reason in words, its stable code behind it."""
    words = _REASONS.get(found.code, found.code.value.lower().replace("_", " "))
    subject = f"{found.category} " if found.category else ""
    detail = f", {found.detail}" if found.detail else ""
    more = undecodable(found.detail) if found.code is ReasonCode.UNDECODABLE else ""
    return f"{subject}{words}{': ' if more else ''}{more} ({found.code.value}{detail})"


def reasons(judgement: Judgement) -> list[str]:
    """Every reason; that there is none, where nothing was found."""
    found = [reason(one) for one in judgement.reasons]
    return found or ["no category that is enforced reached its threshold"]


def view(shown: View, number: int, count: int, *, frames: int, size: tuple[int, int]) -> str:
    """Which part of which frame a view is; numbers of frames begin at 1."""
    left, upper, right, lower = shown.box
    kind = {ViewKind.STILL: "still", ViewKind.TILE: "tile", ViewKind.FRAME: "frame"}[shown.kind]
    parts = [f"view {number + 1} of {count}", kind]
    if frames > 1:
        parts.append(f"frame {shown.frame + 1} of {frames}")
    if shown.box == (0, 0, *size):
        parts.append("the whole picture")
    else:
        parts.append(f"x {left} to {right}, y {upper} to {lower} of {size[0]} × {size[1]} px")
    if shown.background is not Background.NONE:
        parts.append(f"on {shown.background.value}")
    return ", ".join(parts)


def arithmetic(found: CategoryExplanation, *, scale: float, bias: float) -> str:
    """The sum behind a category's log-odds at the view that decided."""
    terms = found.terms
    method = found.category.method
    if terms.projection is not None and found.category.probe is not None:
        head = found.category.probe.bias
        return f"{signed(terms.projection)} {_plus(head)} = {signed(terms.log_odds)}"
    assert terms.prompts is not None
    ours = terms.prompts.pooled
    if method is Method.COSINE:
        return f"the highest cosine: {plain(ours, 4)}"
    if method is Method.SIGMOID:
        return f"{scale:.4g} × {plain(ours, 4)} {_plus(bias)} = {signed(terms.log_odds)}"
    assert terms.neutral is not None
    theirs = plain(scale * terms.neutral.pooled)
    if terms.counter is not None:
        theirs = f"logaddexp({theirs}, {plain(scale * terms.counter.pooled)})"
    return f"{plain(scale * ours)} − {theirs} = {signed(terms.log_odds)}"


def _plus(value: float) -> str:
    return f"{'−' if value < 0 else '+'} {abs(value):.2f}"


def band(found: Band) -> str:
    """Where a category lies, in words."""
    return {
        Band.CLEAR: "clear",
        Band.REVIEW: "in the review band",
        Band.BLOCK: "in the block band",
    }[found]


def change(found: WhatIf) -> str:
    """A change in words."""
    fixed = {
        Change.WITHOUT_ALL_COUNTERS: "without any counter-prompt",
        Change.NO_BLOCK_AT: "without block_at",
        Change.ENFORCE: "in mode enforce",
    }
    kinds = {
        Change.WITHOUT_PROMPT: "prompt",
        Change.WITHOUT_NEUTRAL: "neutral prompt",
        Change.WITHOUT_COUNTER: "counter-prompt",
    }
    if found.change in kinds:
        return f"without the {kinds[found.change]} “{printable(found.prompt)}”"
    if found.change is Change.REVIEW_AT:
        return f"at review_at {limit(found.threshold)}"
    return fixed[found.change]


def what_if(found: WhatIf, now: CategoryExplanation) -> str:
    """A change and what would come of it."""
    then = f"{band(found.score.band)}, verdict {found.verdict.value}"
    if found.change in (Change.REVIEW_AT, Change.NO_BLOCK_AT, Change.ENFORCE):
        return f"{change(found)}: {then}"
    if now.category.method is Method.COSINE:
        new, old = plain(found.score.score, 4), plain(now.score.score, 4)
    else:
        new, old = signed(found.score.log_odds), signed(now.score.log_odds)
    still = "still " if found.score.band is now.score.band else ""
    return f"{change(found)}: {new} instead of {old}, {still}{then}"
