"""What a process costs, as Linux counts it: processor time by thread, memory with its children."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from imagesieve_server.core.errors import StartupError

PROC = Path("/proc")


def thread_cpu_s(pid: int) -> dict[int, float]:
    """Seconds on a processor by thread, to the nanosecond; threads that ended are not in it.

    Raises StartupError where the kernel does not say.
    """
    found = {}
    for task in (PROC / str(pid) / "task").iterdir():
        try:
            found[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
        except FileNotFoundError:
            if task.exists():  # else it ended just now
                raise StartupError(
                    "this kernel has no schedstat, which this measure needs"
                ) from None
        except ProcessLookupError:
            pass  # it ended while it was read
    return found


def spent_between(
    before: dict[int, float], after: dict[int, float], *, without: frozenset[int] = frozenset()
) -> float:
    """Processor seconds between two looks, some threads left out."""
    return sum(
        seconds - before.get(thread, 0.0)
        for thread, seconds in after.items()
        if thread not in without
    )


def family_thread_cpu_s(pid: int) -> dict[int, float]:
    """``thread_cpu_s`` of a process and all below it; whoever ended is not in it."""
    found: dict[int, float] = {}
    for member in family(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended just now
            found |= thread_cpu_s(member)
    return found


def family_cpu_s(pid: int) -> float:
    """The sum of ``family_thread_cpu_s``."""
    return sum(family_thread_cpu_s(pid).values())


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and all below it; shared pages count in each of them."""
    return sum(_resident(member) for member in family(pid))


def family(pid: int) -> list[int]:
    """The process and everything below it."""
    parents = dict(_parents())
    found = [pid]
    for member in found:  # grows while it is walked
        found += [child for child, parent in parents.items() if parent == member]
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for path in PROC.glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:  # it ended just now
            continue
        # The name in parentheses may hold anything; what follows its last one is fixed.
        yield int(path.parent.name), int(text.rpartition(")")[2].split()[1])


def _resident(pid: int) -> int:
    try:
        text = (PROC / str(pid) / "status").read_text()
    except OSError:
        return 0
    sizes = [line.split()[1] for line in text.splitlines() if line.startswith("VmRSS:")]
    return int(sizes[0]) * 1024 if sizes else 0
