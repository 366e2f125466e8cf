"""The failure table: what to answer when the encoder or the store is down.

            hold            review                  allow
encoder     UNAVAILABLE     queued unscored         ALLOW, degraded, POLICY_FAIL_OPEN
store       UNAVAILABLE for flagged images, whatever the policy says; ALLOW is answered

(The third row of the design's table, "server unreachable", is the client's: UNDECIDED.)
"""

from __future__ import annotations

from imagesieve_server.core.errors import EncoderUnavailable, PolicyError
from imagesieve_server.core.policy import OnUnavailable, Policy
from imagesieve_server.core.verdict import Judgement, Reason, ReasonCode, Verdict

FAIL_OPEN_SEVERITY_LIMIT = 3
"""A policy with any category this severe may not choose ``on_unavailable: allow``."""

_ENCODER_DOWN: dict[OnUnavailable, tuple[Verdict, ReasonCode]] = {
    OnUnavailable.REVIEW: (Verdict.REVIEW, ReasonCode.UNSCORED),
    OnUnavailable.ALLOW: (Verdict.ALLOW, ReasonCode.POLICY_FAIL_OPEN),
}


def judge_without_encoder(policy: Policy, cause: EncoderUnavailable) -> Judgement:
    """The answer while the encoder is down; raises ``cause`` where the policy says hold."""
    if policy.on_unavailable is OnUnavailable.HOLD:
        raise cause
    verdict, code = _ENCODER_DOWN[policy.on_unavailable]
    return Judgement(verdict=verdict, reasons=(Reason(code=code),), scores=(), degraded=True)


def judge_undecodable(detail: str) -> Judgement:
    """The answer for a file no picture could be made of, where the policy says review."""
    return Judgement(
        verdict=Verdict.REVIEW,
        reasons=(Reason(code=ReasonCode.UNDECODABLE, detail=detail),),
        scores=(),
    )


def refuse_unsafe_fail_open(policy: Policy) -> None:
    """Raise PolicyError where a severe policy asks to fail open. Called when a policy loads."""
    if policy.on_unavailable is OnUnavailable.ALLOW and policy.severity >= FAIL_OPEN_SEVERITY_LIMIT:
        raise PolicyError(
            f"'allow' is refused while a category has severity {policy.severity} "
            f"(limit: below {FAIL_OPEN_SEVERITY_LIMIT}); use 'hold' or 'review'",
            field="on_unavailable",
        )
