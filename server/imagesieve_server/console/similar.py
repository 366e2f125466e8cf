"""What people decided on pictures that look like this one, for whoever decides on it now.

Knows what may be shown: the outcome, its labels and when, over a veiled picture; nothing of the
item itself, whose own words ``blindness`` keeps, and nothing that tells a sample from a flag.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from imagesieve_server.console.sessions import Session
from imagesieve_server.console.words import OUTCOMES, ago, labels_in_words
from imagesieve_server.core.blindness import is_hidden
from imagesieve_server.core.errors import ImagesieveError
from imagesieve_server.core.groups import Alike
from imagesieve_server.core.ports import ReviewQueue
from imagesieve_server.core.review import Item

log = logging.getLogger(__name__)

SHOWN: Final = 6
_SAME: Final = 4  # bits of 256: the same picture saved anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """One decided item that looks like the one at hand."""

    item_id: str
    proof: str  # that it was shown beside what is in hand
    outcome: str  # in words
    labels: str
    when: str
    how_near: str


async def past_of(
    queue: ReviewQueue, session: Session, item: Item, *, titles: Mapping[str, str], now: float
) -> tuple[Past, ...]:
    """The nearest first. Other items of the very same bytes are told elsewhere, and a golden
    item's decision is the answer to its copies. None where the queue does not answer: the item
    stays reviewable."""
    try:
        found = await queue.similar(tenant=item.tenant, item_id=item.item_id, limit=2 * SHOWN)
    except ImagesieveError as error:
        log.warning("similar items cannot be looked up: %s", error)
        return ()
    name, leads = session.account.name, session.account.role.leads
    others = [
        one
        for one in found
        if one.item.sha256 != item.sha256 and not is_hidden(one.item, reviewer=name, leads=leads)
    ][:SHOWN]
    return tuple(_past(one, session, titles, now) for one in others)


def proof_of(session: Session, item_id: str) -> str:
    """What an address must carry for the veiled picture of an item that is not in hand. Made with
    the token of the lease, which no browser is told and which ends with it."""
    message = f"veiled {session.tenant} {item_id}".encode()
    return hmac.new(session.work.token.encode(), message, hashlib.sha256).hexdigest()[:32]


def may_see_veiled(session: Session, item_id: str, proof: str) -> bool:
    """Whether the item was shown beside the one in hand; leads see any."""
    if session.account.role.leads:
        return True
    known = proof_of(session, item_id).encode()
    return bool(session.work.token) and hmac.compare_digest(known, proof.encode())


def _past(one: Alike, session: Session, titles: Mapping[str, str], now: float) -> Past:
    decision = one.decision
    return Past(
        item_id=one.item.item_id,
        proof=proof_of(session, one.item.item_id),
        outcome=OUTCOMES[decision.outcome],
        labels=labels_in_words(decision.labels, titles),
        when=ago(now - decision.decided_at),
        how_near="almost the same" if one.distance <= _SAME else "similar",
    )
