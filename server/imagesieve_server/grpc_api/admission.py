"""How much may be in the server at once: images and their bytes, refused early beyond it.

It knows two budgets and nothing of queues, stages or calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from imagesieve_server.core.errors import Overloaded


class AdmissionMetrics(Protocol):
    """What admission reports."""

    def images_in_flight(self, *, images: int, size_bytes: int) -> None:
        """Images admitted and not yet answered."""
        ...

    def images_shed(self, images: int) -> None:
        """Images refused because of load."""
        ...


class Admission:
    """Bounds the images in flight over all calls. Used from one event loop."""

    def __init__(
        self,
        *,
        metrics: AdmissionMetrics,
        max_images: int = 256,
        max_bytes: int = 512 * 2**20,
        retry_after_s: float = 1.0,
    ) -> None:
        """``retry_after_s`` is what a refused caller is told to wait."""
        self._metrics = metrics
        self._max_images = max_images
        self._max_bytes = max_bytes
        self._retry_after_s = retry_after_s
        self._images = 0
        self._bytes = 0

    @contextmanager
    def admit(self, *, images: int, size_bytes: int) -> Iterator[None]:
        """Hold room for the images while inside.

        Whatever is larger than the whole budget is let in alone, or it could never be
        answered. Raises Overloaded.
        """
        over = self._images + images > self._max_images or self._bytes + size_bytes > (
            self._max_bytes
        )
        if over and self._images:
            self._metrics.images_shed(images)
            raise Overloaded(
                "the server has as many images in hand as it can take",
                retry_after_s=self._retry_after_s,
            )
        self._change(images, size_bytes)
        try:
            yield
        finally:
            self._change(-images, -size_bytes)

    def _change(self, images: int, size_bytes: int) -> None:
        self._images += images
        self._bytes += size_bytes
        self._metrics.images_in_flight(images=self._images, size_bytes=self._bytes)
