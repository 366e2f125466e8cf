"""Flags become submissions and items: idempotence, joining, and nothing else.

Knows the rules of arrival. A group of flags is looked up in a few bulk reads, folded in
memory in the order given, and written in a few bulk writes; a flag that must be refused is
answered with its error and leaves its mates alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from imagesieve_server.core.errors import InvalidRequest, RequestError, RequestIdReused
from imagesieve_server.core.near_duplicates import Grouping
from imagesieve_server.core.review import Flag, Recorded, State
from imagesieve_server.core.review_rules import Urgency, urgency_of
from imagesieve_server.review_queue import checks, drawing, events, moves, reuse
from imagesieve_server.review_queue.grouping import Groups
from imagesieve_server.review_queue.reason_bits import bits_of
from imagesieve_server.review_queue.reuse import Earlier
from imagesieve_server.review_queue.rows import (
    DecisionRow,
    EvidenceRow,
    ItemRow,
    PayloadRow,
    SubmissionRow,
    Transaction,
)

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request that may have been answered before."""

    tenant: str
    request_id: str
    digest: str  # of all that must not differ under one request_id


@dataclass(slots=True, kw_only=True)
class _Fold:
    """One tenant's part of a group while it is folded."""

    now: float
    submissions: dict[str, SubmissionRow]  # by request_id: known ones, then this group's
    payloads: dict[str, PayloadRow]
    earlier: dict[str, Earlier]  # decisions that may be used again, by sha256
    found: dict[str, ItemRow]  # open items as the store has them, by sha256
    items: dict[str, ItemRow]  # open items as they shall be, by sha256
    groups: Groups
    decided: list[tuple[ItemRow, DecisionRow]] = field(default_factory=list)  # by one of those
    new_requests: list[str] = field(default_factory=list)
    evidence: dict[str, EvidenceRow] = field(default_factory=dict)


def record(
    tx: Transaction, flags: Sequence[Flag], *, grouping: Grouping | None = None
) -> list[Recorded | RequestError]:
    """Record a group; the result at each place is that flag's. ``grouping`` None: look-alikes
    are not looked for."""
    results: dict[int, Recorded | RequestError] = {}
    by_tenant: dict[str, list[tuple[int, Flag, Answer]]] = {}
    for place, flag in enumerate(drawing.drawn(tx, flags)):
        try:
            answer = _checked(flag)
        except InvalidRequest as problem:
            results[place] = problem
        else:
            by_tenant.setdefault(flag.tenant, []).append((place, flag, answer))
    for tenant, placed in sorted(by_tenant.items()):
        fold = _look_up(tx, tenant, [flag for _, flag, _ in placed], grouping)
        for place, flag, answer in placed:
            results[place] = _add(fold, flag, answer)
        _write(tx, fold)
    return [results[place] for place in range(len(flags))]


def answers_of(tx: Transaction, asked: Sequence[Asked]) -> list[Recorded | RequestIdReused | None]:
    """What is kept of each, None where it is not known; one read for all of a tenant's."""
    by_tenant: dict[str, list[str]] = {}
    for one in asked:
        by_tenant.setdefault(one.tenant, []).append(one.request_id)
    kept = {tenant: tx.answers(tenant, names) for tenant, names in by_tenant.items()}
    results: list[Recorded | RequestIdReused | None] = []
    for one in asked:
        known = kept[one.tenant].get(one.request_id)
        if known is None:
            results.append(None)
        elif known[0].digest != one.digest:
            results.append(RequestIdReused(one.request_id))
        else:
            results.append(_repeated(*known))
    return results


