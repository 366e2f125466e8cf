"""The calls about how well people decide as values. No I/O."""

from __future__ import annotations

from datetime import datetime

from imagesieve.calls import Call
from imagesieve.quality_results import Golden, Quality
from imagesieve.quality_wire import GOLDEN, QUALITY
from imagesieve.tables import TIME
from imagesieve.v1 import quality_pb2 as pb

_QUALITY = "/imagesieve.v1.QualityService/"


def figures(
    *, since: datetime | None, until: datetime | None, timeout_s: float
) -> Call[pb.GetQualityResponse, Quality]:
    """Raises ValueError for a time without a zone."""
    request = pb.GetQualityRequest()
    for name, time in (("since", since), ("until", until)):
        if time is not None and time.utcoffset() is None:
            raise ValueError(f"{name}: give a datetime with its time zone")
        TIME.write(request, name, time)
    return Call(
        path=_QUALITY + "GetQuality",
        request=request,
        answer=pb.GetQualityResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: QUALITY.read(answer),
    )


def goldens(*, timeout_s: float) -> Call[pb.ListGoldensResponse, tuple[Golden, ...]]:
    return Call(
        path=_QUALITY + "ListGoldens",
        request=pb.ListGoldensRequest(),
        answer=pb.ListGoldensResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: tuple(GOLDEN.read(golden) for golden in answer.goldens),
    )


def mark_golden(
    item_id: str, *, note: str, marked_by: str, timeout_s: float
) -> Call[pb.MarkGoldenResponse, Golden]:
    return Call(
        path=_QUALITY + "MarkGolden",
        request=pb.MarkGoldenRequest(item_id=item_id, note=note, marked_by=marked_by),
        answer=pb.MarkGoldenResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: GOLDEN.read(answer.golden),
    )


def unmark_golden(
    item_id: str, *, unmarked_by: str, timeout_s: float
) -> Call[pb.UnmarkGoldenResponse, None]:
    return Call(
        path=_QUALITY + "UnmarkGolden",
        request=pb.UnmarkGoldenRequest(item_id=item_id, unmarked_by=unmarked_by),
        answer=pb.UnmarkGoldenResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: None,
    )
