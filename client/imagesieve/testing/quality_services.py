"""The fake server's methods about how well people decide: messages in, answers out. No sockets."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from imagesieve.quality_wire import GOLDEN, QUALITY
from imagesieve.tables import TIME
from imagesieve.testing.state import FakeState
from imagesieve.v1 import quality_pb2 as qpb


def _get(state: FakeState, request: qpb.GetQualityRequest) -> Message:
    since, until = TIME.read(request, "since"), TIME.read(request, "until")
    answer: Message = QUALITY.write(state.quality.figures(since, until))
    return answer


def _mark(state: FakeState, request: qpb.MarkGoldenRequest) -> Message:
    golden = state.quality.mark(request.item_id, note=request.note, marked_by=request.marked_by)
    return qpb.MarkGoldenResponse(golden=GOLDEN.write(golden))


def _unmark(state: FakeState, request: qpb.UnmarkGoldenRequest) -> Message:
    state.quality.unmark(request.item_id)
    return qpb.UnmarkGoldenResponse()


def _list(state: FakeState, request: qpb.ListGoldensRequest) -> Message:
    found = state.quality.goldens()
    return qpb.ListGoldensResponse(goldens=[GOLDEN.write(golden) for golden in found])


QUALITY_ROWS: tuple[tuple[str, type[Message], Any], ...] = (
    ("GetQuality", qpb.GetQualityRequest, _get),
    ("MarkGolden", qpb.MarkGoldenRequest, _mark),
    ("UnmarkGolden", qpb.UnmarkGoldenRequest, _unmark),
    ("ListGoldens", qpb.ListGoldensRequest, _list),
)
"""Name, message and work of each."""
