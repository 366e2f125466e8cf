"""Whether two shares differ by more than chance: Fisher's exact test, Holm's correction."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from imagesieve_server.offline.measures.ranking import Doubles


def exact_test(hits: int, of: int, other_hits: int, other_of: int) -> float:
    """The two-sided p of Fisher's exact test for ``hits`` of ``of`` against the other two.

    The sum of the chances of all tables with these margins that are no likelier than this one
    (Fisher 1935; the definition that scipy and R use).
    """
    events = hits + other_hits
    table = _log_factorials(of + other_of)
    k = np.arange(max(0, events - other_of), min(events, of) + 1)
    logs = (
        table[of] - table[k] - table[of - k]
        + table[other_of] - table[events - k] - table[other_of - events + k]
    )  # fmt: skip
    logs -= logs.max()
    chances = np.exp(logs)
    observed = chances[hits - k[0]]
    return float(min(1.0, chances[chances <= observed * (1 + 1e-7)].sum() / chances.sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p corrected for all of them (Holm 1979): the chance of a single false alarm among
    all tests stays below the level that a corrected p is compared with."""
    order = np.argsort(p_values, kind="stable")
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, number in enumerate(order.tolist()):
        highest = max(highest, min(1.0, p_values[number] * (len(p_values) - rank)))
        corrected[number] = highest
    return corrected


@functools.lru_cache(maxsize=4)
def _log_factorials(most: int) -> Doubles:
    """log k! for k = 0 … ``most``."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])
