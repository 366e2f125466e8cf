"""Whose rows go into the next batch: the earliest deadline's, a film's among others' in part."""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter

import numpy as np

from imagesieve_server.encoders.waiting import Waiter, WaitingRoom

S_PER_ROW = 0.05


def waiter(views: int, *, deadline: float) -> Waiter:
    pixels = np.zeros((views, 1, 1, 3), dtype=np.uint8)
    future: asyncio.Future[np.ndarray] = asyncio.Future()
    return Waiter(pixels=pixels, deadline=deadline, width=1, future=future)


def room_of(*waiters: Waiter) -> WaitingRoom:
    room = WaitingRoom()
    for one in waiters:
        room.add(one)
    return room


def taken(room: WaitingRoom, count: int, *, now: float = 0.0) -> list[tuple[Waiter, int]]:
    """Who and how many rows, slice by slice."""
    slices = room.take(count, now=now, s_per_row=S_PER_ROW)
    return [(part.waiter, part.stop - part.start) for part in slices]


def per_waiter(slices: list[tuple[Waiter, int]]) -> Counter[Waiter]:
    rows: Counter[Waiter] = Counter()
    for who, count in slices:
        rows[who] += count
    return rows


async def test_a_film_gets_a_quarter_while_pictures_wait_though_it_is_due_first() -> None:
    film, pictures = waiter(32, deadline=20), [waiter(1, deadline=21 + n) for n in range(40)]
    room = room_of(film, *pictures)
    rows = per_waiter(taken(room, 16))
    assert rows[film] == 4
    assert all(rows[picture] == 1 for picture in pictures[:12])
    one_by_one = [taken(room, 1)[0][0] for _ in range(8)]
    assert one_by_one.count(film) == 2
    assert [who for who in one_by_one if who is not film] == pictures[12:18]
    assert room.rows == 28 + 28 - 8


async def test_what_one_kind_leaves_the_other_takes() -> None:
    film, picture = waiter(32, deadline=20), waiter(1, deadline=21)
    room = room_of(film, picture)
    assert per_waiter(taken(room, 16)) == {film: 15, picture: 1}
    assert per_waiter(taken(room, 16)) == {film: 16}
    short_film = waiter(5, deadline=20)
    room = room_of(short_film, *(waiter(1, deadline=21) for _ in range(40)))
    for _ in range(5):
        taken(room, 4)
    assert short_film.rows_left == 0
    assert len(taken(room, 16)) == 16


async def test_a_film_that_is_pressed_for_time_goes_by_its_deadline() -> None:
    """32 rows at a quarter of the encoder take 6.4 s: with 9 left it is pressed, with 10 it is not.
    Half of it done, it is pressed no more."""
    film = waiter(32, deadline=9.0)
    room = room_of(film, *(waiter(1, deadline=20) for _ in range(40)))
    assert per_waiter(taken(room, 8)) == {film: 8}
    assert per_waiter(taken(room, 8))[film] == 2
    late = waiter(32, deadline=10.0)
    room = room_of(late, *(waiter(1, deadline=20) for _ in range(40)))
    assert per_waiter(taken(room, 8))[late] == 2


async def test_films_that_the_encoder_can_just_do_in_time_are_in_time() -> None:
    """Five of 1.6 s each, let in because nobody is due before them; pictures due later wait."""
    films = [waiter(32, deadline=10 + n / 100) for n in range(5)]
    room = room_of(*films, *(waiter(1, deadline=30) for _ in range(400)))
    now = 0.0
    while any(film.rows_left for film in films):
        taken(room, 1, now=now)
        now += S_PER_ROW
    assert 5 * 32 * S_PER_ROW < now <= 10


async def test_who_is_due_before_a_pressed_film_still_goes_first() -> None:
    film, urgent = waiter(32, deadline=3.0), waiter(1, deadline=2.0)
    room = room_of(film, urgent)
    assert room.earliest_deadline() == 2.0
    assert taken(room, 1) == [(urgent, 1)]


async def test_a_film_that_is_due_later_waits_as_anybody() -> None:
    """The share is a limit, not a right: else it would delay those who are due first."""
    film, pictures = waiter(32, deadline=30), [waiter(1, deadline=20) for _ in range(9)]
    room = room_of(film, *pictures)
    assert per_waiter(taken(room, 8)) == Counter(pictures[:8])
    assert per_waiter(taken(room, 4)) == {pictures[8]: 1, film: 3}


async def test_tiles_of_a_picture_are_no_film() -> None:
    tiles, picture = waiter(4, deadline=20), waiter(1, deadline=21)
    assert taken(room_of(tiles, picture), 4) == [(tiles, 4)]


async def test_rows_before_a_newcomer_are_of_both_kinds() -> None:
    room = room_of(waiter(32, deadline=5), waiter(2, deadline=6), waiter(1, deadline=9))
    assert room.rows_before(6) == 34
    assert room.rows_before(4) == 0


async def test_whoever_leaves_is_forgotten_in_either_queue() -> None:
    film, picture = waiter(32, deadline=20), waiter(1, deadline=21)
    room = room_of(film, picture)
    assert room.leave(film) == 32
    assert room.rows == 1
    assert taken(room, 16) == [(picture, 1)]
    room = room_of(waiter(32, deadline=20), waiter(1, deadline=21))
    room.fail_all(RuntimeError("down"))
    assert (room.rows, taken(room, 4)) == (0, [])


async def test_who_has_gone_leaves_nothing_behind_those_who_are_due_before_it() -> None:
    """Calls with deadlines in an hour, taken back, while somebody else always waits: their turn
    never comes, and their pixels would be kept as long as the load lasts."""
    room = room_of(waiter(1, deadline=1))
    pixels, places = [], []
    for number in range(500):
        gone = waiter(4 + number % 2, deadline=3600 + number)
        room.add(gone)
        pixels.append(weakref.ref(gone.pixels))
        places.append(weakref.ref(gone))
        assert room.leave(gone) == 4 + number % 2
        del gone
    assert not any(kept() is not None for kept in pixels)
    assert sum(kept() is not None for kept in places) < 100
    assert room.rows == 1
    assert [count for _, count in taken(room, 16)] == [1]


async def test_rows_in_a_batch_stay_what_they_are_when_their_caller_goes() -> None:
    """Else the rows behind them would get each other's embeddings."""
    leaves, stays = waiter(3, deadline=1), waiter(2, deadline=2)
    leaves.pixels[:] = 7
    room = room_of(leaves, stays)
    batch = room.take(4, now=0.0, s_per_row=S_PER_ROW)
    room.leave(leaves)
    assert [len(part.pixels) for part in batch] == [3, 1]
    assert (batch[0].pixels == 7).all()
    assert [len(part.pixels) for part in room.take(4, now=0.0, s_per_row=S_PER_ROW)] == [1]


async def test_a_sweep_keeps_the_order() -> None:
    living = [waiter(1, deadline=10 + n) for n in (3, 1, 2, 0)]
    room = room_of(*living)
    for number in range(200):
        gone = waiter(1, deadline=100 - number % 7)
        room.add(gone)
        room.leave(gone)
    assert [who for who, _ in taken(room, 16)] == sorted(living, key=lambda one: one.deadline)
