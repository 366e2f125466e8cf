"""In order per item, side by side otherwise, and nothing settled before its fate is known."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.webhook_model import made_work
from imagesieve_server.core.webhook_port import Work
from imagesieve_server.core.webhook_window import Window


def window_of(*items: str, position: int = 0) -> Window:
    window = Window(position=position, width=100)
    window.take([made_work(position + n, item) for n, item in enumerate(items, 1)], blocked=())
    return window


def positions(works: list[Work]) -> list[int]:
    return [work.position for work in works]


def test_one_event_of_an_item_is_in_flight_at_a_time() -> None:
    window = window_of("a", "a", "b", "a")
    first = window.start(10)
    assert positions(first) == [1, 3]
    window.told(first[0])
    assert positions(window.start(10)) == [2]


def test_the_position_follows_the_oldest_open_fate() -> None:
    window = window_of("a", "b", "c")
    a, b, c = window.start(10)
    assert window.drain().position == 0
    window.told(b)
    window.told(c)
    assert window.drain().position == 0
    window.told(a)
    assert window.drain().position == 3


def test_a_failure_takes_the_items_further_events_out_of_hand() -> None:
    window = window_of("a", "b", "a")
    a, b = window.start(10)
    window.failed(a, result="refused", retry_in_s=5.0)
    settled = window.drain()
    assert [f.work.position for f in settled.failed] == [1]
    assert positions(list(settled.behind)) == [3]
    assert settled.position == 1  # of b nothing is known
    window.told(b)
    assert window.drain().position == 3
    assert window.startable == window.in_flight == 0


def test_events_of_items_with_deliveries_wait_in_the_store() -> None:
    window = Window(position=0, width=10)
    window.take([made_work(1, "a"), made_work(2, "b")], blocked={"a"})
    settled = window.drain()
    assert (positions(list(settled.behind)), settled.position) == ([1], 1)


def test_a_delivery_that_is_in_hand_is_not_taken_again() -> None:
    window = window_of()
    window.retry([made_work(1, "a", kept=True)])
    (one,) = window.start(10)
    window.retry([made_work(1, "a", kept=True)])
    assert window.start(10) == []
    window.told(one)
    assert window.drain().told == (one,)


def test_room_is_what_the_window_may_still_take() -> None:
    window = Window(position=0, width=2)
    window.take([made_work(1, "a"), made_work(2, "a")], blocked=())
    assert window.room == 0
    (a,) = window.start(1)
    window.failed(a, result="", retry_in_s=0.0)
    assert window.room == 2


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from("abc"), max_size=30), st.data())
def test_a_walk_keeps_the_order_and_accounts_for_each_event(
    items: list[str], data: st.DataObject
) -> None:
    """Whatever fails: an item's events start in order, none starts while another one of its item
    flies, and at the end each was told, has failed, or waits behind one that did."""
    window = window_of(*items)
    flying: list[Work] = []
    told: list[Work] = []
    kept: set[int] = set()
    failed_items: set[str] = set()
    while window.startable or flying:
        flying += window.start(data.draw(st.integers(0 if flying else 1, 3)))
        assert len({work.item_id for work in flying}) == len(flying)
        if flying:
            work = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
            if data.draw(st.booleans()):
                window.told(work)
                told.append(work)
                assert work.item_id not in failed_items
            else:
                window.failed(work, result="", retry_in_s=1.0)
                failed_items.add(work.item_id)
        settled = window.drain()
        kept |= {f.work.position for f in settled.failed} | set(positions(list(settled.behind)))
        fates = kept | set(positions(told))
        assert settled.position == 0 or set(range(1, settled.position + 1)) <= fates
    for item in "abc":
        mine = [n for n, each in enumerate(items, 1) if each == item]
        assert [w.position for w in told if w.item_id == item] == mine[
            : len(mine) - len(kept & set(mine))
        ]
    assert kept.isdisjoint(positions(told))
    assert kept | set(positions(told)) == set(range(1, len(items) + 1))