def _checked(flag: Flag) -> Answer:
    """The flag's answer, parsed. Raises InvalidRequest where the flag cannot be kept."""
    checks.text("tenant", flag.tenant, required=True)
    checks.text("request_id", flag.request_id, required=True)
    checks.sha256("sha256", flag.sha256)
    checks.within("size_bytes", flag.size_bytes, low=0, high=checks.MAX_INT)
    checks.within("severity", flag.severity, low=1, high=4)
    checks.within("reviews_needed", flag.reviews_needed, low=1, high=9)
    checks.within("second_review_share", flag.second_review_share, low=0, high=1)
    if flag.inclusion_probability is not None:
        checks.within("inclusion_probability", flag.inclusion_probability, low=0, high=1)
    if flag.picture_hash:
        checks.sha256("picture_hash", flag.picture_hash)  # as many digits
    for name in ("request_digest", "media_type", "policy", "policy_version", "category"):
        checks.text(name, getattr(flag, name))
    for name in ("model_version", "answer", "surface", "content_ref", "uploader_ref"):
        checks.text(name, getattr(flag, name))
    checks.texts("labels", (*flag.labels.keys(), *flag.labels.values()))
    try:
        answer = json.loads(flag.answer)
    except ValueError:
        raise InvalidRequest("answer", "is not JSON") from None
    if not isinstance(answer, dict):
        raise InvalidRequest("answer", "is not a JSON object")
    return answer


def _look_up(
    tx: Transaction, tenant: str, flags: Sequence[Flag], grouping: Grouping | None
) -> _Fold:
    tx.hold(tenant, sorted({flag.sha256 for flag in flags}))
    known = dict(tx.submissions(tenant, sorted({flag.request_id for flag in flags})))
    new = sorted({flag.sha256 for flag in flags if flag.request_id not in known})
    found = dict(tx.open_items(tenant, new))
    groups = Groups(tx=tx, tenant=tenant, grouping=grouping)
    groups.look_up([flag for flag in flags if flag.sha256 in new and not flag.audit])
    return _Fold(
        now=tx.now(),
        earlier=reuse.look_up(tx, tenant, [flag for flag in flags if flag.sha256 in new]),
        submissions=known,
        payloads=dict(tx.payloads(tenant, list(known))),
        found=found,
        items=dict(found),
        groups=groups,
    )


def _add(fold: _Fold, flag: Flag, answer: Answer) -> Recorded | RequestError:
    known = fold.submissions.get(flag.request_id)
    if known is not None:
        if known.digest != flag.request_digest:
            return RequestIdReused(flag.request_id)
        return _repeated(known, fold.payloads[flag.request_id])
    present = fold.items.get(flag.sha256)
    earlier = fold.earlier.get(flag.sha256)
    if present is None and earlier is not None and earlier.answers(flag):
        row = present = earlier.item
    elif present is not None and flag.audit:
        row = present  # it gets its decision there, and changes nothing
    elif present is None and earlier is not None and earlier.serves(flag):
        row, decision = earlier.used_for(_new_item(fold, flag), flag)
        fold.decided.append((row, decision))
    elif present is None:
        fold.items[flag.sha256] = row = _new_item(fold, flag)
    else:
        fold.items[flag.sha256] = row = _joined(fold, present, flag)
    payload = _payload(flag, answer, row.item_id)
    fold.submissions[flag.request_id] = _submission(flag, row.item_id, fold.now)
    fold.payloads[flag.request_id] = payload
    fold.new_requests.append(flag.request_id)
    fold.evidence[flag.sha256] = EvidenceRow(
        tenant=flag.tenant,
        sha256=flag.sha256,
        size_bytes=flag.size_bytes,
        media_type=flag.media_type,
        stored_at=fold.now,
    )
    return Recorded(
        item_id=row.item_id,
        answer=payload.answer,
        joined=present is not None,
        group_id=row.group_id or "",
    )


def _write(tx: Transaction, fold: _Fold) -> None:
    new = [row for sha256, row in fold.items.items() if sha256 not in fold.found]
    tx.put_evidence(list(fold.evidence.values()))
    tx.add_items([*new, *(row for row, _ in fold.decided)])
    fold.groups.write()
    tx.add_audit([moves.created(row, row.opened_by, actor="") for row in new])
    tx.add_audit([moves.created(row, row.opened_by, actor="") for row, _ in fold.decided])
    for sha256, before in fold.found.items():
        if fold.items[sha256] != before:
            moves.save(tx, before, fold.items[sha256])
    tx.add_submissions([fold.submissions[request_id] for request_id in fold.new_requests])
    tx.add_payloads([fold.payloads[request_id] for request_id in fold.new_requests])
    for _, decision in fold.decided:
        tx.add_decision(decision)
        events.tell(tx, decision)


