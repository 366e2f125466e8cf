"""Delivers to one endpoint whenever this server can hold it."""

from __future__ import annotations

import logging

from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.webhooks.delivery import Delivery, Route

log = logging.getLogger(__name__)

STORE_PAUSE_S = 2.0
"""After the store did not answer."""
BROKEN_PAUSE_S = 15.0
"""After a mistake of ours."""


async def run_courier(route: Route) -> None:
    """Until cancelled; then the endpoint is let go, and the sender closed."""
    try:
        while True:
            try:
                pause = await _turn(route)
            except StoreUnavailable as problem:
                log.warning("webhooks wait for the store", extra=route.about(problem.message))
                pause = STORE_PAUSE_S
            except Exception:  # what the store keeps is whole; begin anew from there
                log.exception("delivery broke and begins anew", extra=route.about(""))
                pause = BROKEN_PAUSE_S
            await route.time.sleep(pause)
    finally:
        try:
            await route.outbox.release(route.receiver.endpoint, route.holding)
        except StoreUnavailable:
            pass  # the hold runs out by itself
        await route.sender.close()


async def _turn(route: Route) -> float:
    """Deliver while the endpoint is held; seconds until it is worth while to ask again."""
    begun = route.time.monotonic()
    held = await route.outbox.hold(route.receiver.endpoint, route.holding)
    later = route.holding.ttl_s / 4
    if held is None:
        return later
    if held.skipped:
        log.error(
            "events were removed before this endpoint was told",
            extra={"endpoint": route.receiver.endpoint.name, "events": held.skipped},
        )
    before = route.receiver.replay_before
    if before is not None:
        replayed = await route.outbox.replay(route.receiver.endpoint, dead_before=before)
        if replayed:
            log.info("dead letters are tried again", extra={**route.about(""), "events": replayed})
    if held.gone and held.gone == route.receiver.mark:
        return later
    delivery = Delivery(route, held, held_until=begun + route.holding.ttl_s)
    return later if await delivery.run() else 0.0
