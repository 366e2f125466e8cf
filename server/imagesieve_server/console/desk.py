"""A reviewer's desk: claim, keep, decide, skip, undo, over the ReviewQueue port.

Knows sessions and the queue; no HTTP. What is in hand is kept with the session before the
queue is asked, so that a crash between the two leaves nothing that cannot be found again.
"""

from __future__ import annotations

import dataclasses
import secrets
from dataclasses import dataclass

from imagesieve_server.console.breaks import Breaks
from imagesieve_server.console.exposure import Exposure, limit_reached
from imagesieve_server.console.sessions import Session, Sessions, Work
from imagesieve_server.console.words import OUTCOMES, UNDONE_BY_REVIEWER
from imagesieve_server.core.errors import (
    DecisionConflict,
    InvalidRequest,
    ItemNotFound,
    LeaseLost,
    RequestError,
)
from imagesieve_server.core.ports import ReviewQueue
from imagesieve_server.core.review import (
    LEASE_S,
    Cause,
    ClaimRequest,
    DecideRequest,
    DecisionRecord,
    Item,
    Lease,
    Outcome,
    State,
)
from imagesieve_server.core.review_afterwards import ReopenRequest

LOST = (
    "The item before this one went back to the queue: its time was over, or somebody else "
    "settled it. Nothing was recorded from you."
)

STANDS = (
    "What you pressed first was recorded: that item was {}. What you pressed afterwards changed "
    "nothing; undo it to decide anew."
)

