"""What the pipeline counts and times, so that its own page shows the order only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from imagesieve_server.core.answer import Answer
from imagesieve_server.core.errors import (
    ImageUndecodable,
    QuotaExceeded,
    RequestError,
)
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.ports import Metrics


class PipelineCounts:
    """Tells the metrics port about one image after the other."""

    def __init__(self, *, metrics: Metrics, clock: Callable[[], float] = time.perf_counter) -> None:
        self._metrics = metrics
        self._clock = clock

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        started = self._clock()
        try:
            yield
        finally:
            self._metrics.stage_seconds(name, self._clock() - started)

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Time the decoding, and count why there is no picture."""
        with self.stage("decode"):
            try:
                yield
            except ImageUndecodable as error:
                self._metrics.decode_failed(error.detail)
                raise
            except RequestError as error:
                self._metrics.decode_failed(error.reason)
                raise

    def views(self, count: int) -> None:
        """An image was decoded to so many views."""
        self._metrics.image_views(count)

    @contextmanager
    def quotas(self) -> Iterator[None]:
        """Count a refusal for the tenant's quota."""
        try:
            yield
        except QuotaExceeded as error:
            self._metrics.quota_refused(error.subject)
            raise

    def answered(self, policy: Policy, answer: Answer) -> None:
        """A new answer leaves."""
        judgement = answer.judgement
        self._metrics.verdict(
            policy=policy.name, verdict=judgement.verdict, degraded=judgement.degraded
        )
        for reason in judgement.reasons:
            self._metrics.reason(policy=policy.name, code=reason.code)
        for score in judgement.scores:
            self._metrics.category_score(
                policy=policy.name,
                policy_version=policy.version,
                category=score.category,
                log_odds=score.log_odds,
                band=score.band,
            )
