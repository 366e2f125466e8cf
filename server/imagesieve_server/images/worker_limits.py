"""What a decode worker may use, enforced by the kernel.

Knows rlimits, prctl and signals. It refuses to decode; ``worker`` calls it before the first
image and before each. Where a system lacks a limit (macOS has no address-space limit and no
parent-death signal), the others hold, and the parent's kill by the clock always does.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_OPEN_FILES: Final = 64  # its slots, its control socket, and modules that load late


def follow_only_the_parent(parent: int) -> None:
    """Die when the parent does; ignore signals that are meant for the server.

    A service manager and Ctrl-C signal the whole process group, and the server still needs
    its workers while it drains.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:  # it died before the signal was armed
        sys.exit(0)


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


def _lower(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))
