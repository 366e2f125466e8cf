"""Host memory that a GPU reads by itself: pages that stay where they are.

Knows pages and CUDA's two calls about them; refuses to know what lies in them. A copy from
ordinary memory first goes through the driver's own pinned pages, at a fraction of the rate.
"""

from __future__ import annotations

import ctypes
import mmap
import weakref
from typing import Protocol

import numpy as np

from imagesieve_server.core.views import Pixels

_PORTABLE = 1  # cudaHostRegisterPortable: pinned for every context of the process


class HostPins(Protocol):
    """Pins and unpins pages."""

    def pin(self, address: int, size: int) -> None:
        """Raises OSError where the pages cannot be pinned."""
        ...

    def unpin(self, address: int) -> None:
        """Undo it, before the pages are given back; errors are of no use to anybody."""
        ...


class CudaPins:
    """Pins pages by the CUDA runtime."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """``library``: libcudart."""
        self._register = library.cudaHostRegister
        self._register.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint)
        self._register.restype = ctypes.c_int
        self._unregister = library.cudaHostUnregister
        self._unregister.argtypes = (ctypes.c_void_p,)
        self._unregister.restype = ctypes.c_int

    def pin(self, address: int, size: int) -> None:
        """Raises OSError with CUDA's error number."""
        code = self._register(address, size, _PORTABLE)
        if code != 0:
            raise OSError(f"cudaHostRegister: CUDA error {code}")

    def unpin(self, address: int) -> None:
        self._unregister(address)


class NoPins:
    """Where there is nothing that could pin."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def pin(self, address: int, size: int) -> None:
        """Raises OSError."""
        raise OSError(self._reason)

    def unpin(self, address: int) -> None:
        """Nothing is pinned."""


def cuda_pins(cuda_version: str) -> HostPins:
    """Pins by the runtime of this version, such as "13.0", which ONNX Runtime has loaded."""
    name = f"libcudart.so.{cuda_version.partition('.')[0]}"
    try:
        return CudaPins(ctypes.CDLL(name))
    except (OSError, AttributeError):
        return NoPins(f"{name} does not load")


class HostRows:
    """Room for rows of pixels on the host, pinned where that is possible."""

    def __init__(self, shape: tuple[int, ...], *, pins: HostPins | None) -> None:
        """``pins`` is None where nothing but the host reads the rows."""
        size = int(np.prod(shape))
        pages = mmap.mmap(-1, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        whole: Pixels = np.frombuffer(pages, dtype=np.uint8)
        self.pixels: Pixels = whole[:size].reshape(shape)
        self.note = ""  # why the pages are not pinned
        if pins is None:
            return
        address = whole.ctypes.data
        try:
            pins.pin(address, len(pages))
        except OSError as problem:
            self.note = f"memory is not pinned, copies are slower: {problem}"
            return
        # Every view keeps ``whole`` alive, and that the pages: they end together.
        weakref.finalize(whole, pins.unpin, address).atexit = False
