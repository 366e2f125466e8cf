"""The failure table in full, and what errors carry."""

from __future__ import annotations

import pytest

from helpers.policies import category, group, policy, unit
from imagesieve_server.core import errors
from imagesieve_server.core.errors import EncoderUnavailable, PolicyError
from imagesieve_server.core.failure import (
    FAIL_OPEN_SEVERITY_LIMIT,
    judge_undecodable,
    judge_without_encoder,
    refuse_unsafe_fail_open,
)
from imagesieve_server.core.policy import OnUnavailable, Policy
from imagesieve_server.core.verdict import Judgement, Reason, ReasonCode, Verdict


def rules(choice: OnUnavailable, *severities: int) -> Policy:
    made = [category(group(unit(1, 0)), id=f"c{i}", severity=s) for i, s in enumerate(severities)]
    return policy(made, group(unit(0, 1)), on_unavailable=choice)


def test_an_undecodable_file_is_a_persons_and_not_degraded() -> None:
    reason = Reason(code=ReasonCode.UNDECODABLE, detail="TIMED_OUT")
    assert judge_undecodable("TIMED_OUT") == Judgement(
        verdict=Verdict.REVIEW, reasons=(reason,), scores=(), degraded=False
    )


def test_an_answer_without_the_encoder_has_its_one_reason_and_no_scores() -> None:
    found = judge_without_encoder(rules(OnUnavailable.ALLOW, 1), EncoderUnavailable("down"))
    assert found == Judgement(
        verdict=Verdict.ALLOW,
        reasons=(Reason(code=ReasonCode.POLICY_FAIL_OPEN),),
        scores=(),
        degraded=True,
    )


def test_one_severe_category_is_enough_to_refuse_failing_open() -> None:
    assert FAIL_OPEN_SEVERITY_LIMIT == 3
    with pytest.raises(PolicyError) as caught:
        refuse_unsafe_fail_open(rules(OnUnavailable.ALLOW, 1, 3, 2))
    assert caught.value.field == "on_unavailable"
    assert "severity 3" in caught.value.problem
    assert "below 3" in caught.value.problem
    refuse_unsafe_fail_open(rules(OnUnavailable.ALLOW, 1, 2))
    refuse_unsafe_fail_open(rules(OnUnavailable.HOLD, 4))


def test_a_refusal_that_passes_says_when_to_come_back() -> None:
    full = errors.Overloaded("full", retry_after_s=1.5)
    assert (full.message, full.retry_after_s) == ("full", 1.5)
    late = errors.DeadlineUnmeetable("late", retry_after_s=2.5)
    assert (late.message, late.retry_after_s) == ("late", 2.5)
    quota = errors.QuotaExceeded("used up", subject="undecodable", retry_after_s=3.5)
    assert (quota.subject, quota.retry_after_s) == ("undecodable", 3.5)
    assert (quota.message, quota.metadata) == ("used up", {"subject": "undecodable"})


def test_a_request_id_that_was_used_is_named() -> None:
    found = errors.RequestIdReused("r-7")
    assert found.metadata == {"request_id": "r-7"}
    assert "'r-7'" in found.message


def test_an_error_is_its_message_and_has_no_metadata_unless_given() -> None:
    found = errors.ItemNotFound("there is none")
    assert (str(found), found.message, found.metadata) == ("there is none", "there is none", {})


def test_an_invalid_request_and_a_policy_error_keep_their_parts() -> None:
    request = errors.InvalidRequest("labels", "too many")
    assert (request.field, request.problem) == ("labels", "too many")
    policy_error = PolicyError("is 9", file="p.yaml", line=3, field="severity")
    assert (policy_error.file, policy_error.line) == ("p.yaml", 3)
    assert (policy_error.field, policy_error.problem) == ("severity", "is 9")
    bare = PolicyError("is 9")
    assert (bare.file, bare.line, bare.field) == ("", None, "")


def test_an_undecodable_image_keeps_its_detail_and_message() -> None:
    detail = errors.UndecodableDetail.OVER_CAPS
    found = errors.ImageUndecodable("no picture", detail=detail)
    assert (found.detail, found.message) == (detail, "no picture")
