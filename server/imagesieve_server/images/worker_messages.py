"""What the server and a decode worker say to each other: one line of JSON per message.

Knows both directions. It refuses to trust a worker: what comes back is checked field by field,
because hostile bytes run through native codecs over there. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from imagesieve_server.core.errors import UndecodableDetail
from imagesieve_server.core.near_duplicates import PictureHash
from imagesieve_server.core.views import (
    Background,
    Coverage,
    DecodeInfo,
    Preprocessing,
    PreviewPlan,
    View,
    ViewKind,
    ViewPlan,
)
from imagesieve_server.images.limits import Limits

_BITS = re.compile(r"[0-9a-f]{64}")

LINE_MAX = 64 * 1024  # bytes; 32 views need about 4 KiB


class BadMessage(Exception):
    """The other side sent something that this protocol does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Sent once, before the first image."""

    preprocessing: Preprocessing
    limits: Limits
    frame_key: str  # hex; the secret of the frame choice
    preview_side: int = 0  # px; the largest preview that fits into the output slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One image is in the input slot."""

    generation: int  # counts the images of this worker; the answer repeats it
    size: int  # bytes in the slot
    plan: ViewPlan | PreviewPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Pixels are in the output slot: uint8 [V, S, S, 3], V as many as views."""

    generation: int
    views: tuple[View, ...]
    info: DecodeInfo
    coverage: float
    crop_fraction: float
    truncated: tuple[str, ...]
    picture_hash: PictureHash | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A preview's pixels are in the output slot: uint8 [height, width, 3]."""

    generation: int
    width: int  # px of the preview
    height: int
    frame: int
    info: DecodeInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """No picture could be made of the bytes."""

    generation: int
    detail: UndecodableDetail


READY = b'{"ready": true}\n'


def dump(message: Setup | Request | Done | Shown | Failed) -> bytes:
    """The message as one line."""
    return json.dumps(asdict(message)).encode() + b"\n"


def load_setup(line: bytes) -> Setup:
    """The server's word is taken as it is."""
    raw = json.loads(line)
    preprocessing = dict(raw["preprocessing"])
    for name in ("mean", "std"):
        preprocessing[name] = tuple(preprocessing[name])
    return Setup(
        preprocessing=Preprocessing(**preprocessing),
        limits=Limits(**raw["limits"]),
        frame_key=raw["frame_key"],
        preview_side=raw["preview_side"],
    )


def load_request(line: bytes) -> Request:
    """The server's word is taken as it is."""
    raw = json.loads(line)
    return Request(generation=raw["generation"], size=raw["size"], plan=_plan(raw["plan"]))


def _plan(raw: Any) -> ViewPlan | PreviewPlan:
    if "side" in raw:
        background = Background(raw["background"])
        return PreviewPlan(frame=raw["frame"], background=background, side=raw["side"])
    return ViewPlan(coverage=Coverage(raw["coverage"]), max_views=raw["max_views"])


def load_answer(line: bytes, *, generation: int, max_views: int) -> Done | Failed:
    """A worker's answer about views, every field checked. Raises BadMessage."""
    with _checked():
        raw = _of_generation(line, generation)
        if "detail" in raw:
            return Failed(generation=generation, detail=UndecodableDetail(raw["detail"]))
        views = tuple(_view(view) for view in raw["views"])
        if not 1 <= len(views) <= max_views:
            raise BadMessage(f"{len(views)} views")
        return Done(
            generation=generation,
            views=views,
            info=_info(raw["info"]),
            coverage=_fraction(raw["coverage"]),
            crop_fraction=_fraction(raw["crop_fraction"]),
            truncated=tuple(word for word in ("tiles", "frames") if word in raw["truncated"]),
            picture_hash=_hash(raw["picture_hash"]),
        )


def load_shown(line: bytes, *, generation: int, side: int) -> Shown | Failed:
    """A worker's answer about a preview, every field checked. Raises BadMessage."""
    with _checked():
        raw = _of_generation(line, generation)
        if "detail" in raw:
            return Failed(generation=generation, detail=UndecodableDetail(raw["detail"]))
        width, height = _int(raw["width"]), _int(raw["height"])
        if not (1 <= width <= side and 1 <= height <= side):
            raise BadMessage(f"a preview of {width} × {height} px")
        return Shown(
            generation=generation,
            width=width,
            height=height,
            frame=_int(raw["frame"]),
            info=_info(raw["info"]),
        )


def _of_generation(line: bytes, generation: int) -> Any:
    raw = json.loads(line)
    if _int(raw["generation"]) != generation:
        raise BadMessage("an answer to another image")
    return raw


@contextmanager
def _checked() -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadMessage("an answer without the fields of one") from error


def _view(raw: Any) -> View:
    left, upper, right, lower = (_int(side) for side in raw["box"])
    return View(
        kind=ViewKind(raw["kind"]),
        box=(left, upper, right, lower),
        frame=_int(raw["frame"]),
        background=Background(raw["background"]),
    )


def _info(raw: Any) -> DecodeInfo:
    return DecodeInfo(
        format=_word(raw["format"]),
        width=_int(raw["width"]),
        height=_int(raw["height"]),
        mode=_word(raw["mode"]),
        frames=_int(raw["frames"]),
        orientation=_int(raw["orientation"]),
        has_alpha=raw["has_alpha"] is True,
        icc_converted=raw["icc_converted"] is True,
        scale_denominator=_int(raw["scale_denominator"]),
    )


def _hash(raw: Any) -> PictureHash | None:
    if raw is None:
        return None
    if not _BITS.fullmatch(raw["bits"]) or _int(raw["quality"]) > 100:
        raise BadMessage("not the hash of a picture")
    return PictureHash(bits=raw["bits"], quality=raw["quality"])


def _int(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise BadMessage("a number out of range")
    return value


def _fraction(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise BadMessage("a fraction out of range")
    return float(value)


def _word(value: Any) -> str:
    if type(value) is not str or len(value) > 16 or not value.isascii():
        raise BadMessage("not a word")
    return value
