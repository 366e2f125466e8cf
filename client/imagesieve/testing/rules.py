"""What a test says the server should answer. Values and functions, no server."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from imagesieve.errors import ImagesieveError
from imagesieve.results import (
    Band,
    CategoryScore,
    ModerationResult,
    Reason,
    Threshold,
    Verdict,
    View,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedRequest:
    """One image of one attempt of a call, as the server saw it."""

    request_id: str
    image: bytes = field(repr=False)
    policy: str = ""
    categories: tuple[str, ...] = ()
    surface: str = ""
    content_ref: str = ""
    uploader_ref: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    dry_run: bool = False
    metadata: Mapping[str, str | bytes] = field(default_factory=dict)  # of the call

    @property
    def sha256(self) -> str:
        """Hex digest of the image."""
        return hashlib.sha256(self.image).hexdigest()


Rule: TypeAlias = Callable[[ReceivedRequest], ModerationResult]
"""Gives the answer to a request, or raises the ImagesieveError that the caller is to get. It
runs on gRPC's threads, several at a time."""


def allow() -> ModerationResult:
    """An ALLOW answer. The server fills in whatever comes from the request."""
    return ModerationResult(request_id="", verdict=Verdict.ALLOW, views=(View(),), coverage=1.0)


def flag(
    category: str, *, verdict: Verdict = Verdict.REVIEW, score: float = 0.9, severity: int = 3
) -> ModerationResult:
    """A REVIEW or BLOCK answer because of one category, whose threshold is 0.6."""
    worst = CategoryScore(
        category=category,
        score=score,
        review_threshold=Threshold(value=0.6),
        margin=1.5,
        band=Band(verdict.value),
        severity=severity,
    )
    return ModerationResult(
        request_id="",
        verdict=verdict,
        reasons=(Reason(code=f"CATEGORY_{verdict}", category=category),),
        scores=(worst,),
        worst_category=category,
        views=(View(),),
        coverage=1.0,
    )


def undecided(reason: str = "OVERLOADED", *, retry_after_s: float = 3600.0) -> ModerationResult:
    """No answer: the client gives UNDECIDED with this reason at once, without retries.

    The reason is that of an ``Unavailable`` error which servers send. For UNREACHABLE stop the
    server; to see retries, use ``FakeServer.fail_next``.
    """
    return ModerationResult(
        request_id="",
        verdict=Verdict.UNDECIDED,
        undecided_reason=reason,
        retry_after_s=retry_after_s,
    )


def in_turn(
    *answers: ModerationResult | ImagesieveError, afterwards: ModerationResult | None = None
) -> Rule:
    """A rule that gives these answers one after the other, then ``afterwards`` (ALLOW).

    An error among them is raised. Which image gets which answer is only sure for one at a time.
    """
    left = list(reversed(answers))
    lock = threading.Lock()
    default = afterwards or allow()

    def rule(request: ReceivedRequest) -> ModerationResult:
        with lock:
            answer = left.pop() if left else default
        if isinstance(answer, ImagesieveError):
            raise answer
        return answer

    return rule


def by_sha256(
    answers: Mapping[str, ModerationResult], *, otherwise: ModerationResult | None = None
) -> Rule:
    """A rule that answers by the image's hex digest; ``otherwise`` is ALLOW."""
    default = otherwise or allow()
    return lambda request: answers.get(request.sha256, default)


def allow_all(request: ReceivedRequest) -> ModerationResult:
    """The rule of a server that was given none."""
    return allow()
