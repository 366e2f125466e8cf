"""An encoder behind a service and a remote encoder before it, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from imagesieve_server.shared_encoder.meeting import connect_through, open_meeting_point
from imagesieve_server.shared_encoder.remote import RemoteEncoder, RemoteOptions
from imagesieve_server.shared_encoder.service import EncoderService, PacedEncoder


class Health:
    """What a remote encoder reports, kept."""

    def __init__(self) -> None:
        self.health: list[bool] = []

    def encoder_healthy(self, healthy: bool) -> None:
        self.health.append(healthy)


@asynccontextmanager
async def served(encoder: PacedEncoder) -> AsyncIterator[tuple[EncoderService, int]]:
    """A service, and the door to it."""
    point = open_meeting_point()
    service = EncoderService(encoder=encoder, listening=point.listening, beat_s=0.05)
    running = asyncio.create_task(service.run())
    try:
        yield service, point.door
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await service.close()
        await asyncio.sleep(0.01)
        point.close()


@asynccontextmanager
async def connected(
    door: int,
    *,
    capacity: int = 512,
    silent_s: float = 20.0,
    metrics: Health | None = None,
    on_down: Callable[[], None] = lambda: None,
) -> AsyncIterator[RemoteEncoder]:
    """A remote encoder that has heard from the service."""
    remote = RemoteEncoder(
        connect=lambda: connect_through(door),
        metrics=metrics or Health(),
        options=RemoteOptions(capacity=capacity, silent_s=silent_s, retry_s=0.02),
        on_down=on_down,
    )
    await remote.start()
    try:
        yield remote
    finally:
        await remote.close()


@asynccontextmanager
async def remote_over(
    encoder: PacedEncoder, *, capacity: int = 512
) -> AsyncIterator[RemoteEncoder]:
    """Both."""
    async with served(encoder) as (_, door), connected(door, capacity=capacity) as remote:
        yield remote
