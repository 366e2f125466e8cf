"""The Encoder port in a front end: an encoder that lives in another process of this machine.

Knows connecting, health and silence; refuses to know rows and records (``link``). While the
encoder process is away its callers get EncoderUnavailable at once, and it is looked for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from imagesieve_server.core.errors import DeadlinePassed, EncoderUnavailable, ShuttingDown
from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.shared_encoder.greeting import hear_spec, shape_of, share
from imagesieve_server.shared_encoder.link import Link
from imagesieve_server.shared_encoder.records import BadRecord, Tell
from imagesieve_server.shared_encoder.rows import create_rows

log = logging.getLogger(__name__)


class HealthMetrics(Protocol):
    """What is reported; see ``core.ports.Metrics``. Batches are the encoder process's."""

    def encoder_healthy(self, healthy: bool) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOptions:
    """Settings; times in seconds."""

    capacity: int  # rows in shared memory: views that can be under way at once
    silent_s: float = 60.0  # without a word for so long the encoder process counts as gone
    retry_s: float = 0.5  # between attempts to connect; longer each time what is met is refused
    longest_retry_s: float = 30.0


class RemoteEncoder:
    """The Encoder port over one connection at a time. Use from one event loop."""

    def __init__(
        self,
        *,
        connect: Callable[[], socket.socket],
        metrics: HealthMetrics,
        options: RemoteOptions,
        on_down: Callable[[], None] = lambda: None,
    ) -> None:
        """``connect`` makes a connection to the encoder process, or raises OSError. ``on_down``
        is called when the encoder is found to be down: what it said may be wrong."""
        self._connect = connect
        self._metrics = metrics
        self._options = options
        self._on_down = on_down
        self._spec: EncoderSpec | None = None
        self._link: Link | None = None
        self._healthy = False
        self._rows_per_s = 1.0  # until the encoder process says
        self._closed = False
        self._known = asyncio.Event()  # the first state was heard
        self._keeper: asyncio.Task[None] | None = None

    @property
    def spec(self) -> EncoderSpec:
        assert self._spec is not None, "start() comes first"
        return self._spec

    @property
    def healthy(self) -> bool:
        return self._healthy

    @property
    def rows_per_s(self) -> float:
        """What the encoder does for all front ends together."""
        return self._rows_per_s

    async def start(self) -> None:
        """Wait for the encoder process, however long it warms up; ``healthy`` says how it is."""
        self._keeper = asyncio.create_task(self._keep_connected(), name="encoder-connection")
        await self._known.wait()

    async def close(self) -> None:
        """Fail whoever still waits, and stop."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._link is not None:
            self._link.end(ShuttingDown("the server is shutting down"))
        self._set_health(False)
        await asyncio.sleep(0)  # lets the loop close the socket

    async def encode(self, pixels: Pixels, *, deadline: float) -> Embeddings:
        """See ``core.ports.Encoder.encode``; ValueError for pixels of another shape or type."""
        side = self.spec.preprocessing.size
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (side, side, 3):
            raise ValueError(f"expected uint8 [V, {side}, {side}, 3]")  # must not reach a batch
        if self._closed:
            raise ShuttingDown("the server is shutting down")
        if not self._healthy or self._link is None:
            raise EncoderUnavailable("the encoder is down")
        if deadline <= time.monotonic():
            raise DeadlinePassed("the deadline passed before the picture was encoded")
        if len(pixels) == 0:
            return np.empty((0, self.spec.embedding_size), dtype=np.float32)
        return await self._link.encode(pixels, deadline=deadline)

    # --- the connection -----------------------------------------------------------------

    async def _keep_connected(self) -> None:
        pause = self._options.retry_s
        while True:
            try:
                self._link = await self._open()
            except (OSError, BadRecord) as problem:
                log.warning("no encoder process", extra={"problem": str(problem)})
                if isinstance(problem, BadRecord):  # it will hardly be another one soon
                    pause = min(2 * pause, self._options.longest_retry_s)
            else:
                await self._until_gone(self._link)
                self._link = None
                self._set_health(False)
                pause = self._options.retry_s
            # After a connection as well: one that ends at once would be made again at once.
            await asyncio.sleep(pause)

    async def _open(self) -> Link:
        """A connection with rows of its own. Raises OSError, BadRecord."""
        connection = self._connect()
        try:
            connection.setblocking(False)
            spec = await hear_spec(connection)
            if self._spec is not None and spec != self._spec:
                # Policies and kept embeddings are the first model's.
                raise BadRecord(
                    "the encoder process has another model or provider; restart the server"
                )
            rows, fd = create_rows(shape_of(spec, self._options.capacity))
            try:
                await share(connection, fd, self._options.capacity)
            finally:
                os.close(fd)
            self._spec = spec
            link = Link(rows=rows, on_state=self._heard)
            await asyncio.get_running_loop().create_connection(lambda: link, sock=connection)
        except BaseException:
            connection.close()
            raise
        return link

    async def _until_gone(self, link: Link) -> None:
        silent_s = self._options.silent_s
        while not link.lost.is_set():
            left = link.heard_at + silent_s - time.monotonic()
            if left <= 0:
                log.error("the encoder process is silent", extra={"seconds": silent_s})
                link.end(EncoderUnavailable("the encoder hangs"))
                return
            try:
                async with asyncio.timeout(left):
                    await link.lost.wait()
            except TimeoutError:
                continue

    def _heard(self, state: Tell) -> None:
        self._rows_per_s = state.number
        self._set_health(state.healthy)
        self._known.set()

    def _set_health(self, healthy: bool) -> None:
        self._healthy = healthy
        self._metrics.encoder_healthy(healthy)
        if not healthy:
            self._on_down()
