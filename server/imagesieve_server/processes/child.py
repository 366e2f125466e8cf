"""One process of a server of several: the encoder's, or a front end's.

Run as ``python -m imagesieve_server.processes.child CONTROL PARENT`` (an inherited descriptor and
the supervisor's process id). It ends when the supervisor closes the socket or dies; a front end
drains on SIGTERM, the encoder process does not heed it, for front ends that drain still need it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable

from prometheus_client import CollectorRegistry, generate_latest

from imagesieve_server import log_setup
from imagesieve_server.assembly import BehindEncoder, encoder_process, running
from imagesieve_server.blas_threads import one_thread_each
from imagesieve_server.child_process import die_with_the_parent, follow_only_the_parent
from imagesieve_server.core.errors import ImagesieveError
from imagesieve_server.garbage import collected_less
from imagesieve_server.processes.orders import Orders, Part, load_orders
from imagesieve_server.processes.reports import (
    LINE_MAX,
    Ready,
    answer_supervisor,
    say_problem,
    say_ready,
)

_ENCODER_SERIES = ("imagesieve_encoder", "imagesieve_model", "imagesieve_build", "process_")
"""What the encoder's process knows of; the other series are of front ends, and zeros of it would
say that a store is down."""


def main(arguments: list[str]) -> int:
    """Do what the supervisor says until it has enough. 1 where it cannot be done."""
    control_fd, parent = (int(word) for word in arguments)
    control = socket.socket(fileno=control_fd)
    with control.makefile("rb") as lines:
        orders = load_orders(lines.readline(LINE_MAX))
    if orders.part is Part.ENCODER:
        follow_only_the_parent(parent)
    else:
        die_with_the_parent(parent)
    log = orders.settings.log
    log_setup.set_up(level=log.level, style=log.format, process=orders.name)
    one_thread_each()
    try:
        asyncio.run(_run(orders, control))
    except ImagesieveError as problem:
        with contextlib.suppress(OSError):  # the supervisor may have gone, or have heard before
            say_problem(control, problem.for_operators)
        return 1
    return 0


async def _run(orders: Orders, control: socket.socket) -> None:
    stop = asyncio.Event()
    if orders.part is not Part.ENCODER:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with _part(orders, stop) as (ready, exposition):
        reader, writer = await asyncio.open_connection(sock=control.dup())
        say_ready(writer, ready)
        talk = asyncio.create_task(answer_supervisor(reader, writer, exposition))
        talk.add_done_callback(lambda _: stop.set())
        await stop.wait()


@contextlib.asynccontextmanager
async def _part(
    orders: Orders, stop: asyncio.Event
) -> AsyncIterator[tuple[Ready, Callable[[], bytes]]]:
    """The process at work: what to say of it, and its series."""
    settings = orders.settings
    if orders.part is Part.ENCODER:
        listening = socket.socket(fileno=orders.meeting)
        async with encoder_process(settings, listening=listening, on_broken=stop.set) as serving:
            with collected_less():
                ready = Ready(bundle=serving.bundle, provider=serving.provider)
                yield ready, lambda: _encoders(serving.registry)
        return
    where = BehindEncoder(door=orders.meeting, leading=orders.part is Part.LEADER)
    async with running(settings, where=where) as server:
        ready = Ready(
            bundle=server.bundle, policies=server.policies, console_port=server.console_port
        )
        yield ready, lambda: generate_latest(server.registry)


def _encoders(registry: CollectorRegistry) -> bytes:
    names = [
        name for family in registry.collect() for name in (sample.name for sample in family.samples)
        if name.startswith(_ENCODER_SERIES)
    ]  # fmt: skip
    return generate_latest(registry.restricted_registry(names))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
