"""One place for Prometheus to read the series of all processes: each sample names its process.

Knows expositions as text and puts them side by side. It adds nothing up: sums and maxima over
processes are for the one who asks, as they are over servers. A counter of a process that was
started again begins at 0, which rates understand.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Iterable, Mapping

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

PROCESS = "process"
"""The label."""

SCRAPE_S = 5.0
"""Time that the processes have to answer, together."""


class ProcessSeries(Collector):
    """A collector over processes that are asked on the event loop, from another thread."""

    def __init__(
        self,
        *,
        read: Callable[[], Awaitable[Mapping[str, str]]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """``read`` gives the expositions by process."""
        self._read = read
        self._loop = loop

    def describe(self) -> Iterable[Metric]:
        """None: what there is, is known when it is asked for."""
        return ()

    def collect(self) -> Iterable[Metric]:
        reading = asyncio.run_coroutine_threadsafe(_awaited(self._read()), self._loop)
        try:
            return side_by_side(reading.result(SCRAPE_S))
        except concurrent.futures.TimeoutError:
            reading.cancel()
            return ()


def side_by_side(expositions: Mapping[str, str]) -> list[Metric]:
    """All families, with the samples of all processes."""
    families: dict[str, Metric] = {}
    for process, text in expositions.items():
        for family in text_string_to_metric_families(text):
            if not family.samples:  # of another process, or of nobody yet
                continue
            merged = families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            merged.samples += [_named(sample, process) for sample in family.samples]
    return list(families.values())


def _named(sample: Sample, process: str) -> Sample:
    return sample._replace(labels={**sample.labels, PROCESS: process})


async def _awaited(read: Awaitable[Mapping[str, str]]) -> Mapping[str, str]:
    return await read
