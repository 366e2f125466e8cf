"""A small power-cut test; the long one is tests/long/power_cut.py, which says what is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from power_cut import CONTROLS, QUEUES, Bench, Subject, cut_control, cut_power
from power_cut_trace import build_shim

pytestmark = [pytest.mark.compiler, pytest.mark.timeout(600)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(shim=build_shim(tmp_path), folder=tmp_path)


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_what_was_acknowledged_survives_a_power_cut(queue: Subject, bench: Bench) -> None:
    figures = cut_power(queue, bench, n=10, seed=1)
    assert figures.whole, figures.examples


@pytest.mark.parametrize("control", CONTROLS[3:5], ids=lambda control: control.name)
def test_a_queue_that_leaves_out_a_sync_loses_flags(control: Subject, bench: Bench) -> None:
    assert cut_control(control, bench, n=10, seed=1).lost > 0
