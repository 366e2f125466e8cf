"""The ideal server of the bench: its arithmetic, on cases that can be done by hand."""

from __future__ import annotations

import math
import random

import pytest

from imagesieve_server.commands.bench.figures import percentile
from imagesieve_server.commands.bench.ideal_server import Coming, IdealMachine, least_p99, up_to

FLAT = {1: 1.0, 2: 2.0, 4: 4.0}
STEEP = {1: 1.0, 2: 1.1, 4: 1.2}


def coming(*times: float, decode_s: float = 0.0, kind: str = "small") -> list[Coming]:
    return [Coming(at=at, kind=kind, decode_s=decode_s) for at in times]


def machine(
    runs: dict[int, float], *, cores: int = 2, shared: bool = True, at_once: int = 1
) -> IdealMachine:
    return IdealMachine(runs=runs, cores=cores, shared=shared, at_once=at_once)


def test_one_picture_waits_for_itself_alone() -> None:
    pictures = coming(5.0, decode_s=0.4)
    assert machine(FLAT).waits(pictures, lambda rows: rows) == [pytest.approx(1.2)]
    assert machine(FLAT, shared=False).waits(pictures, lambda rows: rows) == [pytest.approx(1.4)]


def test_pictures_are_done_in_order_and_a_batch_ends_for_all_at_once() -> None:
    pictures = coming(0.0, 0.1, 0.2, 0.3)
    one_by_one = machine(FLAT).waits(pictures, lambda rows: 1)
    assert one_by_one == pytest.approx([1.0, 1.9, 2.8, 3.7])
    together = machine(FLAT).waits(pictures, lambda rows: min(rows, 4))
    assert together == pytest.approx([1.0, 4.9, 4.8, 4.7])  # three in a batch padded to four


def test_cores_with_a_run_each_decode_and_encode_for_themselves() -> None:
    """Two cores: whoever comes third waits for the first that is free."""
    pictures = coming(0.0, 0.1, 0.2, decode_s=0.5)
    found = machine(FLAT, at_once=2).waits(pictures, lambda rows: 1)
    assert found == pytest.approx([1.5, 1.5, 2.8])


def test_runs_that_are_free_divide_what_waits() -> None:
    pictures = coming(0.0, 0.0, 0.0, 0.0)
    together = machine(FLAT, at_once=2).waits(pictures, lambda rows: rows)
    assert together == pytest.approx([2.0, 2.0, 2.0, 2.0])


def test_decoders_of_their_own_hold_up_the_encoder_and_each_other_only() -> None:
    """One core: decoded after 3 and 6 seconds, encoded a second later each."""
    pictures = coming(0.0, 0.0, decode_s=3.0)
    found = machine(FLAT, cores=1, shared=False).waits(pictures, lambda rows: rows)
    assert found == pytest.approx([4.0, 7.0])


def test_the_best_batch_follows_from_what_batches_gain() -> None:
    pictures = coming(0.0, 0.0, 0.0, 0.0)
    assert least_p99(machine(FLAT), pictures) == {"small": 4.0}
    assert least_p99(machine(STEEP), pictures) == {"small": 1.2}


def test_each_kind_has_a_p99_of_its_own() -> None:
    pictures = coming(0.0) + coming(0.5, decode_s=2.0, kind="large")
    assert least_p99(machine(FLAT), pictures) == pytest.approx({"small": 1.0, "large": 2.5})


@pytest.mark.parametrize(
    ("runs", "rows", "taken"),
    [(FLAT, 3, 2), (FLAT, 9, 4), (STEEP, 3, 3), ({2: 1.0, 4: 1.5}, 1, 1)],
)
def test_a_batch_is_filled_or_padded_whichever_costs_less_a_row(
    runs: dict[int, float], rows: int, taken: int
) -> None:
    assert up_to(runs, 4)(rows) == taken


def test_independent_arrivals_wait_as_theory_says() -> None:
    """M/D/1 at 80 %: a mean wait of ρ/(2(1 − ρ)) = 2 services before one's own, and a p99 far
    beyond the three that are aimed at; evenly spaced, nobody waits at all."""
    chance = random.Random(1)
    at, times = 0.0, []
    for _ in range(60_000):
        times.append(at := at + chance.expovariate(0.8))
    waits = machine(FLAT).waits(coming(*times), lambda rows: 1)
    assert math.fsum(waits) / len(waits) == pytest.approx(3.0, rel=0.1)
    assert 8 < percentile(waits, 0.99) < 14
    even = machine(FLAT).waits(coming(*(n / 0.8 for n in range(1000))), lambda rows: 1)
    assert even == pytest.approx([1.0] * 1000)
