"""What the server and a decode worker say to each other, and the setup that is said once.

Knows the messages. How requests and answers travel, and how an answer is checked, is
``worker_packing.py``'s matter.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

from imagesieve_server.core.errors import UndecodableDetail
from imagesieve_server.core.near_duplicates import PictureHash
from imagesieve_server.core.views import (
    DecodeInfo,
    Preprocessing,
    PreviewPlan,
    View,
    ViewPlan,
)
from imagesieve_server.images.limits import Limits

LINE_MAX: Final = 64 * 1024  # bytes of the setup's line
READY: Final = b"ready\n"
PROGRESS_BYTES: Final = 1
"""The end of the output slot: which image of a hand-over the worker is at, counted from 0."""


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
    start: int = 0  # where in the slot they begin
    following: int = 0  # so many further requests are handed over with this one
    plan: ViewPlan | PreviewPlan
    is_long: bool = False  # it shall give way to others on the processor


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
class NoRoom:
    """Behind the pixels of those before it in one hand-over there was no room for its own."""

    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """No picture could be made of the bytes."""

    generation: int
    detail: UndecodableDetail


def dump_setup(setup: Setup) -> bytes:
    """The setup as one line."""
    return json.dumps(asdict(setup)).encode() + b"\n"


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
