"""What the fake server knows: requests, answers, flagged items. No gRPC and no protobuf."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from imagesieve.errors import RequestIdReused, Unavailable, UnknownPolicy
from imagesieve.policy_results import HealthStatus, Policy, PolicyReload
from imagesieve.results import ModerationResult, Verdict
from imagesieve.review_results import Item, ItemState
from imagesieve.status import BY_REASON
from imagesieve.testing.groups import FakeGroups
from imagesieve.testing.quality import FakeQuality
from imagesieve.testing.queue import FakeQueue
from imagesieve.testing.rules import ReceivedRequest, Rule


class NoAnswer(Exception):
    """A rule answered UNDECIDED: the call fails at once, and no retry is to help."""

    def __init__(self, error: Unavailable) -> None:
        super().__init__(error.message)
        self.error = error


class FakeState:
    """Everything behind the fake server's methods. ``lock`` guards all of it but the rule."""

    def __init__(self, rule: Rule, *, policies: Sequence[Policy]) -> None:
        self.lock = threading.RLock()
        self.called = threading.Condition(self.lock)  # notified at every call
        self.watches_ended = 0
        self.queue = FakeQueue()
        self.groups = FakeGroups(self.queue)
        self.quality = FakeQuality(self.queue)
        self.health = HealthStatus.SERVING
        self.policies = tuple(policies)
        self.reload_problems: tuple[str, ...] = ()
        self.requests: list[ReceivedRequest] = []
        self._rule = rule
        self._answers: dict[str, tuple[object, ModerationResult]] = {}  # by request_id
        self._images: dict[str, bytes] = {}  # by item_id

    def moderate(self, received: ReceivedRequest) -> ModerationResult:
        """The rule's answer, completed; a repeated request_id gets its first answer again."""
        content = _content(received)
        with self.lock:
            known = self._answers.get(received.request_id)
        if known is None:
            answer = _completed(self._rule(received), received)
            if answer.verdict is Verdict.UNDECIDED:
                raise NoAnswer(_unavailable(answer))
            if received.dry_run:
                return answer
            known = self._remembered(content, answer, received)
        if known[0] != content:
            raise RequestIdReused(
                f"request_id {received.request_id!r} was used before with other content",
                metadata={"request_id": received.request_id},
            )
        return known[1]

    def _remembered(
        self, content: object, answer: ModerationResult, received: ReceivedRequest
    ) -> tuple[object, ModerationResult]:
        """The answer of that request_id: this one, unless a repeat was quicker."""
        with self.lock:
            known = self._answers.get(received.request_id)
            if known is None:
                if answer.verdict is not Verdict.ALLOW:
                    answer = replace(answer, item_id=self.queue.new_id("item"))
                    self.queue.add(_item(answer, received))
                    self._images[answer.item_id] = received.image
                known = self._answers[received.request_id] = (content, answer)
            return known

    def image(self, item_id: str) -> bytes:
        """The original of a flagged item; empty for an item that a test added itself."""
        return self._images.get(item_id, b"")

    def forget_image(self, item_id: str) -> None:
        self._images.pop(item_id, None)

    def policy(self, name: str) -> Policy:
        """The policy of that name; the first one for ""."""
        for policy in self.policies:
            if name in ("", policy.name):
                return policy
        raise UnknownPolicy("no policy of that name is loaded")

    def reload(self) -> PolicyReload:
        return PolicyReload(policies=self.policies, problems=self.reload_problems)


def _unavailable(answer: ModerationResult) -> Unavailable:
    kind = BY_REASON.get(answer.undecided_reason)
    if kind is None or not issubclass(kind, Unavailable):
        raise ValueError(f"no server says {answer.undecided_reason!r}; for UNREACHABLE, stop it")
    return kind("said by a rule", retry_after_s=answer.retry_after_s)


def _content(received: ReceivedRequest) -> object:
    """What must not differ under one request_id."""
    categories = frozenset(received.categories)
    return (received.sha256, received.policy, categories, received.surface, received.dry_run)


def _completed(answer: ModerationResult, received: ReceivedRequest) -> ModerationResult:
    return replace(
        answer,
        request_id=received.request_id,
        sha256=received.sha256,
        policy=received.policy or answer.policy or "default",
        content_ref=received.content_ref,
        uploader_ref=received.uploader_ref,
        surface=received.surface,
        labels=received.labels,
        dry_run=received.dry_run,
    )


def _item(answer: ModerationResult, received: ReceivedRequest) -> Item:
    worst = answer.worst
    return Item(
        item_id=answer.item_id,
        sha256=answer.sha256,
        state=ItemState.READY,
        verdict=answer.verdict,
        policy=answer.policy,
        reasons=tuple(reason.code for reason in answer.reasons),
        category=answer.worst_category,
        severity=worst.severity if worst else 1,
        score=worst.score if worst else 1.0,
        answer=answer,
        size_bytes=len(received.image),
        enqueued_at=datetime.now(UTC),
        surface=answer.surface,
        content_ref=answer.content_ref,
        uploader_ref=answer.uploader_ref,
        labels=answer.labels,
    )
