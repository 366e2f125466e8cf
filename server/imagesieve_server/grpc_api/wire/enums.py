"""The enums of the core and of the wire, side by side.

Tables and not name tricks: a renamed member must not silently become another number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from imagesieve.v1 import review_pb2, verdict_pb2
from imagesieve_server.core.errors import InvalidRequest
from imagesieve_server.core.policy import Mode, Scale
from imagesieve_server.core.review import Cause, Outcome, State
from imagesieve_server.core.verdict import Band, Verdict
from imagesieve_server.core.views import Background, ViewKind

VERDICTS: Mapping[Verdict, verdict_pb2.Verdict] = {
    Verdict.ALLOW: verdict_pb2.VERDICT_ALLOW,
    Verdict.REVIEW: verdict_pb2.VERDICT_REVIEW,
    Verdict.BLOCK: verdict_pb2.VERDICT_BLOCK,
}
BANDS: Mapping[Band, verdict_pb2.Band] = {
    Band.CLEAR: verdict_pb2.BAND_CLEAR,
    Band.REVIEW: verdict_pb2.BAND_REVIEW,
    Band.BLOCK: verdict_pb2.BAND_BLOCK,
}
MODES: Mapping[Mode, verdict_pb2.CategoryMode] = {
    Mode.ENFORCE: verdict_pb2.CATEGORY_MODE_ENFORCE,
    Mode.OBSERVE: verdict_pb2.CATEGORY_MODE_OBSERVE,
}
SCALES: Mapping[Scale, verdict_pb2.ThresholdScale] = {
    Scale.SCORE: verdict_pb2.THRESHOLD_SCALE_SCORE,
    Scale.LOGIT: verdict_pb2.THRESHOLD_SCALE_LOGIT,
}
VIEW_KINDS: Mapping[ViewKind, verdict_pb2.ViewKind] = {
    ViewKind.STILL: verdict_pb2.VIEW_KIND_STILL,
    ViewKind.TILE: verdict_pb2.VIEW_KIND_TILE,
    ViewKind.FRAME: verdict_pb2.VIEW_KIND_FRAME,
}
BACKGROUNDS: Mapping[Background, verdict_pb2.Background] = {
    Background.NONE: verdict_pb2.BACKGROUND_NONE,
    Background.WHITE: verdict_pb2.BACKGROUND_WHITE,
    Background.BLACK: verdict_pb2.BACKGROUND_BLACK,
}
STATES: Mapping[State, review_pb2.ItemState] = {
    State.READY: review_pb2.ITEM_STATE_READY,
    State.LEASED: review_pb2.ITEM_STATE_LEASED,
    State.PARKED: review_pb2.ITEM_STATE_PARKED,
    State.DECIDED: review_pb2.ITEM_STATE_DECIDED,
    State.EXPIRED: review_pb2.ITEM_STATE_EXPIRED,
}
OUTCOMES: Mapping[Outcome, review_pb2.Outcome] = {
    Outcome.APPROVE: review_pb2.OUTCOME_APPROVE,
    Outcome.REJECT: review_pb2.OUTCOME_REJECT,
    Outcome.ESCALATE: review_pb2.OUTCOME_ESCALATE,
}
REOPEN_CAUSES: Mapping[Cause, review_pb2.ReopenCause] = {
    Cause.APPEAL: review_pb2.REOPEN_CAUSE_APPEAL,
    Cause.UNDO: review_pb2.REOPEN_CAUSE_UNDO,
    Cause.OVERTURN: review_pb2.REOPEN_CAUSE_OVERTURN,
}

Core = TypeVar("Core")
Wire = TypeVar("Wire", bound=int)


def from_wire(table: Mapping[Core, Wire], value: int, *, field: str) -> Core:
    """The core member of a wire number. Raises InvalidRequest for UNSPECIFIED and unknown ones."""
    for core, wire in table.items():
        if wire == value:
            return core
    allowed = ", ".join(str(core) for core in table)
    raise InvalidRequest(field, f"must be one of {allowed}")
