"""What a moderation call gives back: frozen values, no protobuf and no I/O.

Knows the meaning of an answer's parts. Refuses to know how they travel (``wire.py``) and how
they were asked for (``calls.py``). Every enum has a member for "something newer than this
client": a value that this release cannot name never looks like one that it can.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, TypeAlias

from imagesieve.errors import ImagesieveError

ImageSource: TypeAlias = bytes | bytearray | memoryview | os.PathLike[str] | BinaryIO
"""The original upload: its bytes, the path of a file, or an open binary file."""


class Verdict(enum.StrEnum):
    """Only ALLOW means that an image may be published without a person."""

    ALLOW = "ALLOW"
    REVIEW = "REVIEW"  # a person decides; the image is in the review queue
    BLOCK = "BLOCK"  # do not publish; the image is in the review queue as well
    UNDECIDED = "UNDECIDED"  # nobody has judged the image: do not publish, ask again later


class Band(enum.StrEnum):
    """Where a category's score lies among its thresholds."""

    CLEAR = "CLEAR"
    REVIEW = "REVIEW"
    BLOCK = "BLOCK"
    UNKNOWN = "UNKNOWN"


class CategoryMode(enum.StrEnum):
    """Whether a category acts or is only measured."""

    ENFORCE = "ENFORCE"
    OBSERVE = "OBSERVE"
    UNKNOWN = "UNKNOWN"


class ViewKind(enum.StrEnum):
    """How a view was taken."""

    STILL = "STILL"
    TILE = "TILE"
    FRAME = "FRAME"
    UNKNOWN = "UNKNOWN"


class Background(enum.StrEnum):
    """What a transparent picture was put on."""

    NONE = "NONE"
    WHITE = "WHITE"
    BLACK = "BLACK"
    UNKNOWN = "UNKNOWN"


class ThresholdScale(enum.StrEnum):
    """What a threshold compares with."""

    SCORE = "SCORE"
    LOGIT = "LOGIT"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A limit at and above which a band begins."""

    value: float
    scale: ThresholdScale = ThresholdScale.SCORE


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One square picture that the encoder saw."""

    kind: ViewKind = ViewKind.STILL
    left: int = 0  # pixels of the upright original; left and upper lie inside
    upper: int = 0
    right: int = 0  # right and lower lie outside
    lower: int = 0
    frame: int = 0  # 0-based
    background: Background = Background.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryScore:
    """One category's result: the numbers of its worst view."""

    category: str
    score: float  # 0 to 1, except for method cosine
    log_odds: float = 0.0  # logit of the score; the cosine itself for method cosine
    neutral_score: float = 0.0  # pooled cosine of the neutral prompts at that view
    review_threshold: Threshold | None = None
    block_threshold: Threshold | None = None
    margin: float | None = None  # log-odds above the review threshold; None without one
    band: Band = Band.CLEAR
    view: int = 0  # index into the result's views
    severity: int = 1  # 1 (mild) to 4 (urgent)
    mode: CategoryMode = CategoryMode.ENFORCE
    probability: float | None = None  # calibrated, for reports; None without a calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a verdict is what it is."""

    code: str  # stable; the server's reference lists them
    category: str = ""  # where the reason is a category's
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeInfo:
    """What the decoder found and did; all empty for a file it could not read."""

    format: str = ""  # JPEG, PNG, WEBP, GIF or AVIF
    width: int = 0  # pixels, upright
    height: int = 0
    mode: str = ""  # the codec's own, before conversion
    frames: int = 0
    orientation: int = 0  # EXIF, 1 to 8
    has_alpha: bool = False
    icc_converted: bool = False
    scale_denominator: int = 0  # DCT scaling: 1, 2, 4 or 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ModerationResult:
    """The whole answer about one image.

    An UNDECIDED result has a ``request_id``, why and nothing else; the same request_id
    may be used to ask again.
    """

    request_id: str
    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    scores: tuple[CategoryScore, ...] = ()
    worst_category: str = ""  # behind the verdict, or the one nearest to its threshold
    views: tuple[View, ...] = ()
    coverage: float = 0.0  # what was seen ÷ what the policy plans to see
    crop_fraction: float = 0.0  # share of the pixels inside view 0
    decode_info: DecodeInfo | None = None
    sha256: str = ""  # hex digest of the bytes the server received
    policy: str = ""
    policy_version: str = ""
    model_version: str = ""
    degraded: bool = False  # a part of the server was down and the policy chose this answer
    item_id: str = ""  # the review item, where the image was flagged
    content_ref: str = ""
    uploader_ref: str = ""
    surface: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    dry_run: bool = False
    undecided_reason: str = ""  # for example UNREACHABLE; empty unless UNDECIDED
    undecided_message: str = ""  # the same in words, for people and logs; nothing decides by it
    retry_after_s: float | None = None  # the server's hint, seconds; only when UNDECIDED
    elapsed_s: float = 0.0  # seconds from the call to the answer, retries included

    @property
    def may_publish(self) -> bool:
        """True for ALLOW and for nothing else."""
        return self.verdict is Verdict.ALLOW

    @property
    def worst(self) -> CategoryScore | None:
        """The score of ``worst_category``; None where nothing was scored."""
        return next((s for s in self.scores if s.category == self.worst_category), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One image for ``moderate_many``, with what the caller knows of it."""

    image: ImageSource = field(repr=False)
    request_id: str | None = None  # None: one is made before the first attempt
    content_ref: str = ""  # the caller's own name for the content, opaque
    uploader_ref: str = ""  # and for its author
    surface: str = ""  # where the image would appear, for example avatar
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moderated:
    """One image's outcome in ``moderate_many``: a result, or the error that concerns it alone."""

    index: int  # position in the iterable, from 0
    upload: Upload
    result: ModerationResult | None = None
    error: ImagesieveError | OSError | None = None  # OSError: the file could not be read

    def unwrap(self) -> ModerationResult:
        """The result; raises the error where there is one."""
        if self.error is not None:
            raise self.error
        assert self.result is not None  # one of the two is always set
        return self.result
