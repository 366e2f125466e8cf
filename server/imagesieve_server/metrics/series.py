"""What one exported metric family is, and short words to write one down."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """A Prometheus metric type."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """One metric family as it is exported; each is equal to itself only."""

    name: str  # as a query writes it; counters end in _total
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()  # upper bounds of a histogram, without +Inf


def counter(name: str, help: str, *labels: str) -> Series:
    return Series(name=name, kind=Kind.COUNTER, help=help, labels=labels)


def gauge(name: str, help: str, *labels: str) -> Series:
    return Series(name=name, kind=Kind.GAUGE, help=help, labels=labels)


def histogram(name: str, help: str, buckets: tuple[float, ...], *labels: str) -> Series:
    return Series(name=name, kind=Kind.HISTOGRAM, help=help, labels=labels, buckets=buckets)
