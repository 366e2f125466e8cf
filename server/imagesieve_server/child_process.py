"""What a process of ours does as the child of another: it goes when its parent goes.

Knows signals and prctl. It refuses to start or to end anything. Where a system has no
parent-death signal (macOS), the closed control socket tells the child.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38


def follow_only_the_parent(parent: int) -> None:
    """Die when the parent does; ignore signals that are meant for the server.

    A service manager and Ctrl-C signal the whole process group, and the server still needs
    its workers while it drains.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    die_with_the_parent(parent)


def die_with_the_parent(parent: int) -> None:
    """Be killed when the parent ends, however it ends. Gains no rights by what it runs."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:  # it died before the signal was armed
        sys.exit(0)
