"""Figures of the quality of decisions and golden items to messages, and requests back."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from imagesieve.v1 import quality_pb2
from imagesieve_server.core.agreement import Kappa
from imagesieve_server.core.binomial import Share
from imagesieve_server.core.errors import InvalidRequest
from imagesieve_server.core.golden import DAY_S, Golden, GoldenRequest
from imagesieve_server.core.quality_report import Counts, QualityReport
from imagesieve_server.grpc_api.wire import checks, enums
from imagesieve_server.grpc_api.wire.review import item_id, timestamp

SPAN_S = 30 * DAY_S
"""What is looked at where the caller names no beginning, seconds."""


def read_span(message: quality_pb2.GetQualityRequest, *, now: float) -> tuple[float, float]:
    """(since, until) in seconds since the epoch. Raises InvalidRequest."""
    until = _seconds(message.until) if message.HasField("until") else now
    since = _seconds(message.since) if message.HasField("since") else until - SPAN_S
    if since >= until:
        raise InvalidRequest("since", "must lie before until")
    return since, until


def read_mark(message: quality_pb2.MarkGoldenRequest, *, tenant: str, name: str) -> GoldenRequest:
    """Check and convert; ``name`` is the caller's proved name. Raises InvalidRequest."""
    return GoldenRequest(
        tenant=tenant,
        item_id=item_id(message.item_id),
        actor=name or checks.text("marked_by", message.marked_by, limit=checks.MAX_ID),
        note=checks.text("note", message.note, limit=checks.MAX_NOTE),
    )


def read_unmark(
    message: quality_pb2.UnmarkGoldenRequest, *, tenant: str, name: str
) -> GoldenRequest:
    """Check and convert; ``name`` is the caller's proved name. Raises InvalidRequest."""
    return GoldenRequest(
        tenant=tenant,
        item_id=item_id(message.item_id),
        actor=name or checks.text("unmarked_by", message.unmarked_by, limit=checks.MAX_ID),
    )


def quality_of(report: QualityReport) -> quality_pb2.GetQualityResponse:
    """The report as a message."""
    return quality_pb2.GetQualityResponse(
        since=timestamp(report.since),
        until=timestamp(report.until),
        total=_figures("", report.total),
        categories=[_figures(name, counts) for name, counts in report.categories.items()],
        reviewers=[_figures(name, counts) for name, counts in report.reviewers.items()],
        partial=report.partial,
    )


def golden_of(golden: Golden) -> quality_pb2.Golden:
    """One golden item as a message."""
    return quality_pb2.Golden(
        item_id=golden.item_id,
        sha256=golden.sha256,
        category=golden.category,
        outcome=enums.OUTCOMES[golden.outcome],
        labels=golden.labels,
        note=golden.note,
        marked_by=golden.marked_by,
        marked_at=timestamp(golden.marked_at),
        given=golden.given,
    )


def _figures(name: str, counts: Counts) -> quality_pb2.QualityFigures:
    return quality_pb2.QualityFigures(
        name=name,
        pairs=counts.table.pairs,
        agreed=counts.table.agreed,
        only_first_rejected=counts.table.only_first,
        only_second_rejected=counts.table.only_second,
        agreement=_estimate(counts.agreement),
        kappa=_estimate(counts.kappa),
        golden=counts.golden,
        golden_right=counts.golden_right,
        golden_passed=counts.golden_passed,
        golden_accuracy=_estimate(counts.golden_accuracy),
        decisions=counts.decisions,
        contested=counts.contested,
        overturned=counts.overturned,
        overturn_rate=_estimate(counts.overturn_rate),
    )


def _estimate(found: Share | Kappa | None) -> quality_pb2.Estimate | None:
    if found is None:
        return None
    return quality_pb2.Estimate(value=found.value, low=found.low, high=found.high)


def _seconds(stamp: Timestamp) -> float:
    return stamp.seconds + stamp.nanos / 1e9
