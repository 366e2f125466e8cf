"""The supervisor's side of one process: start it, talk to it, end it.

Knows one process from its start to its end. It refuses to start it again; ``supervisor`` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Sequence

from imagesieve_server.processes.environment import environment_of
from imagesieve_server.processes.orders import Orders
from imagesieve_server.processes.reports import LINE_MAX, ChildTalk

log = logging.getLogger(__name__)


class OneProcess:
    """A process of this server. Made by ``start_process``."""

    def __init__(self, process: asyncio.subprocess.Process, talk: ChildTalk, name: str) -> None:
        self.name = name
        self.talk = talk
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ended(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        return await self._process.wait()

    def drain(self) -> None:
        """SIGTERM: a front end finishes its calls, the encoder process does not heed it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self, *, within_s: float, killed_s: float) -> bool:
        """Close its socket, which ends it; kill it where it is not gone ``within_s`` seconds
        later. Repeats safely.

        False where it is there ``killed_s`` seconds after that: while a driver or a disk has it,
        no signal ends a process."""
        self.talk.close()
        if await self._gone(within_s=within_s):
            return True
        self.kill()
        if await self._gone(within_s=killed_s):
            return True
        log.error("a killed process does not go", extra={"part": self.name, "pid": self.pid})
        return False

    async def _gone(self, *, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                await self._process.wait()
        except TimeoutError:
            return False
        return True


CHILD = (sys.executable, "-P", "-m", "imagesieve_server.processes.child")


async def start_process(orders: Orders, *, command: Sequence[str] = CHILD) -> OneProcess:
    """A fresh interpreter, never a fork. Raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            str(theirs.fileno()),
            str(os.getpid()),
            pass_fds=(theirs.fileno(), orders.meeting),
            stdin=asyncio.subprocess.DEVNULL,
            env=environment_of(orders.part, os.environ),
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_MAX)
    writer.write(orders.dump())
    return OneProcess(process, ChildTalk(reader, writer), orders.name)
