"""The processes of a server that runs in a session of its own: one that lost its parent is below
the server no more, but still in its session, and in its process group unless it chose another.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from imagesieve_server.commands.bench.process_cost import family


def send(number: int, pid: int) -> None:
    """A signal to a process, everything below it and, where it leads one, its process group: who
    lost its parent is in that only. What ended meanwhile needs none."""
    for member in family(pid):
        with suppress(ProcessLookupError):
            os.kill(member, number)
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def no_strays(pid: int) -> None:
    """Raises SystemExit where a process of the session that this one leads is not below it: its
    processor time would not be counted."""
    below = set(family(pid))
    if strays := [member for member in session(pid) if member not in below]:
        raise SystemExit(f"processes {strays} of the server {pid} have lost their parent")


def session(pid: int) -> list[int]:
    """Every process of the session that this one leads, those that have ended left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended just now
            state, _, _, leader = path.read_text().rpartition(")")[2].split()[:4]
            if int(leader) == pid and state != "Z":
                found.append(int(path.parent.name))
    return found