def _urgency(flag: Flag, now: float) -> Urgency:
    """An audit sample waits as the mildest flag does, however severe the category it is near:
    it must not come before a flag that came with it, nor starve."""
    if flag.audit:
        return urgency_of(now=now, severity=1, score=0.0)
    return urgency_of(now=now, severity=flag.severity, score=flag.score)


def _new_item(fold: _Fold, flag: Flag) -> ItemRow:
    now = fold.now
    urgency = _urgency(flag, now)
    item = ItemRow(
        tenant=flag.tenant,
        item_id=moves.new_id(now),
        sha256=flag.sha256,
        state=State.READY,
        verdict=flag.verdict,
        category=flag.category,
        severity=flag.severity,
        reason_bits=bits_of(flag.reasons),
        audit=flag.audit,
        rank=urgency.rank,
        enqueued_at=now,
        due_at=urgency.due_at,
        shown_request_id=flag.request_id,
        reviews_needed=flag.reviews_needed,
        opened_at=now,
        blind=flag.blind,
    )
    return fold.groups.of_new(item, bits=flag.picture_hash, policy=flag.policy)


def _joined(fold: _Fold, item: ItemRow, flag: Flag) -> ItemRow:
    """The open item with one more flag: it only ever rises. An audit sample that a flag joins
    becomes that flag, and shows what the flag's uploader was told."""
    urgency = Urgency(rank=item.rank, due_at=item.due_at).improved_by(_urgency(flag, fold.now))
    raised = replace(
        item,
        submissions=item.submissions + 1,
        verdict=max(item.verdict, flag.verdict, key=lambda verdict: verdict.strength),
        rank=urgency.rank,
        due_at=urgency.due_at,
        reviews_needed=max(item.reviews_needed, flag.reviews_needed),
        blind=item.blind or flag.blind,
        version=item.version + 1,
    )
    if not item.audit:
        return raised
    risen = replace(
        raised,
        audit=False,
        category=flag.category,
        severity=flag.severity,
        reason_bits=bits_of(flag.reasons),
        shown_request_id=flag.request_id,
    )
    return fold.groups.of_risen(risen, policy=flag.policy)


def _submission(flag: Flag, item_id: str, now: float) -> SubmissionRow:
    return SubmissionRow(
        tenant=flag.tenant,
        request_id=flag.request_id,
        digest=flag.request_digest,
        item_id=item_id,
        received_at=now,
        verdict=flag.verdict,
        policy=flag.policy,
        policy_version=flag.policy_version,
        model_version=flag.model_version,
        reasons=flag.reasons,
        category=flag.category,
        severity=flag.severity,
        # No number means no knowledge, which ranks as the worst; NaN is NULL to a database.
        score=flag.score if math.isfinite(flag.score) else 1.0,
        audit=flag.audit,
        inclusion_probability=flag.inclusion_probability,
    )


def _payload(flag: Flag, answer: Answer, item_id: str) -> PayloadRow:
    if not flag.audit:  # the uploader of a sample was told of no item, and is not
        answer = {**answer, "item_id": item_id}  # all that the store adds
    return PayloadRow(
        tenant=flag.tenant,
        request_id=flag.request_id,
        answer=json.dumps(answer, separators=(",", ":"), sort_keys=True),
        surface=flag.surface,
        content_ref=flag.content_ref,
        uploader_ref=flag.uploader_ref,
        labels=dict(flag.labels),
    )


def _repeated(row: SubmissionRow, payload: PayloadRow) -> Recorded:
    item_id = "" if row.audit else row.item_id
    return Recorded(item_id=item_id, answer=payload.answer, repeated=True)
