"""Where front ends find the encoder process: a Unix socket without a name.

Knows one listening socket and a descriptor that leads to it. It has no path that anybody else
could open and leaves nothing behind; who inherits the descriptor may connect. The supervisor
keeps it open, so that connections wait while an encoder process is started again. Linux only.
"""

from __future__ import annotations

import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

_WAITING = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingPoint:
    """Both ends, to be inherited."""

    listening: socket.socket  # for the encoder process
    door: int  # file descriptor for front ends

    def close(self) -> None:
        """For the process that made it; children keep theirs."""
        self.listening.close()
        os.close(self.door)


def open_meeting_point() -> MeetingPoint:
    """A new one. Raises OSError."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with tempfile.TemporaryDirectory(prefix="imagesieve-") as folder:  # for its owner only
        path = Path(folder) / "encoder"
        listening.bind(str(path))
        listening.listen(_WAITING)
        door = os.open(path, os.O_PATH | os.O_CLOEXEC)
    return MeetingPoint(listening=listening, door=door)


def connect_through(door: int) -> socket.socket:
    """A connection to whoever listens, now or later. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.connect(f"/proc/self/fd/{door}")
    except OSError:
        connection.close()
        raise
    return connection
