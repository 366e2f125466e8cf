"""Builds both ends of an encoder that several front ends share: its process, and the way to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from importlib import metadata

from prometheus_client import CollectorRegistry

from imagesieve_server.assembly.giving_up import HasHealth, down_for_long
from imagesieve_server.assembly.judging import build_encoder
from imagesieve_server.background import run_until_closed
from imagesieve_server.config import Settings
from imagesieve_server.encoders.opening import provider_of
from imagesieve_server.encoders.runtime import refuse_two_runtimes
from imagesieve_server.metrics.recorder import PrometheusMetrics
from imagesieve_server.shared_encoder.meeting import connect_through
from imagesieve_server.shared_encoder.remote import RemoteEncoder, RemoteOptions
from imagesieve_server.shared_encoder.service import EncoderService, PacedEncoder

_LEAST_SILENCE_S = 10.0  # the encoder process speaks each second
_HOPELESS_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BehindEncoder:
    """Where a front end stands among the processes of its server."""

    door: int  # file descriptor of the way to the encoder process
    leading: bool  # does what one process does for all


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderServing:
    """An encoder process that answers."""

    bundle: str  # the model's name
    provider: str  # the word of the settings for where it computes; never auto
    registry: CollectorRegistry


@contextlib.asynccontextmanager
async def encoder_process(
    settings: Settings,
    *,
    listening: socket.socket,
    on_broken: Callable[[], None],
    hopeless_s: float | None = None,
) -> AsyncIterator[EncoderServing]:
    """Serve the encoder on a listening socket. ``on_broken`` is called where that ends by itself,
    or where the encoder has been down for ``hopeless_s``, by default as long as the settings say.

    Raises StartupError subclasses."""
    refuse_two_runtimes()
    metrics = PrometheusMetrics(
        registry=CollectorRegistry(), version=metadata.version("imagesieve")
    )
    services: list[EncoderService] = []

    def tell() -> None:
        for service in services:
            service.tell_state()

    async with contextlib.AsyncExitStack() as stack:
        encoder = await build_encoder(settings, metrics, stack, on_down=tell)
        service = EncoderService(encoder=encoder, listening=listening)
        services.append(service)
        stack.push_async_callback(service.close)
        run_until_closed(stack, _run(service, on_broken))
        seconds = hopeless_after_s(settings) if hopeless_s is None else hopeless_s
        run_until_closed(stack, _give_up(encoder, on_broken, seconds))
        yield EncoderServing(
            bundle=encoder.spec.name,
            provider=provider_of(encoder.spec),
            registry=metrics.registry,
        )


def hopeless_after_s(settings: Settings) -> float:
    """An encoder down for so long is given up with its process, which the supervisor starts anew.

    Not while one whose runs are long comes back. Four of them may come one after the other before
    it is well: one in hand on another lane and its canary, then the canary, and that again in the
    batch size that failed. On a device that works none takes over half of what a run may."""
    return max(_HOPELESS_S, 2 * settings.model.hang_seconds)


async def _run(service: EncoderService, on_broken: Callable[[], None]) -> None:
    try:
        await service.run()
    except asyncio.CancelledError:
        raise
    except BaseException:
        on_broken()
        raise


async def _give_up(encoder: HasHealth, on_broken: Callable[[], None], seconds: float) -> None:
    await down_for_long(encoder, seconds=seconds)
    on_broken()


async def the_encoder(
    settings: Settings,
    where: BehindEncoder | None,
    metrics: PrometheusMetrics,
    stack: contextlib.AsyncExitStack,
    *,
    on_down: Callable[[], None],
) -> PacedEncoder:
    """The encoder of this process (``where`` is None), or the one that it shares. Raises
    StartupError."""
    if where is None:
        return await build_encoder(settings, metrics, stack, on_down=on_down)
    door = where.door
    remote = RemoteEncoder(
        connect=lambda: connect_through(door),
        metrics=metrics,
        options=RemoteOptions(
            capacity=settings.server.max_in_flight_views,
            silent_s=max(_LEAST_SILENCE_S, settings.model.hang_seconds),
        ),
        on_down=on_down,
    )
    stack.push_async_callback(remote.close)
    await remote.start()
    return remote
