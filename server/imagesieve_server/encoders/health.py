"""Whether an encoder may be believed, who hears of a change, and what must work again first.

Knows failures and recovery; refuses to know callers and how a canary is run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from imagesieve_server.core.ports import Metrics
from imagesieve_server.encoders.troubles import Troubles

log = logging.getLogger(__name__)


class Health:
    """Of one encoder: down until its first canary passes, and from each failure to the next."""

    def __init__(self, *, metrics: Metrics, on_down: Callable[[], None]) -> None:
        """``on_down`` is called whenever the encoder is found to be down."""
        self.good = False
        self.troubles = Troubles()
        self._doubtful: set[int] = set()
        self._metrics = metrics
        self._on_down = on_down

    @property
    def doubtful(self) -> Sequence[int]:
        """Batch sizes that failed and must work before the encoder is well: put back by a canary of
        another size, it would fail the next such batch as the one before, again and again."""
        return sorted(self._doubtful)

    def failed(self, doing: str, problem: BaseException, *, batch_size: int = 0) -> None:
        """A "batch", of that size, or the "canary" failed."""
        if batch_size:
            self._doubtful.add(batch_size)
        self.down()
        self._metrics.encoder_failed(doing)
        self.troubles.failed(doing, problem)

    def passed(self) -> None:
        """The canary passed, also in every doubtful size."""
        self._doubtful.clear()
        self.good = True
        self._metrics.encoder_healthy(True)
        self.troubles.over()

    def broke(self, problem: BaseException) -> None:
        """What drives the encoder has ended by an error of its own, so nothing brings it back."""
        log.error("the encoder's loop broke: the encoder stays down", exc_info=problem)
        self.down()

    def down(self) -> None:
        """For the time being, or for good."""
        self.good = False  # before anybody hears of it
        try:
            self._on_down()  # first: what is kept may be wrong
        finally:
            self._metrics.encoder_healthy(False)