NOT_FREE = (
    "That item could not be taken: somebody else has it, it was settled, or you reviewed it "
    "already."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What reviewers do, one session at a time. Every method may raise StoreUnavailable."""

    queue: ReviewQueue
    sessions: Sessions
    exposure: Exposure
    breaks: Breaks

    async def in_hand(self, session: Session) -> tuple[Session, Lease | None]:
        """The item in hand with its lease prolonged; None where there is none (any more)."""
        work = session.work
        if not work.item_id:
            return session, None
        try:
            lease = await self.queue.extend(
                tenant=session.tenant, item_id=work.item_id, token=work.token, lease_s=LEASE_S
            )
        except (ItemNotFound, LeaseLost):
            return await self._lost(session), None
        return session, lease

    async def next(self, session: Session) -> tuple[Session, Lease | None]:
        """The item in hand, or else a new one; None where nothing is ready."""
        session, lease = await self.in_hand(session)
        if lease is not None:
            return session, lease
        session, categories = await self._may_come(session)
        if categories is None:
            work = dataclasses.replace(session.work, nothing=True)
            return await self.sessions.save(session, work), None
        for tier in session.account.role.tiers:
            session, lease = await self._claim(session, tier, categories=categories)
            if lease is not None:
                return session, lease
        work = dataclasses.replace(session.work, nothing=True)
        return await self.sessions.save(session, work), None

    async def decide(
        self, session: Session, *, item_id: str, outcome: Outcome, labels: tuple[str, ...],
        note: str,
    ) -> Session:  # fmt: skip
        """Record a decision on the item in hand. A second press, for an item not in hand any more,
        changes nothing, and where it says something else it is told so.

        Raises InvalidRequest.
        """
        work = session.work
        if work.item_id != item_id:
            if work.last_item_id != item_id:
                return await self._lost(session, keep_hand=True)
            return session if work.last_outcome == outcome else await self._stands(session)
        if outcome is Outcome.REJECT and not labels:
            raise InvalidRequest("labels", "choose at least one label for a rejection")
        if outcome is Outcome.ESCALATE and work.tier >= max(session.account.role.tiers) >= 3:
            raise InvalidRequest("outcome", "there is nobody to escalate to")
        request = DecideRequest(
            tenant=session.tenant, item_id=item_id, token=work.token,
            reviewer=session.account.name, outcome=outcome, labels=labels, note=note,
        )  # fmt: skip
        try:
            record = await self.queue.decide(request)
        except (ItemNotFound, LeaseLost):
            return await self._lost(session)
        except DecisionConflict:
            return await self._conflict(session)
        session = await self.sessions.save(session, _decided(work, record))
        await self.sessions.note(session, item_id=item_id, what=outcome.value)
        return session

    async def skip(self, session: Session, *, item_id: str) -> Session:
        """Give the item in hand back, for somebody else or for later."""
        work = session.work
        if work.item_id != item_id:
            decided = item_id and work.last_item_id == item_id
            return await self._stands(session) if decided else session
        await self._give_back(session)
        skipped = work.without_item().remembering(skipped=item_id)
        session = await self.sessions.save(session, skipped)
        await self.sessions.note(session, item_id=item_id, what="SKIP")
        return session

    async def take(self, session: Session, *, item_id: str) -> Session:
        """Take one item out of its turn; what was in hand goes back. Raises ItemNotFound."""
        if session.work.item_id == item_id:
            return session
        item = await self.queue.get(tenant=session.tenant, item_id=item_id)
        if item.tier not in session.account.role.tiers:
            return await self._tell(session, "That item waits for another tier.")
        await self._give_back(session)
        session = await self.sessions.save(session, session.work.without_item())
        session, lease = await self._claim(session, item.tier, item_id=item_id)
        if lease is None:
            return await self._tell(session, NOT_FREE)
        return session

    async def take_skipped(self, session: Session) -> Session:
        """Skipped items may come again."""
        work = dataclasses.replace(session.work, skipped=(), nothing=False)
        return await self.sessions.save(session, work)

    async def undo(self, session: Session) -> Session:
        """Take the last decision back and take its item in hand again.

        What was in hand goes back to the queue.
        """
        work = session.work
        if not work.last_item_id:
            return await self._tell(session, "There is no decision to undo.")
        item = await self._reopened(session)
        if item is None or item.state is not State.READY:
            why = "It cannot be undone here: somebody else has it, or it was settled since."
            if work.last_outcome == Outcome.ESCALATE:
                why = "An escalation cannot be undone: the next tier has it."
            return await self._tell(session, why)
        await self._give_back(session)
        cleared = dataclasses.replace(
            work.without_item(), last_item_id="", last_decision_id="", last_outcome="",
            decided=max(0, work.decided - 1),
        )  # fmt: skip
        session = await self.sessions.save(session, cleared)
        await self.sessions.note(session, item_id=item.item_id, what="UNDO")
        session, lease = await self._claim(session, item.tier, item_id=item.item_id)
        told = "Undone. Here it is again." if lease else "Undone; the item is back in the queue."
        return await self._tell(session, told)

    async def leave(self, session: Session) -> None:
        """Give back what is in hand, for whoever signs out or goes to another tenant."""
        await self._give_back(session)

    async def revealed(self, session: Session, item_id: str) -> Session:
        """Remember that this session may see the item's picture."""
        return await self.sessions.save(session, session.work.remembering(revealed=item_id))

    async def told(self, session: Session) -> tuple[Session, str]:
        """What there is to tell, once."""
        message = session.work.message
        if not message:
            return session, ""
        work = dataclasses.replace(session.work, message="")
        return await self.sessions.save(session, work), message

    async def _claim(
        self, session: Session, tier: int, *, item_id: str = "", categories: tuple[str, ...] = ()
    ) -> tuple[Session, Lease | None]:
        work = session.work
        if not work.claim_id or work.tier != tier or item_id:
            claim_id = f"console-{secrets.token_hex(12)}"
            work = dataclasses.replace(work, claim_id=claim_id, tier=tier)
            session = await self.sessions.save(session, work)
        request = ClaimRequest(
            tenant=session.tenant, reviewer=session.account.name, claim_id=work.claim_id,
            tier=tier, item_id=item_id, excluding=work.skipped,
            categories=categories,
        )  # fmt: skip
        lease = await self.queue.claim(request)
        if lease is None:
            return session, None
        work = dataclasses.replace(
            work, item_id=lease.item.item_id, token=lease.token, nothing=False
        )
        return await self.sessions.save(session, work), lease

    async def _may_come(self, session: Session) -> tuple[Session, tuple[str, ...] | None]:
        """The categories that may come to the person now, as ``Exposure.categories`` says; a
        limit that was just reached, and a break that is due, are told."""
        highest = await self.exposure.highest(session.account)
        before = session.work.highest
        work, told = self.breaks.noted(dataclasses.replace(session.work, highest=highest))
        if highest < before:
            told = " ".join(filter(None, (limit_reached(highest), told)))
        if told:
            work = dataclasses.replace(work, message=" ".join(filter(None, (work.message, told))))
        if work != session.work:
            session = await self.sessions.save(session, work)
        return session, self.exposure.categories(highest, work.categories)

    async def _reopened(self, session: Session) -> Item | None:
        work = session.work
        request = ReopenRequest(
            tenant=session.tenant, item_id=work.last_item_id, cause=Cause.UNDO,
            decision_id=work.last_decision_id, note=UNDONE_BY_REVIEWER,
            actor=session.account.name,
        )  # fmt: skip
        before = await self.queue.get(tenant=session.tenant, item_id=work.last_item_id)
        if before.state is not State.DECIDED:
            return None
        try:
            return await self.queue.reopen(request)
        except RequestError:
            return None

    async def _give_back(self, session: Session) -> None:
        work = session.work
        if not work.item_id:
            return
        try:
            await self.queue.release(tenant=session.tenant, item_id=work.item_id, token=work.token)
        except (ItemNotFound, LeaseLost):
            pass  # it has gone already, which is what was asked for

    async def _lost(self, session: Session, *, keep_hand: bool = False) -> Session:
        work = session.work if keep_hand else session.work.without_item()
        return await self.sessions.save(session, dataclasses.replace(work, message=LOST))

    async def _stands(self, session: Session) -> Session:
        return await self._tell(
            session, STANDS.format(OUTCOMES[Outcome(session.work.last_outcome)])
        )

    async def _conflict(self, session: Session) -> Session:
        """A first press was recorded, and its answer lost before the session heard of it."""
        work, name = session.work, session.account.name
        item = await self.queue.get(tenant=session.tenant, item_id=work.item_id)
        mine = [record for record in item.decisions if record.reviewer == name]
        session = await self.sessions.save(session, _decided(work, mine[-1]))
        await self.sessions.note(session, item_id=work.item_id, what=mine[-1].outcome.value)
        return await self._stands(session)

    async def _tell(self, session: Session, message: str) -> Session:
        work = dataclasses.replace(session.work, message=message)
        return await self.sessions.save(session, work)


def _decided(work: Work, record: DecisionRecord) -> Work:
    return dataclasses.replace(
        work.without_item(),
        last_item_id=record.item_id,
        last_decision_id=record.decision_id,
        last_outcome=record.outcome.value,
        decided=work.decided + 1,
    )
