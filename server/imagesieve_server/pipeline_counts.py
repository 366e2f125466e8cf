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


class Stage:
    """One stage of one image. A class, since a generator costs more than what is timed."""

    __slots__ = ("_began", "_clock", "_metrics", "_name")

    def __init__(self, name: str, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._name = name
        self._metrics = metrics
        self._clock = clock

    def __enter__(self) -> None:
        self._began = self._clock()

    def __exit__(self, *_: object) -> None:
        self._metrics.stage_seconds(self._name, self._clock() - self._began)


class Decoding(Stage):
    """The decoding of one image; counts why there is no picture."""

    __slots__ = ()

    def __exit__(self, *raised: object) -> None:
        super().__exit__()
        _, error, _ = raised
        if isinstance(error, ImageUndecodable):
            self._metrics.decode_failed(error.detail)
        elif isinstance(error, RequestError):
            self._metrics.decode_failed(error.reason)


class PipelineCounts:
    """Tells the metrics port about one image after the other."""

    def __init__(self, *, metrics: Metrics, clock: Callable[[], float] = time.perf_counter) -> None:
        self._metrics = metrics
        self._clock = clock

    def stage(self, name: str) -> Stage:
        """Time a stage: the seconds inside the block."""
        return Stage(name, self._metrics, self._clock)

    def decoding(self) -> Stage:
        """Time the decoding, and count why there is no picture."""
        return Decoding("decode", self._metrics, self._clock)

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
