"""Cohen's kappa against published and hand-made figures, and its interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesieve_server.core.agreement import Table, kappa

cells = st.integers(0, 200)


def test_kappa_is_agreement_beyond_chance() -> None:
    # 20 + 15 of 50 agree; by chance (25/50)(30/50) + (25/50)(20/50) = 0.5.
    found = kappa(Table(both_reject=20, only_first=5, only_second=10, neither=15))
    assert found is not None
    assert found.value == pytest.approx(0.4)
    assert found.low < 0.4 < found.high


def test_the_standard_error_is_that_of_fleiss_cohen_and_everitt() -> None:
    """Against the general formula for k categories, written out as in the paper."""
    table = Table(both_reject=40, only_first=9, only_second=6, neither=120)
    p = np.array([[41.0, 10.0], [7.0, 121.0]])  # with one added to each cell
    n = p.sum()
    p /= n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    chance = float(rows @ columns)
    value = (float(np.trace(p)) - chance) / (1 - chance)
    agree = sum(
        p[i, i] * ((1 - chance) - (rows[i] + columns[i]) * (1 - np.trace(p))) ** 2 for i in (0, 1)
    )
    differ = (1 - np.trace(p)) ** 2 * sum(
        p[i, j] * (columns[i] + rows[j]) ** 2 for i, j in ((0, 1), (1, 0))
    )
    last = (np.trace(p) * chance - 2 * chance + np.trace(p)) ** 2
    error = math.sqrt((agree + differ - last) / n) / (1 - chance) ** 2
    found = kappa(table)
    assert found is not None
    assert found.low == pytest.approx(value - 1.959964 * error, rel=1e-5)
    assert found.high == pytest.approx(value + 1.959964 * error, rel=1e-5)


@pytest.mark.parametrize("table", [Table(), Table(both_reject=40), Table(neither=40)])
def test_where_all_say_the_same_of_everything_there_is_no_telling(table: Table) -> None:
    assert kappa(table) is None


def test_perfect_agreement_is_not_told_with_certainty() -> None:
    found = kappa(Table(both_reject=10, neither=30))
    assert found is not None
    assert found.value == found.high == 1.0
    assert found.low < 0.8


@given(cells, cells, cells, cells)
def test_the_interval_holds_the_value_and_does_not_depend_on_who_is_first(
    a: int, b: int, c: int, d: int
) -> None:
    table = Table(both_reject=a, only_first=b, only_second=c, neither=d)
    found, turned = kappa(table), kappa(table.turned())
    assert (found is None) == (turned is None)
    if found is None or turned is None:
        assert a * d == 0
        return
    assert -1.0 <= found.low <= found.value <= found.high <= 1.0
    assert turned.value == pytest.approx(found.value)
    assert (turned.low, turned.high) == pytest.approx((found.low, found.high))


@pytest.mark.parametrize(("share", "true"), [(0.5, 0.6), (0.1, 0.6), (0.1, 0.9), (0.2, 0.0)])
def test_the_interval_holds_the_truth_as_often_as_it_says(share: float, true: float) -> None:
    """2 000 simulated tables of 60 pairs; ``make kappa-coverage`` runs the whole grid."""
    chance = share**2 + (1 - share) ** 2
    agree = chance + true * (1 - chance)
    both = (agree + 2 * share - 1) / 2
    p = [both, share - both, share - both, 1 - 2 * share + both]
    drawn = np.random.default_rng(7).multinomial(60, p, size=2000)
    held = defined = 0
    for a, b, c, d in drawn.tolist():
        found = kappa(Table(both_reject=a, only_first=b, only_second=c, neither=d))
        if found is not None:
            defined += 1
            held += found.low <= true <= found.high
    assert held / defined > 0.93
