"""How ``imagesieve moderate`` shows one image's outcome: a table's row, or a line of JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TextIO

from imagesieve.command_output import Columns, json_line, plain, width_of
from imagesieve.errors import ImagesieveError
from imagesieve.results import (
    Moderated,
    ModerationResult,
    Threshold,
    ThresholdScale,
    View,
    ViewKind,
)

Show = Callable[[str, Moderated], None]

_WIDTHS = {
    "FILE": 0,
    "VERDICT": 9,
    "CATEGORY": 16,
    "SCORE": 5,
    "THRESHOLD": 9,
    "MARGIN": 7,
    "VIEW": 8,
    "MS": 5,
    "NOTE": 24,
}
_DISPENSABLE = ("VIEW", "MS", "MARGIN", "THRESHOLD")  # left out first where room is scarce
_NARROWEST_NAME = 24
_GAP = 2


def as_json(out: TextIO) -> Show:
    """One JSON object a line."""

    def show(name: str, outcome: Moderated) -> None:
        json_line(out, line_of(name, outcome))

    return show


def line_of(name: str, outcome: Moderated) -> dict[str, Any]:
    """The outcome as it stands in JSON Lines and in the file of answers."""
    if outcome.result is not None:
        return {"file": name, **plain(outcome.result)}
    reason, message = error_of(outcome)
    known = {} if outcome.upload.request_id is None else {"request_id": outcome.upload.request_id}
    return {"file": name, **known, "error": {"reason": reason, "message": message}}


def as_table(out: TextIO, names: Sequence[str], *, width: int | None) -> Show:
    """Aligned columns. With ``width`` (a terminal's) names are shortened in the middle and
    columns left out where they would not fit; without, everything is written in full."""
    widths = fitting(longest=max(map(width_of, names)), width=width)
    columns = Columns(out, widths, shorten=width is not None)

    def show(name: str, outcome: Moderated) -> None:
        cells = dict.fromkeys(_WIDTHS, "") | _cells(outcome) | {"FILE": name}
        columns.row(*(cells[heading] for heading in widths))

    return show


def fitting(*, longest: int, width: int | None) -> dict[str, int]:
    """The columns and their widths for names of up to ``longest`` characters."""
    widths = _WIDTHS | {"FILE": max(longest, len("FILE"))}
    if width is None:
        return widths
    for heading in _DISPENSABLE:
        if _room(widths, width) < min(longest, _NARROWEST_NAME):
            del widths[heading]
    widths["FILE"] = max(len("FILE"), min(widths["FILE"], _room(widths, width)))
    return widths


def _room(widths: dict[str, int], width: int) -> int:
    """What the other columns leave to the name."""
    others = (max(w, len(heading)) for heading, w in widths.items() if heading != "FILE")
    return width - sum(others) - _GAP * (len(widths) - 1)


def _cells(outcome: Moderated) -> dict[str, str]:
    result = outcome.result
    if result is None:
        reason, message = error_of(outcome)
        return {"VERDICT": "ERROR", "NOTE": f"{reason}: {message}"}
    cells = {
        "VERDICT": str(result.verdict),
        "MS": f"{result.elapsed_s * 1000:.0f}",
        "NOTE": _note(result),
    }
    worst = result.worst
    if worst is None:
        return cells
    view = result.views[worst.view] if worst.view < len(result.views) else None
    return cells | {
        "CATEGORY": worst.category,
        "SCORE": f"{worst.score:.3f}",
        "THRESHOLD": _threshold(worst.review_threshold or worst.block_threshold),
        "MARGIN": "" if worst.margin is None else f"{worst.margin:+.2f}",
        "VIEW": "" if view is None else name_view(worst.view, view),
    }


def _threshold(threshold: Threshold | None) -> str:
    if threshold is None:
        return ""
    logit = threshold.scale is ThresholdScale.LOGIT
    return f"logit {threshold.value:g}" if logit else f"{threshold.value:.3f}"


def name_view(index: int, view: View) -> str:
    """For example ``tile 2`` or ``frame 17``."""
    if view.kind is ViewKind.STILL:
        return "still"
    return f"{view.kind.lower()} {view.frame if view.kind is ViewKind.FRAME else index}"


def _note(result: ModerationResult) -> str:
    """Why nobody decided, or the reasons that are no category's."""
    if result.undecided_reason:
        return f"{result.undecided_reason}: {result.undecided_message}".removesuffix(": ")
    others = (reason for reason in result.reasons if not reason.category)
    return " ".join(r.code + (f"({r.detail})" if r.detail else "") for r in others)


def error_of(outcome: Moderated) -> tuple[str, str]:
    """Reason and message of an outcome without a result."""
    error = outcome.error
    if isinstance(error, ImagesieveError):
        return error.reason, error.message
    assert error is not None  # an outcome without a result has an error
    return "FILE_UNREADABLE", error.strerror or type(error).__name__
