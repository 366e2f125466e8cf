"""One encoder for several processes: whose rows are whose, and the other side that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.shared_encoder import Health, connected, served
from helpers.waiting import soon, until
from imagesieve_server.core.errors import (
    DeadlinePassed,
    EncoderUnavailable,
    Overloaded,
)
from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.shared_encoder.greeting import (
    hear_spec,
    say_spec,
    shape_of,
    share,
    take_share,
)
from imagesieve_server.shared_encoder.meeting import (
    MeetingPoint,
    connect_through,
    open_meeting_point,
)
from imagesieve_server.shared_encoder.records import Ask, Asked, AskReader, BadRecord, Tell, Told
from imagesieve_server.shared_encoder.records import TellReader as Reader
from imagesieve_server.shared_encoder.remote import RemoteEncoder, RemoteOptions
from imagesieve_server.shared_encoder.rows import FreeRows, Shape, attach_rows, create_rows
from imagesieve_server.shared_encoder.service import EncoderService
from imagesieve_server.shared_slots import create_slot
from imagesieve_server.testing import FakeEncoder

pytestmark = pytest.mark.timeout(60)

SIDE = 8
CAPACITY = 16


class FirstPixel(FakeEncoder):
    """An encoder that says what the first pixel of each view was when it looked, which is late."""

    rows_per_s = 100.0
    look: Callable[[], float] = staticmethod(lambda: 0.0)  # seconds until it looks

    async def encode(self, pixels: Pixels, *, deadline: float) -> Embeddings:
        await self._running.wait()
        await asyncio.sleep(self.look())
        found = np.zeros((len(pixels), 4), dtype=np.float32)
        found[:, 0] = pixels[:, 0, 0, 0]
        await asyncio.sleep(self.look())
        return found


def views(count: int, value: int = 1) -> Pixels:
    return np.full((count, SIDE, SIDE, 3), value, dtype=np.uint8)


async def all_rows(remote: RemoteEncoder, value: int) -> Embeddings:
    """What comes of a call that needs every row, as soon as the last one is free."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await remote.encode(views(CAPACITY, value), deadline=soon())
            except Overloaded:
                await asyncio.sleep(0.005)


# --- rows and records -------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 7)), max_size=40))
def test_rows_are_lent_to_one_at_a_time_and_all_come_back(steps: list[tuple[int, int]]) -> None:
    """Each step takes some rows, and gives back those of one who has some, or none."""
    free = FreeRows(CAPACITY)
    lent: list[range] = []
    for size, who in steps:
        first = free.take(size)
        used = {row for rows in lent for row in rows}
        if first is None:  # then so many do not lie together
            for at in range(CAPACITY - size + 1):
                assert used & set(range(at, at + size))
        else:
            assert first + size <= CAPACITY
            assert not used & set(range(first, first + size))
            lent.append(range(first, first + size))
        if who < len(lent):
            back = lent.pop(who)
            free.give_back(back.start, len(back))
    for back in lent:
        free.give_back(back.start, len(back))
    assert free.take(CAPACITY) == 0


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_garbled_requests_are_refused_or_in_range(parts: list[bytes]) -> None:
    reader = AskReader(capacity=CAPACITY)
    try:
        for part in parts:
            for ask in reader.feed(part):
                assert ask.kind is Asked.CANCEL or ask.first + ask.rows <= CAPACITY
                assert np.isfinite(ask.deadline)
    except BadRecord:
        return


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_garbled_answers_are_refused_or_in_range(parts: list[bytes]) -> None:
    reader = Reader()
    try:
        for part in parts:
            for tell in reader.feed(part):
                assert tell.number >= 0
                assert np.isfinite(tell.number)
    except BadRecord:
        return


