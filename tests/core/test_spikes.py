"""Counts over a sliding window: a spike is told once, and memory is bounded."""

from __future__ import annotations

from imagesieve_server.core.spikes import Window

BUSY, QUIET = ("t", "busy"), ("t", "quiet")


def test_a_spike_is_told_once_while_it_lasts() -> None:
    window = Window(span_s=100.0, limit=3)
    told = [window.add(BUSY, now=1000.0 + second) for second in range(6)]
    assert told == [None, None, 3, None, None, None]
    assert window.add(QUIET, now=1005.0) is None
    assert window.largest(now=1006.0) == 6


def test_what_is_spread_over_more_than_a_window_is_no_spike() -> None:
    window = Window(span_s=100.0, limit=3)
    assert [window.add(BUSY, now=1000.0 + 51.0 * turn) for turn in range(9)] == [None] * 9


def test_a_count_covers_the_end_of_one_half_and_the_beginning_of_the_next() -> None:
    window = Window(span_s=100.0, limit=4)
    told = [window.add(BUSY, now=now) for now in (1048.0, 1049.0, 1050.0, 1051.0)]
    assert told == [None, None, None, 4]


def test_a_spike_that_is_over_is_told_again_when_it_comes_back() -> None:
    window = Window(span_s=100.0, limit=2)
    assert [window.add(BUSY, now=1000.0) for _ in range(2)] == [None, 2]
    assert window.largest(now=1200.0) == 0
    assert [window.add(BUSY, now=1200.0) for _ in range(2)] == [None, 2]


def test_many_who_send_little_do_not_hide_one_who_sends_much() -> None:
    window = Window(span_s=100.0, limit=50, max_keys=20)
    told = []
    for turn in range(60):
        told.append(window.add(BUSY, now=1000.0))
        for stranger in range(5):
            window.add(("t", f"{turn}-{stranger}"), now=1000.0)
        assert len(window._now) <= 20
    assert [count for count in told if count] == [50]


def test_a_clock_that_is_set_back_breaks_nothing() -> None:
    window = Window(span_s=100.0, limit=2)
    window.add(BUSY, now=1000.0)
    assert window.add(BUSY, now=10.0) is None
    assert window.add(BUSY, now=11.0) == 2
