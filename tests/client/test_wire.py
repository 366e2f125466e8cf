"""That the tables cover every field of every message, and read back what they write."""

from __future__ import annotations

import dataclasses
import enum
from datetime import UTC, datetime
from typing import Any

import pytest

import imagesieve.group_wire
import imagesieve.quality_wire
import imagesieve.review_wire
import imagesieve.wire
from imagesieve import (
    Background,
    Band,
    CategoryMode,
    CategoryScore,
    Decision,
    DecodeInfo,
    Item,
    ItemState,
    ModerationResult,
    Outcome,
    Reason,
    Threshold,
    ThresholdScale,
    Verdict,
    View,
    ViewKind,
)
from imagesieve.review_wire import ITEM
from imagesieve.tables import EnumField, Table
from imagesieve.v1 import moderation_pb2, policy_pb2, quality_pb2, review_pb2, verdict_pb2
from imagesieve.wire import RESULT, read_result

TABLES = {
    table.message.DESCRIPTOR.full_name: table  # type: ignore[attr-defined]
    for module in (
        imagesieve.wire,
        imagesieve.review_wire,
        imagesieve.group_wire,
        imagesieve.quality_wire,
    )
    for table in vars(module).values()
    if isinstance(table, Table)
}
NOT_ON_THE_WIRE = {
    ModerationResult: {"undecided_reason", "undecided_message", "retry_after_s", "elapsed_s"},
    Item: {"image"},  # travels beside the item
}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_table_covers_its_message_and_its_value(name: str) -> None:
    table = TABLES[name]
    assert set(table.fields) == {field.name for field in table.message.DESCRIPTOR.fields}  # type: ignore[attr-defined]
    own = NOT_ON_THE_WIRE.get(table.result, set())  # type: ignore[call-overload]
    assert set(table.fields) == {f.name for f in dataclasses.fields(table.result)} - own  # type: ignore[arg-type]


def test_every_shared_message_has_a_table() -> None:
    values = {
        message.full_name
        for module in (moderation_pb2, policy_pb2, quality_pb2, review_pb2, verdict_pb2)
        for message in module.DESCRIPTOR.message_types_by_name.values()
        if not message.name.endswith(("Request", "Response"))
    }
    # Of the calls that this client does not make.
    batches = {"imagesieve.v1.ItemError", "imagesieve.v1.ModerateResult"}
    assert values - batches <= set(TABLES)


WIRE_ENUMS = {
    field: descriptor
    for name, table in TABLES.items()
    for field_name, field in table.fields.items()
    if isinstance(field, EnumField)
    for descriptor in [table.message.DESCRIPTOR.fields_by_name[field_name].enum_type]  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("field", WIRE_ENUMS, ids=lambda field: WIRE_ENUMS[field].name)
def test_every_number_of_an_enum_has_a_name_but_the_unspecified(field: EnumField[Any]) -> None:
    fallback = field.of(0)
    for value in WIRE_ENUMS[field].values:
        member = field.of(value.number)
        if value.number == 0:
            continue
        assert member is not fallback
        assert value.name.endswith(f"_{member.name}")
        assert field.number(member) == value.number
    assert field.of(999) is fallback
    assert field.number(fallback) == 0


def example(kind: Any) -> Any:
    """A value of which no field has its default."""
    return {
        ModerationResult: ModerationResult(
            request_id="r",
            verdict=Verdict.BLOCK,
            reasons=(Reason(code="CATEGORY_BLOCK", category="weapons", detail="d"),),
            scores=(
                CategoryScore(
                    category="weapons",
                    score=0.75,
                    log_odds=1.5,
                    neutral_score=0.25,
                    review_threshold=Threshold(value=0.5, scale=ThresholdScale.LOGIT),
                    block_threshold=Threshold(value=0.75, scale=ThresholdScale.SCORE),
                    margin=-0.5,
                    band=Band.BLOCK,
                    view=1,
                    severity=3,
                    mode=CategoryMode.OBSERVE,
                    probability=0.125,
                ),
            ),
            worst_category="weapons",
            views=(
                View(),
                View(
                    kind=ViewKind.FRAME,
                    left=1,
                    upper=2,
                    right=3,
                    lower=4,
                    frame=5,
                    background=Background.BLACK,
                ),
            ),
            coverage=0.5,
            crop_fraction=0.25,
            decode_info=DecodeInfo(
                format="JPEG",
                width=10,
                height=20,
                mode="CMYK",
                frames=1,
                orientation=6,
                has_alpha=True,
                icc_converted=True,
                scale_denominator=2,
            ),
            sha256="00",
            policy="p",
            policy_version="pv",
            model_version="mv",
            degraded=True,
            item_id="i",
            content_ref="c",
            uploader_ref="u",
            surface="s",
            labels={"a": "b"},
            dry_run=True,
        )
    }[kind]


def test_a_result_reads_back_as_it_was_written() -> None:
    result = example(ModerationResult)
    read = read_result(
        moderation_pb2.ModerateResponse.FromString(RESULT.write(result).SerializeToString()),
        elapsed_s=0.0,
    )
    assert read == result


def test_an_item_reads_back_as_it_was_written() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    decision = Decision(
        decision_id="d",
        item_id="i",
        round=2,
        outcome=Outcome.ESCALATE,
        labels=("l",),
        note="n",
        reviewer="r",
        decided_at=now,
        effective=True,
        supersedes="d0",
        cause="DECIDE",
    )
    values: dict[str, Any] = {
        f.name: {str: f.name, int: 7}.get(type(f.default)) for f in dataclasses.fields(Item)
    }
    item = Item(
        **values
        | {
            "item_id": "i",
            "sha256": "00",
            "state": ItemState.PARKED,
            "verdict": Verdict.REVIEW,
            "reasons": ("UNSCORED",),
            "score": 0.5,
            "answer": example(ModerationResult),
            "labels": {"a": "b"},
            "decisions": (decision,),
            "earlier": decision,
            "image": b"",
        }
        | dict.fromkeys(("enqueued_at", "due_at", "claimed_at", "lease_until"), now)
    )
    assert all(getattr(item, name) is not None for name in Item.__dataclass_fields__)
    assert (
        ITEM.read(review_pb2.Item.FromString(ITEM.write(item).SerializeToString()), image=b"")
        == item
    )


@pytest.mark.parametrize("number", [0, 4, 99])
def test_a_verdict_that_the_client_cannot_name_is_never_allow(number: int) -> None:
    message = moderation_pb2.ModerateResponse(request_id="r", verdict=number)  # type: ignore[arg-type]
    result = read_result(message, elapsed_s=0.1)
    assert result.verdict is Verdict.UNDECIDED
    assert result.undecided_reason == "VERDICT_UNKNOWN"
    assert not result.may_publish


def test_absent_values_read_as_none() -> None:
    message = moderation_pb2.ModerateResponse(verdict=verdict_pb2.VERDICT_ALLOW)
    message.scores.add(category="weapons")
    result = read_result(message, elapsed_s=0.0)
    assert result.decode_info is None
    assert result.worst is None
    (score,) = result.scores
    assert (score.margin, score.review_threshold, score.block_threshold) == (None, None, None)


def test_no_enum_member_is_a_bare_string() -> None:
    for name, value in vars(imagesieve.wire.results).items():
        if isinstance(value, type) and issubclass(value, enum.Enum):
            assert all(member.value == member.name for member in value), name
