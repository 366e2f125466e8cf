"""An explanation as one picture: the image with the view that decided, every category against
its threshold, the prompts behind the leading ones, and what would have changed them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from imagesieve_server.core.explaining import CategoryExplanation
from imagesieve_server.offline.explain import wording
from imagesieve_server.offline.explain.bars import draw_categories, draw_reasons
from imagesieve_server.offline.explain.canvas import Canvas, Fonts
from imagesieve_server.offline.explain.looking import Report
from imagesieve_server.offline.explain.palette import FAINT, INK, MUTED, PAPER, VERDICTS, WHITE
from imagesieve_server.offline.explain.shown import draw_image, draw_whole, is_strip
from imagesieve_server.offline.explain.text import in_detail

WIDTH: Final = 1400
_MAX_HEIGHT: Final = 3600
_MARGIN: Final = 36
_LEFT: Final = 540  # width of the left column
_RIGHT: Final = _MARGIN + _LEFT + 44
_RIGHT_WIDTH: Final = WIDTH - _RIGHT - _MARGIN
_MOST_DETAILS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How the picture is drawn."""

    blur: bool = False  # the image, in every place where it is shown
    font: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The picture, and the letters that no font here has."""

    image: Image.Image  # RGB
    missing: frozenset[str]


def draw(report: Report, *, style: Style, only: Collection[str] = ()) -> Drawn:
    """Draw a report; ``only`` are the categories to show in detail (the leading ones where empty).

    Raises ConfigError where ``style.font`` is no font.
    """
    fonts = Fonts(extra=style.font)
    canvas = Canvas(width=WIDTH, max_height=_MAX_HEIGHT, background=PAPER, fonts=fonts)
    y = _header(canvas, report)
    details = in_detail(report.explanation, only) if report.explanation else ()
    details = details[:_MOST_DETAILS]
    about = details[0] if details else None
    if is_strip(report):
        y = draw_whole(
            canvas, report, about, x=_MARGIN, y=y, width=WIDTH - 2 * _MARGIN, blur=style.blur
        )
    left = draw_image(canvas, report, about, x=_MARGIN, y=y, width=_LEFT, blur=style.blur)
    right = _right(canvas, y, report, details)
    lower = _footer(canvas, max(left, right) + 20)
    return Drawn(image=canvas.finished(lower), missing=frozenset(fonts.missing))


def _header(canvas: Canvas, report: Report) -> float:
    verdict = report.judgement.verdict
    width = canvas.length(verdict.value, size=27) + 44
    canvas.box(
        (_MARGIN, 34, _MARGIN + width, 84), fill=VERDICTS[verdict], radius=25
    )  # fmt: skip
    canvas.text(
        _MARGIN + width / 2, 60, verdict.value, size=27, colour=WHITE, bold=True, anchor="mm"
    )
    x = _MARGIN + width + 20
    name = canvas.fitted(report.file, size=28, width=WIDTH - x - _MARGIN)
    canvas.text(x, 70, name, size=28, colour=INK, bold=True)
    y = 116.0
    for line in wording.reasons(report.judgement):
        y = canvas.paragraph(_MARGIN, y, line, size=18, colour=INK, width=WIDTH - 2 * _MARGIN)
    y = canvas.paragraph(
        _MARGIN, y + 2, _facts(report), size=14.5, colour=MUTED, width=WIDTH - 2 * _MARGIN
    )
    canvas.line((_MARGIN, y - 4, WIDTH - _MARGIN, y - 4), colour=FAINT)
    return y + 20


def _facts(report: Report) -> str:
    facts = []
    if report.image is not None:
        info = report.image.info
        frames = f", {info.frames} frames" if info.frames > 1 else ""
        views = len(report.image.views)
        facts = [
            f"{info.format} {info.width} × {info.height} px{frames}",
            f"{views} view{'s' if views > 1 else ''}, coverage {report.image.coverage:.0%}",
        ]
    facts += [
        f"policy {report.policy.name} {report.policy.version[:12]}",
        f"model {report.model.name} {report.model.fingerprint[:12]}",
        f"sha256 {report.sha256[:12]}",
    ]
    return "   ·   ".join(facts)


def _right(
    canvas: Canvas, y: float, report: Report, details: Sequence[CategoryExplanation]
) -> float:
    if report.explanation is None:
        lines = (
            "No category was scored, because there is no picture to score.",
            f"The policy says on_undecodable: {report.policy.on_undecodable.value}.",
        )
        for line in lines:
            y = canvas.paragraph(_RIGHT, y + 20, line, size=18, colour=INK, width=_RIGHT_WIDTH)
        return y
    y = draw_categories(canvas, report.explanation, x=_RIGHT, y=y, width=_RIGHT_WIDTH)
    for found in details:
        y = draw_reasons(canvas, report.policy, found, x=_RIGHT, y=y + 30, width=_RIGHT_WIDTH)
    return y


def _footer(canvas: Canvas, y: float) -> float:
    canvas.line((_MARGIN, y, WIDTH - _MARGIN, y), colour=FAINT)
    words = (
        "Drawn on the log-odds of each score. A score is a reason to look, not a proof. What would "
        "change it is the image judged again with that one change."
    )
    return canvas.paragraph(
        _MARGIN, y + 26, words, size=13.5, colour=MUTED, width=WIDTH - 2 * _MARGIN
    )
