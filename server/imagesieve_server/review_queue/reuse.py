"""An earlier decision on the same bytes, used again where the policy says so, and always for an
audit sample: a person's time is not spent twice on one picture to measure with.

Only people's decisions under the same policy are used again. A legal deletion is not: those
bytes go to a person, who is shown it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imagesieve_server.core.review import Cause, Flag, State
from imagesieve_server.review_queue import closing
from imagesieve_server.review_queue.closing import Word
from imagesieve_server.review_queue.rows import DecisionRow, ItemRow, Transaction

REUSABLE = frozenset({Cause.DECIDE, Cause.FOLLOW, Cause.REUSE_DECISION})


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The last decision in effect on some bytes that have no open item."""

    decision: DecisionRow
    item: ItemRow  # that was decided
    policy: str  # under which the bytes came then

    def serves(self, flag: Flag) -> bool:
        """Whether the flag becomes an item that is decided by it."""
        return flag.reuse_decision and not flag.audit and flag.policy == self.policy

    def answers(self, flag: Flag) -> bool:
        """Whether the decided item speaks for the audit sample, which needs none of its own.
        One whose picture was removed does not: a person shall look again."""
        return flag.audit and flag.policy == self.policy and self.item.state is State.DECIDED

    def used_for(self, item: ItemRow, flag: Flag) -> tuple[ItemRow, DecisionRow]:
        """The new item as it is decided from the start, and its decision."""
        item = replace(item, state=State.DECIDED, opened_by=Cause.REUSE_DECISION)
        now = item.enqueued_at
        word = Word(
            outcome=self.decision.outcome,
            cause=Cause.REUSE_DECISION,
            reviewer=self.decision.reviewer,
            labels=self.decision.labels,
            note=f"as decided in {self.decision.decision_id}",
            policy_version=flag.policy_version,
            model_version=flag.model_version,
        )
        row = closing.sealed(item, word, (), now=now, effective=True, round=item.round)
        spoken = replace(item, decisions=1, chain_head=row.hash, spoken_by=row.reviewer)
        return replace(spoken, decided_at=now), row


def look_up(tx: Transaction, tenant: str, flags: Sequence[Flag]) -> dict[str, Earlier]:
    """What may be used again for those flags that ask for it and for samples, by sha256."""
    wanted = sorted({flag.sha256 for flag in flags if flag.reuse_decision or flag.audit})
    if not wanted:
        return {}
    closed = tx.closed_decisions(tenant, wanted)
    items = tx.items(tenant, sorted({row.item_id for row in closed.values()}))
    shown = tx.submissions(tenant, [item.shown_request_id for item in items.values()])
    return {
        sha256: Earlier(
            decision=row,
            item=items[row.item_id],
            policy=shown[items[row.item_id].shown_request_id].policy,
        )
        for sha256, row in closed.items()
        if row.cause in REUSABLE
    }
