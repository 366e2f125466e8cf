"""``imagesieve-server serve``: run the server until SIGTERM or SIGINT, then drain."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesieve_server import config, log_setup
from imagesieve_server.addresses import parse_address
from imagesieve_server.blas_threads import one_thread_each
from imagesieve_server.config import Settings

if TYPE_CHECKING:
    from imagesieve_server.assembly import Running
    from imagesieve_server.processes.supervisor import Running as SeveralRunning


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "serve",
        help="run the server",
        description="Runs until SIGTERM or SIGINT, then finishes the calls in flight. Without "
        "--config it serves the demo model and policy on 127.0.0.1 and keeps its queue in "
        "./imagesieve-data.",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML)")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    settings = config.load(args.config, os.environ)
    log_setup.set_up(level=settings.log.level, style=settings.log.format)
    one_thread_each()
    asyncio.run(serve(settings))
    return 0


async def serve(settings: Settings) -> None:
    """Run until a signal arrives."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with _server(settings, stop) as server:
        host = parse_address(settings.server.address, setting="server.address")[0]
        print(
            f"imagesieve-server: gRPC on {host}:{server.port}, "
            f"model {server.bundle}, policies {', '.join(server.policies)}"
            + (f", metrics on port {server.metrics_port}" if server.metrics_port else "")
            + (f", console on port {server.console_port}" if server.console_port else ""),
            file=sys.stderr,
            flush=True,
        )
        await stop.wait()


def _server(
    settings: Settings, stop: asyncio.Event
) -> contextlib.AbstractAsyncContextManager[Running | SeveralRunning]:
    if settings.server.front_ends > 1:
        from imagesieve_server.processes.supervisor import supervised

        return supervised(settings, stop=stop)
    from imagesieve_server.assembly import running

    return running(settings)
