"""Starts what tells other services of decisions, where the settings name a file of endpoints.

What makes HTTP requests is imported late: a server that tells nobody loads nothing of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from imagesieve_server.background import run_until_closed
from imagesieve_server.config import Settings
from imagesieve_server.metrics.recorder import PrometheusMetrics
from imagesieve_server.review_queue.webhook_outbox import StoreOutbox
from imagesieve_server.review_queue.writer import QueueWriter

if TYPE_CHECKING:
    from imagesieve_server.kept_files import Kept
    from imagesieve_server.webhooks.endpoints import Receivers
    from imagesieve_server.webhooks.post_office import PostOffice


async def start_webhooks(
    settings: Settings,
    queue: QueueWriter,
    metrics: PrometheusMetrics,
    stack: contextlib.AsyncExitStack,
) -> None:
    """Deliver until the stack closes. Raises ConfigError."""
    if not settings.webhooks.endpoints:
        return
    from imagesieve_server.webhooks.endpoints import Receiver, kept_receivers
    from imagesieve_server.webhooks.post_office import PostOffice, RealTime
    from imagesieve_server.webhooks.sender import HttpSender

    receivers = kept_receivers(Path(settings.webhooks.endpoints), metrics=metrics)
    receivers.load()
    trust = await asyncio.to_thread(ssl.create_default_context)
    user_agent = f"imagesieve/{metadata.version('imagesieve')}"

    def sender_to(receiver: Receiver) -> HttpSender:
        return HttpSender(
            receiver=receiver, trust=trust, user_agent=user_agent, wall_clock=time.time
        )

    office = PostOffice(
        outbox=StoreOutbox(calls=queue.calls),
        make_sender=sender_to,
        metrics=metrics,
        time=RealTime(),
        # Nobody else can have an SQLite file open: what a killed server held is this one's.
        holder="" if settings.queue.is_postgres else "the one server",
    )
    stack.push_async_callback(office.close)
    await office.put_in_force(receivers.value)
    run_until_closed(stack, office.count())
    run_until_closed(stack, _follow(receivers, office, every_s=settings.server.watch_seconds))


async def _follow(receivers: Kept[Receivers], office: PostOffice, *, every_s: float) -> None:
    """Put in force what the files say, whenever they say something else that is good."""
    in_force = receivers.value
    while True:
        await asyncio.sleep(every_s)
        await receivers.look()
        if receivers.value is not in_force:
            in_force = receivers.value
            await office.put_in_force(in_force)
