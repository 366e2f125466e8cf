"""What may happen to an item after its decision: it is contested, or its bytes are erased.

Values that cross the queue's port; the rules are the table in ``core/review.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from imagesieve_server.core.review import Cause, DecisionRecord

REOPENING = (Cause.APPEAL, Cause.UNDO, Cause.OVERTURN)
"""Why a decided item may be reviewed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReopenRequest:
    tenant: str
    item_id: str
    cause: Cause  # one of REOPENING
    decision_id: str = ""  # the contested decision; empty: the one in effect
    note: str = ""  # shown to the next reviewer
    actor: str = ""  # who asks


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseRequest:
    """Names the bytes by their hash or by an item that has them."""

    tenant: str
    reason: str  # for the record; it outlives what is erased
    sha256: str = ""
    item_id: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What a legal deletion left behind: its own record, the same however often it is asked."""

    sha256: str
    decisions: tuple[DecisionRecord, ...]  # cause LEGAL_DELETE, one for each item of the bytes