@pytest.mark.parametrize("cut", [1, 7, 24, 31, 32, 33, 1000])
def test_records_arrive_in_pieces(cut: int) -> None:
    asks = [Ask(Asked.ENCODE, n, 1, n + 1, 5.0 + n) for n in range(CAPACITY)]
    tells = [Tell(Told.DONE, generation=n + 1) for n in range(CAPACITY)]
    asked, told = AskReader(capacity=CAPACITY), Reader()
    data = b"".join(ask.dump() for ask in asks)
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
    assert [ask for piece in pieces for ask in asked.feed(piece)] == asks
    data = b"".join(tell.dump() for tell in tells)
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
    assert [tell for piece in pieces for tell in told.feed(piece)] == tells


def test_both_sides_see_one_block() -> None:
    shape = Shape(capacity=5, side=3, width=7)
    ours, fd = create_rows(shape)
    theirs = attach_rows(fd, shape)
    os.close(fd)
    ours.pixels[4] = 9
    theirs.embeddings[4] = 0.5
    assert (theirs.pixels[4] == 9).all()
    assert (theirs.pixels[:4] == 0).all()
    assert (ours.embeddings[4] == 0.5).all()
    assert (ours.embeddings[:4] == 0).all()


def test_memory_that_can_shrink_or_has_another_size_is_refused() -> None:
    shape = Shape(capacity=5, side=3, width=7)
    fd = os.memfd_create("loose", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, shape.size)
    with pytest.raises(ValueError, match="not a block"):
        attach_rows(fd, shape)
    os.close(fd)
    slot = create_slot(shape.size - 1)
    with pytest.raises(ValueError, match="not a block"):
        attach_rows(slot.fd, shape)
    slot.close()


# --- whose pixels -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
async def test_nobody_is_answered_for_the_pixels_of_another(seed: int) -> None:
    """Callers of two front ends come, leave and run out of time, over fewer rows than they want;
    the encoder looks at rows late and answers later still. Every answer is the caller's own."""
    chance = random.Random(seed)
    encoder = FirstPixel(size=SIDE)
    encoder.look = lambda: chance.choice((0.0, 0.0, 0.001, 0.004))
    answered = 0

    async def call(remote: RemoteEncoder, value: int) -> None:
        nonlocal answered
        count = chance.randrange(1, 6)
        limit = chance.choice((20.0, 20.0, 0.003))
        try:
            found = await remote.encode(views(count, value), deadline=soon(limit))
        except (Overloaded, DeadlinePassed):
            return
        assert found.shape == (count, 4)
        assert (found[:, 0] == value).all(), f"caller {value} was told of {found[:, 0]}"
        answered += 1

    async with (
        served(encoder) as (_, door),
        connected(door, capacity=CAPACITY) as one,
        connected(door, capacity=CAPACITY) as two,
    ):
        tasks: list[asyncio.Task[None]] = []
        for value in range(1, 251):
            tasks.append(asyncio.create_task(call(chance.choice((one, two)), value)))
            if chance.random() < 0.3:
                chance.choice(tasks).cancel()
            await asyncio.sleep(chance.choice((0.0, 0.0, 0.002)))
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled():
                task.result()
        for remote in (one, two):  # no row was lost on the way
            assert (await all_rows(remote, 7))[:, 0].tolist() == [7.0] * CAPACITY
    assert answered > 20


async def test_rows_of_a_caller_that_left_are_not_lent_before_the_encoder_let_go() -> None:
    encoder = FirstPixel(size=SIDE)
    async with served(encoder) as (_, door), connected(door, capacity=CAPACITY) as remote:
        encoder.pause()
        gone = asyncio.create_task(remote.encode(views(CAPACITY), deadline=soon()))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):  # the word about it has not come back
            await remote.encode(views(1), deadline=soon())
        encoder.resume()

        await all_rows(remote, 1)


# --- a front end that misbehaves --------------------------------------------------------


@pytest.fixture
async def service() -> AsyncIterator[tuple[FirstPixel, int]]:
    encoder = FirstPixel(size=SIDE)
    async with served(encoder) as (_, door):
        yield encoder, door


