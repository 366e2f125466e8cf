"""What the comparison with other servers rests on: whole batches counted, answers held equal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from benchmarks import peer_answers
from benchmarks.steady import Steady

BATCH = 4


class Server:
    """Answers in batches, one a second; its processor time is a second an answer."""

    def __init__(self) -> None:
        self.answered = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._device = asyncio.Lock()

    def now(self) -> float:
        return self.answered / BATCH

    async def work(self, number: int) -> None:
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        if len(self._waiting) == BATCH:
            batch, self._waiting = self._waiting, []
            async with self._device:
                self.answered += BATCH
                for one in batch:
                    one.set_result(None)
                for _ in range(3):  # whoever got an answer looks at the clock before the next batch
                    await asyncio.sleep(0)
        await mine

    def processor_s(self) -> dict[int, float]:
        return {1: float(self.answered)}


def test_a_stretch_holds_whole_batches_and_their_cost() -> None:
    """Only those between two batches' first answers: neither warming up nor the end is in it."""
    server = Server()
    steady = Steady(warm_s=2.0, seconds=2.5, server=server.processor_s, clock=server.now)
    found = asyncio.run(steady.of(server.work, callers=BATCH))
    assert found.images == 3 * BATCH
    assert found.server_cpu_s == found.images
    assert found.wall_s == 3.0
    assert found.images_per_s == BATCH
    assert server.answered >= (2 + 3) * BATCH  # the first batches and those after do not count


def test_a_stretch_does_not_begin_with_the_last_answer_of_a_batch() -> None:
    """Of callers who are whole batches the last one to be answered is the last of a batch."""
    server = Server()
    steady = Steady(warm_s=0.5, seconds=2.5, server=server.processor_s, clock=server.now)
    found = asyncio.run(steady.of(server.work, callers=2 * BATCH))
    assert (found.images, found.wall_s) == (3 * BATCH, 3.0)


def test_answers_that_come_long_after_the_end_are_let_be() -> None:
    """Callers in flight at the end may wait longer than the stretch was."""
    server = Server()
    steady = Steady(warm_s=0.5, seconds=0.5, server=server.processor_s, clock=server.now)
    found = asyncio.run(steady.of(server.work, callers=4 * BATCH))
    assert (found.images, found.wall_s) == (BATCH, 1.0)


def test_a_failed_call_ends_the_measurement() -> None:
    async def refused(number: int) -> None:
        raise ConnectionError

    steady = Steady(warm_s=0.0, seconds=60.0, server=dict)
    with pytest.raises(ConnectionError):
        asyncio.run(steady.of(refused, callers=2))


def field(number: int, content: bytes) -> bytes:
    assert len(content) < 0x80
    return bytes([number << 3 | 2, len(content)]) + content


@pytest.mark.parametrize("raw", [True, False])
def test_an_embedding_is_found_in_an_infer_response(raw: bool) -> None:
    """In either of the two places where the protocol allows it; a number between is skipped."""
    wanted = np.array([0.5, -2.0, 3.0], dtype=np.float32)
    shape = bytes([3 << 3, 3])
    contents = b"" if raw else field(5, field(6, wanted.tobytes()))
    tensor = field(1, b"embeddings") + shape + contents
    answer = field(1, b"clip") + field(5, tensor) + (field(6, wanted.tobytes()) if raw else b"")
    assert peer_answers.of_infer_response(answer).tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("found", "distance"),
    [([[1, 0], [0, 2]], 0.0), ([[1, 0], [0, 1]], 1 / 5**0.5), ([[1, 0]], float("inf"))],
)
def test_distance_is_in_parts_of_what_lies_between_pictures(
    found: Sequence[Sequence[float]], distance: float
) -> None:
    wanted = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert peer_answers.apart(np.array(found), wanted) == pytest.approx(distance)
