"""grpc.health.v1: whether this server should be given work, per service.

    ""  and ModerationService   a policy is loaded and the encoder answers correctly
    ReviewService               the store answers (all replicas share it, so its trouble is
                                no reason to take a replica out of moderation)
    PolicyService               always

It asks the ports at intervals and says what it heard; it repairs nothing. The store's probe is
its queue statistics, which go to the metrics as well.
"""

from __future__ import annotations

import asyncio
import logging

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio

from imagesieve_server.core.errors import ImagesieveError
from imagesieve_server.core.ports import Encoder, Metrics, PolicySource, ReviewQueue

OVERALL = ""
MODERATION = "imagesieve.v1.ModerationService"
REVIEW = "imagesieve.v1.ReviewService"
POLICY = "imagesieve.v1.PolicyService"

log = logging.getLogger(__name__)


class HealthMonitor:
    """Keeps the health service's statuses true. Everything is NOT_SERVING until ``start``."""

    def __init__(
        self,
        *,
        encoder: Encoder,
        policies: PolicySource,
        queue: ReviewQueue,
        metrics: Metrics,
        encoder_interval_s: float = 0.5,
        store_interval_s: float = 5.0,
    ) -> None:
        self.servicer = aio.HealthServicer()
        self._encoder = encoder
        self._policies = policies
        self._queue = queue
        self._metrics = metrics
        self._encoder_interval_s = encoder_interval_s
        self._store_interval_s = store_interval_s
        self._statuses: dict[str, bool] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def prepare(self) -> None:
        """Say NOT_SERVING for every service; called before the port opens."""
        for service in (OVERALL, MODERATION, REVIEW, POLICY):
            await self._say(service, False)

    async def start(self) -> None:
        """Look once, then keep looking in the background."""
        await self._say(POLICY, True)
        await self.look_at_encoder()
        await self.look_at_store()
        self._tasks = [
            asyncio.create_task(self._repeat_encoder()),
            asyncio.create_task(self._repeat_store()),
        ]

    async def drain(self) -> None:
        """NOT_SERVING for everything, for good."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self.servicer.enter_graceful_shutdown()

    async def look_at_encoder(self) -> None:
        """Ask encoder and policies once."""
        ready = self._encoder.healthy and bool(self._policies.all())
        await self._say(OVERALL, ready)
        await self._say(MODERATION, ready)

    async def look_at_store(self) -> None:
        """Ask the store once; no answer within the interval counts as none."""
        try:
            async with asyncio.timeout(self._store_interval_s):
                stats = await self._queue.stats(tenant=None)
        except Exception as error:  # whatever it is, this loop must go on and say so
            if not isinstance(error, ImagesieveError | TimeoutError):
                log.exception("unexpected error while asking the store")
            self._metrics.store_error("stats")
            self._metrics.store_healthy(False)
            await self._say(REVIEW, False)
            return
        self._metrics.queue(stats)
        self._metrics.store_healthy(True)
        await self._say(REVIEW, True)

    async def _repeat_encoder(self) -> None:
        while True:
            await asyncio.sleep(self._encoder_interval_s)
            await self.look_at_encoder()

    async def _repeat_store(self) -> None:
        while True:
            await asyncio.sleep(self._store_interval_s)
            await self.look_at_store()

    async def _say(self, service: str, serving: bool) -> None:
        if self._statuses.get(service) == serving:
            return
        self._statuses[service] = serving
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        await self.servicer.set(service, status)
        log.info("health", extra={"health_service": service, "serving": serving})