async def handshake(door: int) -> tuple[socket.socket, EncoderSpec]:
    connection = connect_through(door)
    return connection, await hear_spec(connection)


async def shared(door: int) -> socket.socket:
    connection, spec = await handshake(door)
    _, fd = create_rows(shape_of(spec, CAPACITY))
    await share(connection, fd, CAPACITY)
    os.close(fd)
    assert await asyncio.get_running_loop().sock_recv(connection, 24)  # the first state
    return connection


async def is_cut(connection: socket.socket) -> bool:
    """Whether the service closes the connection."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(10):
            while await loop.sock_recv(connection, 4096):
                pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    finally:
        connection.close()
    return True


ENCODE = Ask(Asked.ENCODE, 0, 4, 1, 9e9)


@pytest.mark.parametrize(
    "said",
    [
        b"\xff" * 32,
        b"\x00" * 32,
        struct.pack("<BxxxIIxxxxQd", 1, CAPACITY, 1, 1, 9e9),
        struct.pack("<BxxxIIxxxxQd", 1, 2**32 - 1, 2**32 - 1, 1, 9e9),
        struct.pack("<BxxxIIxxxxQd", 1, 0, 0, 1, 9e9),
        struct.pack("<BxxxIIxxxxQd", 1, 0, 1, 1, float("nan")),
        struct.pack("<BxxxIIxxxxQd", 1, 0, 1, 0, 9e9),
        Ask(Asked.CANCEL, 0, 0, 1, 0.0).dump(),  # nothing to cancel
        ENCODE.dump() + Ask(Asked.ENCODE, 3, 4, 2, 9e9).dump(),  # rows in use
        ENCODE.dump() + Ask(Asked.ENCODE, 8, 4, 1, 9e9).dump(),  # a number twice
    ],
)
async def test_what_a_front_end_must_not_say_ends_its_connection_only(
    service: tuple[FirstPixel, int], said: bytes
) -> None:
    _, door = service
    async with connected(door) as other:
        connection = await shared(door)
        await asyncio.get_running_loop().sock_sendall(connection, said)
        assert await is_cut(connection)
        assert (await other.encode(views(2, 5), deadline=soon()))[:, 0].tolist() == [5.0, 5.0]


def _wrong_shares() -> Iterator[tuple[str, bytes, int]]:
    good = struct.pack("<4sI", b"rows", CAPACITY)
    size = Shape(capacity=CAPACITY, side=SIDE, width=4).size
    yield "no memory", good, -1
    yield "a file too short", good, size - 4096
    yield "more rows than fit", struct.pack("<4sI", b"rows", CAPACITY + 1), size
    yield "no rows", struct.pack("<4sI", b"rows", 0), size
    yield "four billion rows", struct.pack("<4sI", b"rows", 2**32 - 1), size
    yield "other words", struct.pack("<4sI", b"ROWS", CAPACITY), size
    yield "half a record", good[:3], size


@pytest.mark.parametrize(("said", "size"), [(s, n) for _, s, n in _wrong_shares()])
async def test_memory_that_is_not_as_announced_is_not_taken(
    service: tuple[FirstPixel, int], said: bytes, size: int
) -> None:
    _, door = service
    async with connected(door) as other:
        connection, _ = await handshake(door)
        if size < 0:
            connection.send(said)
        else:
            slot = create_slot(size)
            socket.send_fds(connection, [said], [slot.fd])
            slot.close()
        assert await is_cut(connection)
        assert (await other.encode(views(1, 5), deadline=soon()))[0, 0] == 5


async def test_files_that_are_no_memory_are_not_taken(service: tuple[FirstPixel, int]) -> None:
    _, door = service
    connection, _ = await handshake(door)
    reading, writing = os.pipe()
    socket.send_fds(connection, [struct.pack("<4sI", b"rows", CAPACITY)], [reading])
    os.close(reading)
    assert await is_cut(connection)
    os.close(writing)


async def test_a_front_end_that_goes_takes_its_work_along(service: tuple[FirstPixel, int]) -> None:
    encoder, door = service
    encoder.pause()
    connection = await shared(door)
    await asyncio.get_running_loop().sock_sendall(connection, ENCODE.dump())
    await asyncio.sleep(0.02)
    connection.close()
    encoder.resume()
    async with connected(door) as other:
        assert (await other.encode(views(1, 5), deadline=soon()))[0, 0] == 5


# --- an encoder process that misbehaves or goes -----------------------------------------


async def test_it_goes_and_comes_back() -> None:
    """Callers under way are told at once, later ones too; it is found again at the same door."""
    encoder, health, downs = FirstPixel(size=SIDE), Health(), []
    point = open_meeting_point()
    service = EncoderService(encoder=encoder, listening=point.listening, beat_s=0.05)
    running = asyncio.create_task(service.run())
    async with connected(point.door, metrics=health, on_down=lambda: downs.append(1)) as remote:
        encoder.pause()
        under_way = asyncio.create_task(remote.encode(views(2), deadline=soon()))
        await asyncio.sleep(0.05)
        assert health.health[-1]
        assert downs == []
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await service.close()
        with pytest.raises(EncoderUnavailable):
            await under_way
        await until(lambda: not remote.healthy)
        assert downs
        with pytest.raises(EncoderUnavailable):
            await remote.encode(views(1), deadline=soon())
        encoder.resume()
        again = EncoderService(encoder=encoder, listening=point.listening, beat_s=0.05)
        running = asyncio.create_task(again.run())
        await until(lambda: remote.healthy)
        assert (await remote.encode(views(1, 6), deadline=soon()))[0, 0] == 6
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await again.close()
    point.close()


async def test_health_travels_at_once(service: tuple[FirstPixel, int]) -> None:
    encoder, door = service
    async with connected(door) as remote:
        encoder.healthy = False
        await until(lambda: not remote.healthy)
        encoder.healthy = True
        await until(lambda: remote.healthy)


async def test_an_error_without_a_name_is_the_encoders(service: tuple[FirstPixel, int]) -> None:
    encoder, door = service

    def look() -> float:
        raise RuntimeError("internal words")

    encoder.look = look
    async with connected(door) as remote:
        with pytest.raises(EncoderUnavailable) as caught:
            await remote.encode(views(1), deadline=soon())
        assert "internal words" not in caught.value.message


class Impostor:
    """An encoder process that says what the test wants it to say."""

    def __init__(self, point: MeetingPoint) -> None:
        self._listening = point.listening
        self._listening.setblocking(False)

    async def meet(self, spec: EncoderSpec) -> socket.socket:
        accepted, _ = await asyncio.get_running_loop().sock_accept(self._listening)
        accepted.setblocking(False)
        try:
            await say_spec(accepted, spec)
            await take_share(accepted, spec)
        except ConnectionError:
            accepted.close()
            raise
        accepted.send(Tell(Told.STATE, healthy=True, number=10.0).dump())
        return accepted


@pytest.mark.parametrize(
    "said",
    [
        b"\xff" * 24,
        Tell(Told.DONE, generation=99).dump(),
        Tell(Told.DONE, generation=1).dump() + Tell(Told.DONE, generation=1).dump(),
        struct.pack("<BBxxxxxxQd", Told.OVERLOADED, 0, 1, float("inf")),
    ],
)
async def test_what_an_encoder_process_must_not_say_ends_the_connection(said: bytes) -> None:
    point = open_meeting_point()
    impostor, spec = Impostor(point), FirstPixel(size=SIDE).spec
    meeting = asyncio.create_task(impostor.meet(spec))
    async with connected(point.door) as remote:
        accepted = await meeting
        first = asyncio.create_task(remote.encode(views(1), deadline=soon()))
        second = asyncio.create_task(remote.encode(views(1), deadline=soon()))
        await asyncio.sleep(0.01)
        accepted.send(said)
        await asyncio.gather(first, return_exceptions=True)
        with pytest.raises(EncoderUnavailable):
            await second
        assert await is_cut(accepted)
    point.close()


async def test_connections_that_are_ended_at_once_are_not_made_without_a_pause() -> None:
    """An encoder process that cannot take the rows must not cost its machine a core."""
    made = []
    point = open_meeting_point()
    point.listening.setblocking(False)

    async def end_each() -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(point.listening)
            with contextlib.closing(accepted):
                made.append(1)
                await say_spec(accepted, FirstPixel(size=SIDE).spec)
                await loop.sock_recv(accepted, 64)

    ending = asyncio.create_task(end_each())
    remote = RemoteEncoder(
        connect=lambda: connect_through(point.door),
        metrics=Health(),
        options=RemoteOptions(capacity=CAPACITY, retry_s=600.0),
    )
    starting = asyncio.create_task(remote.start())
    await until(lambda: bool(made))
    await asyncio.sleep(0.3)
    starting.cancel()
    await remote.close()
    ending.cancel()
    await asyncio.gather(ending, starting, return_exceptions=True)
    point.close()
    assert len(made) == 1


@pytest.mark.parametrize(
    "said", [b"null\n", b"[]\n", b'"spec"\n', b"{}\n", b"\xff\n", b"x" * 99_999]
)
async def test_a_first_word_that_is_no_model_is_refused(said: bytes) -> None:
    ours, theirs = socket.socketpair()
    with contextlib.closing(ours), contextlib.closing(theirs):
        theirs.sendall(said)
        ours.setblocking(False)
        with pytest.raises(BadRecord):
            await hear_spec(ours)


async def test_another_model_is_not_believed() -> None:
    """Policies and kept embeddings are the first one's."""
    point = open_meeting_point()
    impostor = Impostor(point)
    meeting = asyncio.create_task(impostor.meet(FirstPixel(size=SIDE).spec))
    async with connected(point.door) as remote:
        (await meeting).close()
        await until(lambda: not remote.healthy)
        other = asyncio.create_task(impostor.meet(FirstPixel(size=SIDE + 1).spec))
        (problem,) = await asyncio.gather(other, return_exceptions=True)
        assert isinstance(problem, ConnectionError)
        assert not remote.healthy
        assert remote.spec.preprocessing.size == SIDE
    point.close()


