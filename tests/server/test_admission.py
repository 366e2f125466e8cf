"""What is in the server at once: views, bytes and time, and what a refused caller is told."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import ExitStack

import pytest

from imagesieve_server.core.errors import DeadlineUnmeetable, Overloaded
from imagesieve_server.grpc_api.admission import COME_BACK_S, SURE, Admission, Place
from imagesieve_server.grpc_api.pace import BUSY_VIEWS, Pace
from imagesieve_server.testing import RecordingMetrics

LATE = 1e9  # a deadline that plays no part


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """An admission whose clock and metrics are in reach."""

    def __init__(self, *, pace: float = 10.0, max_views: int = 8, max_bytes: int = 100) -> None:
        self.clock = Clock()
        self.metrics = RecordingMetrics()
        self.pace = Pace(guess=pace, clock=self.clock)
        self.admission = Admission(
            metrics=self.metrics,
            pace=self.pace,
            max_views=max_views,
            max_bytes=max_bytes,
            clock=self.clock,
        )
        self._held = ExitStack()

    def hold(self, *, images: int = 1, size_bytes: int = 1, deadline: float = LATE) -> list[Place]:
        """Admit and stay."""
        admitted = self.admission.admit(images=images, size_bytes=size_bytes, deadline=deadline)
        return list(self._held.enter_context(admitted))

    def try_one(self, *, size_bytes: int = 1, deadline: float = LATE) -> None:
        """Admit and leave."""
        with self.admission.admit(images=1, size_bytes=size_bytes, deadline=deadline):
            pass

    @property
    def last(self) -> dict[str, float]:
        return self.metrics.named("in_flight")[-1]


def test_room_is_bounded_in_views_and_in_bytes_and_comes_back() -> None:
    desk = Desk(max_views=2, max_bytes=100)
    with desk.admission.admit(images=1, size_bytes=90, deadline=LATE):
        with pytest.raises(Overloaded):
            desk.try_one(size_bytes=11)
        with (
            desk.admission.admit(images=1, size_bytes=10, deadline=LATE),
            pytest.raises(Overloaded),
        ):
            desk.try_one(size_bytes=0)
    assert desk.last == {"images": 0, "views": 0.0, "size_bytes": 0, "wait_s": 0.0}
    assert desk.metrics.named("images_shed") == [{"images": 1, "reason": "room"}] * 2
    desk.try_one(size_bytes=100)


def test_what_is_larger_than_everything_is_admitted_alone() -> None:
    desk = Desk(max_views=2, max_bytes=100)
    with desk.admission.admit(images=64, size_bytes=1000, deadline=LATE) as places:
        places[0].take_views(3)
        with pytest.raises(Overloaded):
            desk.try_one()


def test_an_error_inside_gives_the_room_back_and_is_not_counted_as_leaving() -> None:
    desk = Desk()
    with (
        pytest.raises(KeyError),
        desk.admission.admit(images=1, size_bytes=1, deadline=LATE),
    ):
        raise KeyError
    assert desk.last["images"] == desk.last["size_bytes"] == 0
    assert desk.metrics.named("images_abandoned") == []


def test_a_caller_that_leaves_frees_its_room_and_is_counted() -> None:
    desk = Desk()

    def leave_early() -> None:
        with desk.admission.admit(images=3, size_bytes=1, deadline=LATE) as places:
            places[0].leave(answered=True)
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        leave_early()
    assert desk.metrics.named("images_abandoned") == [{"images": 2}]
    assert desk.last["views"] == 0


def test_an_image_counts_its_own_views_once_they_are_known() -> None:
    desk = Desk(max_views=8)
    (place, other) = desk.hold(images=2)
    place.take_views(5)
    assert desk.last["views"] == 6
    with pytest.raises(Overloaded):
        other.take_views(4)
    other.take_views(3)
    assert desk.last["views"] == 8
    place.leave(answered=True)
    place.leave(answered=True)
    assert desk.last["views"] == 3


def test_undecoded_images_count_as_many_views_as_images_had_lately() -> None:
    desk = Desk(max_views=100)
    for _ in range(200):
        with desk.admission.admit(images=1, size_bytes=1, deadline=LATE) as places:
            places[0].take_views(20)
    desk.hold(images=4)
    assert desk.last["views"] == pytest.approx(80, rel=0.01)
    with pytest.raises(Overloaded):
        desk.hold(images=2)


def test_what_cannot_be_done_by_its_deadline_is_refused_at_once() -> None:
    desk = Desk(pace=2.0)
    desk.hold(images=3)
    with pytest.raises(DeadlineUnmeetable) as caught:
        desk.try_one(deadline=desk.clock.now + 1.9 / SURE)  # 4 views at 2 a second
    desk.try_one(deadline=desk.clock.now + 2.1 / SURE)
    assert caught.value.retry_after_s == pytest.approx(0.5)
    assert desk.metrics.named("images_shed") == [{"images": 1, "reason": "time"}]


def test_the_time_until_a_deadline_is_not_filled_to_the_brim() -> None:
    """Whoever is let in at the bound itself is late by chance, and the work for it is lost."""
    desk = Desk(pace=2.0)
    desk.hold(images=3)
    with pytest.raises(DeadlineUnmeetable):
        desk.try_one(deadline=desk.clock.now + 2.2)


def test_before_a_call_is_read_it_is_refused_as_its_image_would_be_and_takes_no_room() -> None:
    desk = Desk(pace=2.0, max_views=4)
    desk.admission.check_unread(deadline=desk.clock.now + 0.01)  # idle: anything is tried
    desk.hold(images=3)
    with pytest.raises(DeadlineUnmeetable):
        desk.admission.check_unread(deadline=desk.clock.now + 1.9)
    desk.admission.check_unread(deadline=LATE)
    assert desk.last["views"] == 3
    desk.hold()
    with pytest.raises(Overloaded):
        desk.admission.check_unread(deadline=LATE)
    assert [one["reason"] for one in desk.metrics.named("images_shed")] == ["time", "room"]


def test_an_idle_server_tries_whatever_its_estimate_says() -> None:
    desk = Desk(pace=0.001)
    desk.try_one(deadline=desk.clock.now + 0.01)


def test_decoded_images_that_are_due_later_do_not_count_as_ahead() -> None:
    desk = Desk(pace=1.0)
    for place in desk.hold(images=4, deadline=desk.clock.now + 60):
        place.take_views(1)
    desk.try_one(deadline=desk.clock.now + 1.5)


def test_refused_callers_come_back_one_after_the_other_at_the_pace_of_the_server() -> None:
    desk = Desk(pace=5.0, max_views=1)
    desk.hold()
    told = []
    for _ in range(3):
        with pytest.raises(Overloaded) as caught:
            desk.try_one()
        told.append(caught.value.retry_after_s)
    assert told == pytest.approx([0.2, 0.4, 0.6])
    desk.clock.now += 0.4  # two of them are due
    with pytest.raises(Overloaded) as caught:
        desk.try_one()
    assert caught.value.retry_after_s == pytest.approx(0.4)


def test_a_caller_is_never_sent_away_longer_than_the_limit() -> None:
    desk = Desk(pace=0.01, max_views=1)
    desk.hold()
    with pytest.raises(Overloaded) as caught:
        desk.try_one()
    assert caught.value.retry_after_s == COME_BACK_S[1]


def test_who_could_not_come_back_in_time_is_told_not_to() -> None:
    desk = Desk(pace=1.0, max_views=2)
    desk.hold(images=2)
    with pytest.raises(DeadlineUnmeetable):
        desk.try_one(deadline=desk.clock.now + 2.5)  # its turn is in 1 s, and then it waits 2 s
    with pytest.raises(Overloaded):
        desk.try_one(deadline=desk.clock.now + 10)


def test_a_flood_of_refused_calls_is_forgotten_as_soon_as_its_last_turn_has_come() -> None:
    """Calls are refused before it is known who calls: strangers must not lengthen the turns of
    hours to come."""
    desk = Desk(pace=2.0)
    desk.hold()
    for _ in range(10_000):
        with pytest.raises(DeadlineUnmeetable):
            desk.admission.check_unread(deadline=desk.clock.now + 0.01)
    desk.clock.now += COME_BACK_S[1]
    with pytest.raises(DeadlineUnmeetable) as caught:
        desk.admission.check_unread(deadline=desk.clock.now + 1.0)
    assert caught.value.retry_after_s == pytest.approx(0.5)


# --- pace ---


def test_the_pace_is_measured_under_a_backlog_only() -> None:
    clock = Clock()
    pace = Pace(guess=100.0, clock=clock)
    pace.in_flight(1, decoded=1)
    clock.now += 60
    pace.finished(1, seconds=60)
    assert pace.views_per_s == 100.0
    for _ in range(100):
        pace.in_flight(BUSY_VIEWS, decoded=0)
        clock.now += 0.5
        pace.finished(10, seconds=1.0)
    assert pace.views_per_s == pytest.approx(20, rel=0.01)
    pace.in_flight(0, decoded=0)
    clock.now += 60
    assert pace.views_per_s == pytest.approx(20, rel=0.01)


def test_a_slow_server_is_measured_with_the_few_views_that_keep_it_busy() -> None:
    """With deadlines of seconds it never has more of them, and a pace that is too high would stay
    so: more is let in than can be done in time."""
    clock = Clock()
    pace = Pace(guess=40.0, clock=clock)
    for _ in range(40):
        pace.in_flight(6, decoded=6)
        clock.now += 0.5
        for _ in range(5):
            pace.finished(1, seconds=1.0)
    assert pace.views_per_s == pytest.approx(10, rel=0.05)


def test_what_waits_for_a_slow_encoder_measures_it() -> None:
    desk = Desk(pace=40.0, max_views=100, max_bytes=1000)
    at_work = deque(desk.hold()[0] for _ in range(6))
    for place in at_work:
        place.take_views(1)
    for _ in range(200):
        desk.clock.now += 0.1
        at_work.popleft().leave(answered=True)
        at_work.append(desk.hold()[0])
        at_work[-1].take_views(1)
    assert desk.pace.views_per_s == pytest.approx(10, rel=0.05)


def test_two_images_that_are_long_in_decoding_do_not_shut_the_others_out() -> None:
    """They keep two workers busy and no encoder, and short ones have a worker of their own."""
    desk = Desk(pace=40.0, max_views=100)
    at_work = deque((desk.hold()[0], desk.hold()[0]))
    for _ in range(30):
        desk.clock.now += 1.0
        done = at_work.popleft()
        done.take_views(1)
        done.leave(answered=True)
        at_work.append(desk.hold()[0])
    desk.try_one(deadline=desk.clock.now + 1.0)


def test_those_who_went_before_prove_nothing_without_a_backlog() -> None:
    """They may have been all but done when this one came."""
    desk = Desk(pace=10.0, max_views=100)
    desk.hold()[0].take_views(1)
    with desk.admission.admit(images=1, size_bytes=1, deadline=LATE) as places:
        places[0].take_views(1)
        desk.clock.now += 0.1
    assert desk.pace.views_per_s == pytest.approx(10.0)


def test_a_backlog_that_stands_still_lowers_the_pace_before_anything_is_finished() -> None:
    clock = Clock()
    pace = Pace(guess=1000.0, clock=clock)
    pace.in_flight(BUSY_VIEWS, decoded=0)
    clock.now += BUSY_VIEWS
    assert pace.views_per_s == pytest.approx(1.0)


def test_a_pace_measured_in_a_bad_moment_does_not_keep_the_server_slow() -> None:
    """Too few are let in for a backlog, so each answer has to prove that there is more."""
    desk = Desk(pace=0.2, max_views=100)
    for _ in range(40):
        desk.clock.now += 1
        with desk.admission.admit(images=1, size_bytes=1, deadline=LATE) as places:
            places[0].take_views(1)
            desk.clock.now += 0.1
    assert desk.pace.views_per_s == pytest.approx(10, rel=0.01)
    desk.hold(images=20, deadline=desk.clock.now + 10)
    desk.try_one(deadline=desk.clock.now + 10)
