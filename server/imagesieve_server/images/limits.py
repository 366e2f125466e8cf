"""The limits under which one image is decoded.

Knows numbers and their units. It refuses to know how they are enforced: byte and header caps
are checked in ``admission`` and ``decode``, the rest by ``worker_limits`` and ``worker``.
"""

from __future__ import annotations

from dataclasses import dataclass

MEBI = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one image may cost. Pixel counts are width × height, in units of one pixel."""

    bytes: int = 20 * MEBI  # size of the file as sent
    pixels: int = 64 * MEBI  # of the picture as decoded (for a JPEG after DCT scaling)
    jpeg_pixels: int = 256 * MEBI  # of a JPEG before DCT scaling
    side: int = 65_535  # px, width and height each
    scans: int = 100  # of one JPEG; a progressive one has about ten
    scan_pixels: int = 2048 * MEBI  # scans × pixels of a JPEG: each scan goes through all of them
    frames: int = 3_000  # announced or found in one animation; more is refused
    animation_pixels: int = 128 * MEBI  # sum over frames that are compared; more is cut
    icc_bytes: int = 4 * MEBI  # of an embedded colour profile; a larger one is ignored
    wall_s: float = 8.0  # seconds by the clock, then the worker is killed; see ``wall_of``
    cpu_s: float = 16 / 3  # seconds of processor time, then the worker is killed
    memory_bytes: int = 1536 * MEBI  # address space of a worker beyond what an idle one has

    def wall_of(self, is_long: bool) -> float:
        """Seconds by the clock. A long image gives way to others on the processor: beside busy
        ones it has a third of their share, and so three times the time."""
        return self.wall_s * (3 if is_long else 1)
