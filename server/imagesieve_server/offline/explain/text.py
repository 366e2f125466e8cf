"""An explanation as text for a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from imagesieve_server.core.explaining import CategoryExplanation, Explanation, GroupPull
from imagesieve_server.core.policy import Method
from imagesieve_server.core.verdict import Band
from imagesieve_server.offline.explain import wording
from imagesieve_server.offline.explain.looking import Report

_SHOWN_PROMPTS = 3
_MARK = {Band.CLEAR: " ", Band.REVIEW: ">", Band.BLOCK: "#"}


def lines(report: Report, *, only: Collection[str] = ()) -> Iterator[str]:
    """The explanation, with the details of the categories in ``only``.

    Where that is empty: of all that are not clear, and of the nearest where all are.
    """
    yield f"{wording.printable(report.file)}   sha256 {report.sha256[:12]}"
    yield (
        f"policy {report.policy.name} {report.policy.version[:12]}, "
        f"model {report.model.name} {report.model.fingerprint[:12]}"
    )
    yield ""
    first, *more = wording.reasons(report.judgement)
    yield f"{report.judgement.verdict.value:<8} {first}"
    yield from (f"{'':<8} {line}" for line in more)
    if report.image is None or report.explanation is None:
        yield f"{'':<8} the policy says on_undecodable: {report.policy.on_undecodable.value}"
        return
    yield _seen(report)
    yield ""
    yield from _table(report.explanation)
    for found in in_detail(report.explanation, only):
        yield ""
        yield from _details(report, found)


def in_detail(explanation: Explanation, only: Collection[str]) -> tuple[CategoryExplanation, ...]:
    """The categories whose details are told."""
    if only:
        return explanation.about(only)
    raised = tuple(c for c in explanation.categories if c.score.band is not Band.CLEAR)
    return raised or explanation.categories[:1]


def _seen(report: Report) -> str:
    image = report.image
    assert image is not None
    info = image.info
    frames = f", {info.frames} frames" if info.frames > 1 else ""
    return (
        f"{'seen':<8} {len(image.views)} view(s) of a {info.format} of {info.width} × "
        f"{info.height} px{frames}; coverage {image.coverage:.0%} of what the policy's "
        f"{report.policy.coverage.value} plans"
    )


def _table(explanation: Explanation) -> Iterator[str]:
    rows = [("", "category", "score", "log-odds", "review at", "distance", "band", "mode", "view")]
    for found in explanation.categories:
        score = found.score
        cosine = found.category.method is Method.COSINE
        distance = (
            "-" if score.threshold is None else wording.signed(score.margin, 3 if cosine else 2)
        )
        rows.append(
            (
                _MARK[score.band],
                score.category,
                f"{score.score:.3f}",
                "-" if cosine else wording.signed(score.log_odds),
                wording.limit(score.threshold),
                distance,
                score.band.value,
                score.mode.value,
                str(score.view + 1),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (
            cell.rjust(width) if 2 <= column <= 5 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _details(report: Report, found: CategoryExplanation) -> Iterator[str]:
    image = report.image
    assert image is not None
    category, score = found.category, found.score
    yield (
        f"{category.id} ({category.title}): method {category.method.value}, pooling "
        f"{category.pooling.value}, severity {category.severity}, mode {category.mode.value}"
    )
    size = (image.info.width, image.info.height)
    shown = wording.view(
        image.views[score.view], score.view, len(image.views), frames=image.info.frames, size=size
    )
    yield f"  decided by  {shown}"
    for name, group in _groups(found):
        for number, pull in enumerate(group.prompts[:_SHOWN_PROMPTS]):
            scaled = report.policy.logit_scale * pull.cosine
            yield (
                f"  {name if number == 0 else '':<10} {wording.plain(scaled):>8}   "
                f"cosine {wording.plain(pull.cosine, 4):>7}   {wording.printable(pull.text)}"
            )
    yield f"  {_formula(found)}"
    policy = report.policy
    yield f"    = {wording.arithmetic(found, scale=policy.logit_scale, bias=policy.logit_bias)}" + (
        "" if category.method is Method.COSINE else f", score {found.terms.score:.3f}"
    )
    yield f"  {_against_limit(found)}"
    if score.probability is not None:
        yield f"  probability by the policy's calibration: {score.probability:.3f}"
    if len(image.views) > 1:
        numbers = ("none" if value is None else wording.signed(value, 1) for value in found.by_view)
        yield f"  by view     {'  '.join(numbers)}"
    for change in found.what_if:
        yield f"  {wording.what_if(change, found)}"


def _groups(found: CategoryExplanation) -> Iterator[tuple[str, GroupPull]]:
    terms = found.terms
    named = (("prompts", terms.prompts), ("neutral", terms.neutral), ("counter", terms.counter))
    yield from ((name, group) for name, group in named if group is not None)


def _formula(found: CategoryExplanation) -> str:
    method = found.category.method
    if method is Method.CONTRAST:
        if found.terms.counter is None:
            return "log-odds = λ·m_P − λ·m_N"
        return "log-odds = λ·m_P − logaddexp(λ·m_N, λ·m_C)"
    return {
        Method.SIGMOID: "log-odds = λ·m_P + b",
        Method.COSINE: "score = m_P",
        Method.PROBE: "log-odds = w·v + β",
    }[method]


def _against_limit(found: CategoryExplanation) -> str:
    score = found.score
    if score.threshold is None:
        return "no review_at: it is counted and never flagged for review"
    if found.category.method is Method.COSINE:
        distance = wording.signed(score.margin, 4)
        return f"review_at {wording.limit(score.threshold)}: distance {distance}"
    odds = wording.signed(score.threshold.log_odds())
    return (
        f"review_at {wording.limit(score.threshold)} is {odds} in log-odds: distance "
        f"{wording.signed(score.margin)}"
    )
