"""How many processors this process may use: fewer than the machine has where a container or a
service manager says so.

``os.cpu_count()`` and ONNX Runtime see the whole machine. Sixty-four threads with the time of four
cores are all stopped for most of each period, and the encoder with them. Reads the kernel's files
(sched(7), cgroups(7)); knows nothing of what the cores are for.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath


def usable_cores(root: Path = Path("/")) -> int:
    """The lesser of the affinity and the quota, rounded up; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:  # macOS
        allowed = os.cpu_count() or 1
    limit = quota(root)
    return allowed if limit >= allowed else max(1, math.ceil(limit))


def fewer_cores(root: Path = Path("/")) -> int:
    """``usable_cores`` where that is fewer than the machine has, 0 where it is all: libraries
    choose better than we where they may."""
    usable = usable_cores(root)
    return usable if usable < (os.cpu_count() or 1) else 0


def quota(root: Path) -> float:
    """Processor seconds a second of the control group and all above it; infinite without a limit,
    or where nothing can be read. ``root``: where ``proc`` and ``sys`` lie."""
    found = math.inf
    for line in _lines(root / "proc/self/cgroup"):
        match line.split(":", 2):
            case [_, "", path]:  # version 2
                tops, read = [""], _quota_v2
            case [_, controllers, path] if "cpu" in controllers.split(","):
                tops, read = ["cpu", controllers], _quota_v1  # not every system has the short name
            case _:
                continue
        for top, group in itertools.product(tops, _with_all_above(path)):
            found = min(found, read(root / "sys/fs/cgroup" / top / group))
    return found


def _with_all_above(path: str) -> Sequence[PurePosixPath]:
    """Inside a container the path may be the host's, and the top is the container's own: a limit
    may be at either. Of a group outside (".."), only the top is to be seen."""
    group = PurePosixPath(path.lstrip("/"))
    return [PurePosixPath()] if ".." in group.parts else [group, *group.parents]


def _quota_v2(group: Path) -> float:
    for line in _lines(group / "cpu.max"):
        share, _, period = line.partition(" ")
        return _ratio(share, period)
    return math.inf


def _quota_v1(group: Path) -> float:
    share, period = (_lines(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return _ratio(share[0], period[0]) if share and period else math.inf


def _ratio(share: str, period: str) -> float:
    """Infinite for "max", -1 and what is no number."""
    if share.isdecimal() and period.isdecimal() and int(share) > 0 and int(period) > 0:
        return int(share) / int(period)
    return math.inf


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii", "replace").splitlines()
    except OSError:
        return []
