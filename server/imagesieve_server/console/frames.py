"""The views and frames of a picture that a person can step through, in words.

Knows where each one is and what was found in it; whether that may be told is ``shown.py``'s. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from imagesieve_server.core.answer import Answer
from imagesieve_server.core.verdict import Band
from imagesieve_server.core.views import Background, View, ViewKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One view that a reviewer can step to."""

    label: str
    frame: int
    background: str
    box: tuple[int, int, int, int] | None  # left, upper, width, height in px of the original
    worst: bool
    found: tuple[str, ...] = ()  # titles of what is over its threshold and scored highest here


def judged_frames(stored: Answer | None, titles: Mapping[str, str]) -> tuple[Frame, ...]:
    """The views that were judged, in their own order; none where they are not known."""
    if stored is None or not stored.views:
        return ()
    worst = stored.judgement.worst
    at = worst.view if worst and worst.view < len(stored.views) else 0
    found: dict[int, list[str]] = defaultdict(list)
    for score in stored.judgement.scores:
        if score.band is not Band.CLEAR:
            found[score.view].append(titles.get(score.category, score.category))
    info = stored.decode_info
    frames = info.frames if info else 1
    whole = (info.width, info.height) if info else None
    return tuple(
        _frame(view, number, frames, whole, worst=number == at, found=tuple(found[number]))
        for number, view in enumerate(stored.views)
    )


def plain_frames(frames: int, *, has_alpha: bool) -> tuple[Frame, ...]:
    """Every frame of a file whose views must not be told, or are not known."""
    backgrounds = (Background.WHITE, Background.BLACK) if has_alpha else (Background.WHITE,)
    return tuple(
        Frame(
            label=_place(number, frames, background if has_alpha else Background.NONE),
            frame=number,
            background=background.value,
            box=None,
            worst=False,
        )
        for number in range(min(frames, 200))
        for background in backgrounds
    )


def _frame(
    view: View,
    number: int,
    frames: int,
    whole: tuple[int, int] | None,
    *,
    worst: bool,
    found: tuple[str, ...],
) -> Frame:
    left, upper, right, lower = view.box
    everything = whole is not None and (right - left, lower - upper) == whole
    label = _place(view.frame, frames, view.background)
    if view.kind is ViewKind.TILE:
        label = f"part {number + 1}" if frames == 1 else f"{label}, part"
    return Frame(
        label=label,
        frame=view.frame,
        background=(view.background if view.background is not Background.NONE
                    else Background.WHITE).value,
        box=None if everything else (left, upper, right - left, lower - upper),
        worst=worst,
        found=found,
    )  # fmt: skip


def _place(number: int, frames: int, background: Background) -> str:
    place = f"frame {number + 1} of {frames}" if frames > 1 else "picture"
    return place if background is Background.NONE else f"{place} on {background.value}"
