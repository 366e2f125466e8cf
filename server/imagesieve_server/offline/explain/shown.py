"""The left side of the picture: the image, the view that decided as the model saw it, all views."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image, ImageFilter

from imagesieve_server.core.explaining import CategoryExplanation
from imagesieve_server.core.views import Pixels
from imagesieve_server.offline.explain import wording
from imagesieve_server.offline.explain.canvas import Canvas
from imagesieve_server.offline.explain.looking import Report
from imagesieve_server.offline.explain.palette import (
    BANDS,
    FAINT,
    INK,
    MUTED,
    SLATE,
    TRACK,
    WHITE,
)

_STRIP_ASPECT: Final = 3.0  # wider pictures go across the whole page
_MAX_IMAGE_HEIGHT: Final = 560
_VIEW: Final = 190  # side of the view that decided
_SMALL: Final = 58  # side of the others
_MOST_SMALL: Final = 32
_BLURRED_TO: Final = 14  # px of the longer side; what is finer is gone for good


def is_strip(report: Report) -> bool:
    """Whether the whole picture is so wide that it goes across the page."""
    whole = report.whole
    return whole is not None and whole.shape[1] > _STRIP_ASPECT * whole.shape[0]


def draw_image(
    canvas: Canvas,
    report: Report,
    about: CategoryExplanation | None,
    *,
    x: float,
    y: float,
    width: float,
    blur: bool,
) -> float:
    """Everything that is seen of the image; returns where it ends."""
    if report.image is None:
        return _no_picture(canvas, report, x=x, y=y, width=width)
    if not is_strip(report):
        y = draw_whole(canvas, report, about, x=x, y=y, width=width, blur=blur)
    if about is None:
        return y
    y = _deciding_view(canvas, report, about, x=x, y=y, width=width, blur=blur)
    if len(report.image.views) > 1:
        y = _all_views(canvas, report, about, x=x, y=y, width=width, blur=blur)
    return y


def draw_whole(
    canvas: Canvas,
    report: Report,
    about: CategoryExplanation | None,
    *,
    x: float,
    y: float,
    width: float,
    blur: bool,
) -> float:
    """The whole frame, and the box of the view that decided around what that view shows."""
    if report.whole is None or report.image is None:
        return y
    height, side = report.whole.shape[:2]
    scale: float = min(width / side, _MAX_IMAGE_HEIGHT / height)
    drawn = (max(2.0, side * scale), max(2.0, height * scale))
    at = (x, y, x + drawn[0], y + drawn[1])
    canvas.paste(_picture(report.whole, blur=blur), at)
    view = report.image.views[about.score.view] if about else None
    info = report.image.info
    if about and view and view.box != (0, 0, info.width, info.height):
        x_scale, y_scale = drawn[0] / info.width, drawn[1] / info.height
        left, upper, right, lower = view.box
        box = (x + left * x_scale, y + upper * y_scale, x + right * x_scale, y + lower * y_scale)
        _mark(canvas, box, BANDS[about.score.band])
    else:
        canvas.box(at, outline=FAINT)
    if about and view and info.frames > 1:
        _tag(canvas, at[0] + 10, at[1] + 10, f"frame {view.frame + 1} of {info.frames}")
    return float(y + drawn[1] + 24)


def _deciding_view(
    canvas: Canvas,
    report: Report,
    about: CategoryExplanation,
    *,
    x: float,
    y: float,
    width: float,
    blur: bool,
) -> float:
    image = report.image
    assert image is not None
    number = about.score.view
    at = (x, y, x + _VIEW, y + _VIEW)
    canvas.paste(_picture(image.pixels[number], blur=blur), at)
    canvas.box(at, outline=BANDS[about.score.band], width=3)
    beside = x + _VIEW + 20
    canvas.text(beside, y + 18, "What the model saw", size=18, colour=INK, bold=True)
    words = wording.view(
        image.views[number],
        number,
        len(image.views),
        frames=image.info.frames,
        size=(image.info.width, image.info.height),
    )
    side = len(image.pixels[number])
    told = f"The view that decided {about.category.title}: {words}; {side} × {side} px."
    lower = canvas.paragraph(
        beside, y + 46, told, size=15.5, colour=MUTED, width=width - _VIEW - 20
    )
    return max(at[3], lower) + 28


def _all_views(
    canvas: Canvas,
    report: Report,
    about: CategoryExplanation,
    *,
    x: float,
    y: float,
    width: float,
    blur: bool,
) -> float:
    """Every view, small, with the log-odds of the category beneath."""
    image = report.image
    assert image is not None
    title = f"All views, with the log-odds of {about.category.title}"
    canvas.text(x, y, canvas.fitted(title, size=16, width=width), size=16, colour=INK, bold=True)
    y += 14
    step = _SMALL + 9
    columns = int((width + 9) // step)
    shown = min(len(image.views), _MOST_SMALL)
    for number in range(shown):
        left, upper = x + (number % columns) * step, y + (number // columns) * (step + 20)
        at = (left, upper, left + _SMALL, upper + _SMALL)
        canvas.paste(_picture(image.pixels[number], blur=blur), at)
        decided = number == about.score.view
        canvas.box(
            at, outline=BANDS[about.score.band] if decided else FAINT, width=3 if decided else 1
        )
        value = about.by_view[number]
        canvas.text(
            left + _SMALL / 2,
            upper + _SMALL + 16,
            "unsound" if value is None else wording.signed(value, 1),
            size=13,
            colour=INK if decided else SLATE,
            bold=decided,
            anchor="ms",
        )
    rows = -(-shown // columns)
    y += rows * (step + 20) + 8
    if shown < len(image.views):
        canvas.text(x, y, f"and {len(image.views) - shown} more", size=14, colour=MUTED)
        y += 20
    return y


def _no_picture(canvas: Canvas, report: Report, *, x: float, y: float, width: float) -> float:
    at = (x, y, x + width, y + 300)
    canvas.box(at, fill=TRACK, radius=10)
    detail = ", ".join(reason.detail for reason in report.judgement.reasons if reason.detail)
    middle = x + width / 2
    canvas.text(middle, y + 140, "No picture", size=26, colour=MUTED, anchor="ms")
    canvas.text(middle, y + 172, detail, size=16, colour=MUTED, anchor="ms")
    return at[3] + 24


def _mark(canvas: Canvas, box: tuple[float, float, float, float], colour: str) -> None:
    """A frame that is seen on any picture: colour between two white lines."""
    left, upper, right, lower = box
    canvas.box((left - 2, upper - 2, right + 2, lower + 2), outline=WHITE, width=7)
    canvas.box(box, outline=colour, width=3.5)


def _tag(canvas: Canvas, x: float, y: float, words: str) -> None:
    width = canvas.length(words, size=15) + 20
    canvas.box((x, y, x + width, y + 28), fill=INK, radius=6)
    canvas.text(x + width / 2, y + 14.5, words, size=15, colour=WHITE, anchor="mm")


def _picture(pixels: Pixels, *, blur: bool) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if not blur:
        return image
    scale = _BLURRED_TO / max(image.size)
    few = image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))),
        Image.Resampling.BOX,
    )
    grown = few.resize((few.width * 24, few.height * 24), Image.Resampling.BICUBIC)
    return grown.filter(ImageFilter.GaussianBlur(10))
