"""Made-up work of webhooks for tests of the window and of the rules."""

from __future__ import annotations

from imagesieve_server.core.review import DecisionRecord, Outcome
from imagesieve_server.core.review_events import DecisionEvent
from imagesieve_server.core.webhook_port import Work


def made_work(position: int, item_id: str, *, kept: bool = False) -> Work:
    decision = DecisionRecord(
        decision_id=f"d{position}",
        item_id=item_id,
        round=1,
        outcome=Outcome.REJECT,
        labels=(),
        note="",
        reviewer="ann",
        decided_at=0.0,
        effective=True,
    )
    event = DecisionEvent(
        cursor="", decision=decision, request_id=f"r{position}", sha256="", labels={}
    )
    return Work(position=position, item_id=item_id, event=event, created_at=0.0, kept=kept)
