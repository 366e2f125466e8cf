"""Differences between two samples, and whether chance alone would make them. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

_CELLS = 1 << 22  # permutations × points that are in memory at once


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyDistance:
    """A statistic beside what chance makes of it."""

    value: float
    p: float  # share of shufflings that are at least as far; never 0
    null_high: float  # 95 % of shufflings are at or below


def effect_size(first: Doubles, second: Doubles) -> float:
    """(mean − mean) ÷ standard deviation of both together, as in WEAT (Caliskan, Bryson and
    Narayanan 2017). 0.2 is called small, 0.8 large. 0 where nothing varies."""
    spread = float(np.std(np.concatenate([first, second]), ddof=1))
    difference = float(first.mean() - second.mean())
    return difference / spread if spread > 0 else 0.0


def paired_test(differences: Doubles, *, count: int, generator: np.random.Generator) -> float:
    """p that a mean difference of pairs this far from 0 is chance: signs are flipped at random.

    Two-sided; (hits + 1) ÷ (count + 1), so that it is never 0 (Phipson and Smyth 2010).
    """
    observed = abs(float(differences.mean()))
    signs = generator.choice(np.array([-1.0, 1.0]), size=(count, len(differences)))
    found = np.abs(signs @ differences) / len(differences)
    hits = int((found >= observed - 1e-12 * max(1.0, observed)).sum())
    return (hits + 1) / (count + 1)


def holm(values: Sequence[float]) -> list[float]:
    """p-values adjusted for being many (Holm 1979), in the order given."""
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(len(values))
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[int(place)]))
        adjusted[place] = highest
    return [float(value) for value in adjusted]


def energy_test(
    first: npt.NDArray[np.floating], second: npt.NDArray[np.floating], *,
    count: int, generator: np.random.Generator,
) -> EnergyDistance:  # fmt: skip
    """Whether points [n, D] and [m, D] come from one distribution (Székely and Rizzo 2004).

    The energy distance 2·E|X−Y| − E|X−X'| − E|Y−Y'| is 0 for equal distributions only. The null
    shuffles which point belongs where. Takes (n + m)² floats of memory.
    """
    points = np.concatenate([first, second]).astype(np.float64)
    distances = _distances(points)
    weights = np.concatenate(
        [np.full(len(first), 1 / len(first)), np.full(len(second), -1 / len(second))]
    )
    value = float(_energy(distances, weights[np.newaxis])[0])
    null = np.concatenate(
        [
            _energy(distances, generator.permuted(np.tile(weights, (rows, 1)), axis=1))
            for rows in _parts(count, len(points))
        ]
    )
    hits = int((null >= value).sum())
    return EnergyDistance(
        value=value, p=(hits + 1) / (count + 1), null_high=float(np.quantile(null, 0.95))
    )


def _parts(count: int, points: int) -> list[int]:
    size = max(1, _CELLS // points)
    return [min(size, count - start) for start in range(0, count, size)]


def _distances(points: Doubles) -> Doubles:
    """Euclidean, [n, n]."""
    squares = (points**2).sum(axis=1)
    found = squares[:, np.newaxis] + squares - 2 * points @ points.T
    np.fill_diagonal(found, 0.0)
    return np.asarray(np.sqrt(np.maximum(found, 0.0)), dtype=np.float64)


def _energy(distances: Doubles, weights: Doubles) -> Doubles:
    """−wᵀDw of each row of weights [B, n], which is the energy distance: [B]."""
    return np.asarray(-((weights @ distances) * weights).sum(axis=1), dtype=np.float64)
