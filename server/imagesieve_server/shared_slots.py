"""Memory that two processes share: a decode worker's bytes and pixels, an encoder's rows.

Knows anonymous files and mappings. It refuses to use /dev/shm (64 MB in containers, and
running out of it is a SIGBUS): a slot is an anonymous file whose pages all exist before it is
used, and whose size nobody can change afterwards. Where the system has no memfd (macOS), an
unlinked temporary file stands in.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import tempfile
from dataclasses import dataclass
from typing import Final

# By number, since fcntl has the names on Linux only.
_ADD_SEALS: Final = 1033
_GET_SEALS: Final = 1034
_SEAL_SHRINK: Final = 0x2
_SEAL_SIZE: Final = 0x1 | 0x2 | 0x4  # no further seals, no shrinking, no growing


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One block of shared memory."""

    fd: int
    size: int  # bytes
    memory: mmap.mmap

    def close(self) -> None:
        """Unmap and close; the pages are freed when the other side has gone as well."""
        self.memory.close()
        with contextlib.suppress(OSError):
            os.close(self.fd)


def create_slot(size: int) -> Slot:
    """A slot of ``size`` bytes, every page of it present. Raises OSError where there is no room."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("imagesieve-slot", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, size)
        # Reserves the pages now: a lack of memory is an error here and not a SIGBUS later.
        os.posix_fallocate(fd, 0, size)
        # A worker that shrank its slot would make the server's next read a SIGBUS.
        fcntl.fcntl(fd, _ADD_SEALS, _SEAL_SIZE)
    else:
        fd, path = tempfile.mkstemp(prefix="imagesieve-slot-")
        os.unlink(path)
        os.write(fd, b"\0" * size)
    return Slot(fd=fd, size=size, memory=mmap.mmap(fd, size))


def attach_slot(fd: int) -> Slot:
    """The slot behind an inherited file descriptor."""
    size = os.fstat(fd).st_size
    return Slot(fd=fd, size=size, memory=mmap.mmap(fd, size))


def has_fixed_size(fd: int) -> bool:
    """Whether nobody can shrink the file: reading beyond its end would be a SIGBUS. False for
    what is no anonymous file, and where the system has none."""
    try:
        return fcntl.fcntl(fd, _GET_SEALS) & _SEAL_SHRINK != 0
    except OSError:
        return False
