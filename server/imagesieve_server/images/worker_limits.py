"""What a decode worker may use, enforced by the kernel.

Knows rlimits. It refuses to decode; ``worker`` calls it before the first image and before each.
Where a system lacks a limit (macOS has none of address space), the others hold, and the parent's
kill by the clock always does.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Final

_NICE: Final = 5  # more than others: a third of the weight, as Linux weighs it
_NICEST: Final = 19
_OPEN_FILES: Final = 64  # its slots, its control socket, and modules that load late


def limit_memory_and_files(memory_bytes: int) -> None:
    """No files, no core dumps, and ``memory_bytes`` of address space beyond the present."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    with contextlib.suppress(OSError):
        # Where memory runs out altogether, the kernel shall take a worker and not the server.
        Path("/proc/self/oom_score_adj").write_text("1000")
    _lower(resource.RLIMIT_FSIZE, 0)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + memory_bytes)


def allow_cpu(budget_s: float) -> None:
    """Let this process use ``budget_s`` seconds of processor time from now, then die.

    RLIMIT_CPU counts from the start of the process, in whole seconds.
    """
    limit = math.ceil(time.process_time() + budget_s)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def give_way() -> None:
    """Let others go first on the processor, for the rest of this thread's life.

    A third of the weight of a thread of ordinary priority; alone it loses nothing. Priority is
    a thread's own on Linux only, and nobody without privileges gets it back.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # where a sandbox forbids it, all are equal
            niceness = os.getpriority(os.PRIO_PROCESS, thread) + _NICE
            os.setpriority(os.PRIO_PROCESS, thread, min(niceness, _NICEST))


def _lower(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))