async def test_what_is_refused_is_asked_less_and_less_often() -> None:
    """Each time is a line in two logs."""
    point = open_meeting_point()
    impostor, refusals = Impostor(point), 4
    meeting = asyncio.create_task(impostor.meet(FirstPixel(size=SIDE).spec))
    async with connected(point.door) as remote:
        (await meeting).close()
        began = time.monotonic()
        for _ in range(refusals):
            with pytest.raises(ConnectionError):
                await impostor.meet(FirstPixel(size=SIDE + 1).spec)
        assert time.monotonic() - began >= sum(0.02 * 2**n for n in range(refusals))
        (await impostor.meet(FirstPixel(size=SIDE).spec)).close()
        await until(lambda: not remote.healthy)
    point.close()


async def test_silence_counts_as_gone() -> None:
    point = open_meeting_point()
    meeting = asyncio.create_task(Impostor(point).meet(FirstPixel(size=SIDE).spec))
    async with connected(point.door, silent_s=0.2) as remote:
        accepted = await meeting
        with pytest.raises(EncoderUnavailable):
            await remote.encode(views(1), deadline=soon())
        await until(lambda: not remote.healthy)
        accepted.close()
    point.close()


async def test_a_picture_of_more_views_than_there_is_room_for_is_refused_by_name() -> None:
    encoder = FirstPixel(size=SIDE)
    async with served(encoder) as (_, door), connected(door, capacity=4) as remote:
        with pytest.raises(Overloaded):
            await remote.encode(views(5), deadline=soon())
