"""The series of one set of label values, found again quickly: looking one up in prometheus_client
costs more than counting. Knows families and labels, and no name of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram

from imagesieve_server.metrics.series import Series

Family = TypeVar("Family", Counter, Gauge, Histogram)


class Children(Generic[Family]):
    """Of ``families``, which may still grow; for label values of a bounded number."""

    def __init__(self, families: Mapping[Series, Family]) -> None:
        self._families: Mapping[Series, Family] = families
        self._found: dict[tuple[Series, tuple[str, ...]], Family] = {}

    def of(self, series: Series, *values: str) -> Family:
        """The child that has these label values."""
        key = (series, values)
        child = self._found.get(key)
        if child is None:
            child = self._found[key] = self._families[series].labels(*values)
        return child

    def forget(self) -> None:
        """Some were removed from their family: what is counted there would be seen by nobody."""
        self._found.clear()
