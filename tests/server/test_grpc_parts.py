"""The small parts of the edge: deadlines, identity, streaming, wrapping, labels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from imagesieve_server.core.errors import DeadlinePassed, Unauthenticated
from imagesieve_server.grpc_api.deadlines import item_deadline, unary_deadline, within
from imagesieve_server.grpc_api.identity import (
    Caller,
    LoopbackAuthenticator,
    is_local_peer,
    is_loopback,
)
from imagesieve_server.grpc_api.in_flight import CallsInFlight
from imagesieve_server.grpc_api.interceptors import LABELS, Layered, MapErrors
from imagesieve_server.grpc_api.streaming import answers_as_ready
from imagesieve_server.grpc_api.wrapping import Call

# --- deadlines ---


class Remaining:
    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    def time_remaining(self) -> float | None:
        return self._seconds


@pytest.mark.parametrize(
    ("remaining", "unary_s", "item_s"), [(None, 10, 10), (60.0, 60, 10), (2.0, 2, 2), (0.0, 0, 0)]
)
def test_calls_and_items_have_their_time(
    remaining: float | None, unary_s: float, item_s: float
) -> None:
    context: Any = Remaining(remaining)
    assert unary_deadline(context) - time.monotonic() == pytest.approx(unary_s, abs=0.1)
    assert item_deadline(context) - time.monotonic() == pytest.approx(item_s, abs=0.1)


async def test_work_beyond_its_deadline_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    with pytest.raises(DeadlinePassed):
        await within(time.monotonic() + 0.02, work())
    assert cancelled.is_set()


async def test_a_time_out_of_the_work_itself_is_not_taken_for_the_deadline() -> None:
    async def work() -> None:
        raise TimeoutError("a disk")

    with pytest.raises(TimeoutError, match="a disk"):
        await within(time.monotonic() + 10, work())


# --- identity ---


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("ipv4:127.0.0.1:40312", True),
        ("ipv4:127.1.2.3:40312", True),
        ("ipv6:[::1]:40312", True),
        ("ipv6:%5B::1%5D:40312", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:40312", True),
        ("unix:/run/x.sock", True),
        ("unix:", True),
        ("ipv4:10.0.0.1:40312", False),
        ("ipv6:%5B2001:db8::1%5D:40312", False),
        ("ipv6:%5Bfe80::1%25eth0%5D:40312", False),
        ("vsock:2:1", False),
        ("", False),
    ],
)
async def test_only_callers_of_this_machine_are_the_default_tenant(peer: str, local: bool) -> None:
    caller = Caller(peer=peer, metadata={}, transport={})
    assert is_local_peer(peer) is local
    anybody = await LoopbackAuthenticator(allow_remote=True).authenticate(caller)
    assert (anybody.tenant, anybody.name) == ("default", "")
    if local:
        assert await LoopbackAuthenticator().authenticate(caller) == anybody
    else:
        with pytest.raises(Unauthenticated):
            await LoopbackAuthenticator().authenticate(caller)


def test_a_name_that_only_looks_local_is_not() -> None:
    assert is_loopback("localhost")
    assert not is_loopback("localhost.example.com")
    assert not is_loopback("127.0.0.1.example.com")
    assert not is_loopback("")


# --- calls in flight ---


async def test_a_drain_waits_for_our_calls_only_and_for_one_that_just_began() -> None:
    calls = CallsInFlight()
    with calls.count("grpc.health.v1.Health"):
        await asyncio.wait_for(calls.wait_idle(settled_s=0.01), 1)
    with calls.count("imagesieve.v1.ReviewService"):
        waiting = asyncio.create_task(calls.wait_idle(settled_s=0.1))
        await asyncio.sleep(0.02)
        assert not waiting.done()
    await asyncio.sleep(0.02)
    with calls.count("imagesieve.v1.ReviewService"):
        await asyncio.sleep(0.1)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 1)


# --- streaming ---


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def test_a_reader_that_does_not_read_is_not_read_from() -> None:
    began: list[int] = []
    reading = asyncio.Event()
    sent: list[int] = []

    async def answer(number: int) -> int:
        began.append(number)
        return number

    async def send(number: int) -> None:
        await reading.wait()
        sent.append(number)

    work = asyncio.create_task(
        answers_as_ready(numbers(100), answer=answer, send=send, at_once=5, stop=asyncio.Event())
    )
    await asyncio.sleep(0.02)
    assert len(began) == 5
    reading.set()
    await asyncio.wait_for(work, 2)
    assert sorted(sent) == list(range(100))


async def test_an_error_of_sending_ends_the_work_at_once() -> None:
    cancelled = asyncio.Event()

    async def answer(number: int) -> int:
        if number == 1:
            try:
                await asyncio.sleep(60)
            finally:
                cancelled.set()
        return number

    async def send(number: int) -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        await answers_as_ready(
            numbers(2), answer=answer, send=send, at_once=5, stop=asyncio.Event()
        )
    assert cancelled.is_set()


async def test_an_error_of_the_questions_is_raised_after_the_answers() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError("gone")

    sent: list[int] = []

    async def answer(number: int) -> int:
        return number

    async def send(number: int) -> None:
        sent.append(number)

    with pytest.raises(ConnectionError, match="gone"):
        await answers_as_ready(broken(), answer=answer, send=send, at_once=1, stop=asyncio.Event())
    assert sent == [1]


# --- errors ---


class GoneContext:
    """Of a caller who is no longer there: nothing can be sent."""

    async def abort(self, *_: Any) -> None:
        raise grpc.aio.InternalError("cannot send")


@pytest.mark.parametrize("error", [DeadlinePassed("late"), grpc.aio.InternalError("cannot send")])
async def test_a_failure_to_send_is_the_callers_leaving_and_no_error(error: Exception) -> None:
    context: Any = GoneContext()
    call = Call(service="s", method="m", kind="unary", request=None, context=context)

    async def failing() -> None:
        raise error

    with pytest.raises(asyncio.CancelledError):
        await MapErrors().around(call, failing)


# --- layers ---


async def test_a_method_is_wrapped_once_and_what_does_not_exist_is_not_kept() -> None:
    """However often it is called; paths that callers make up take no memory."""
    method = grpc.unary_unary_rpc_method_handler(lambda request, context: None)
    layered = Layered()

    async def find(details: Any) -> Any:
        return method if details.method == "/s/Method" else None

    def asked(path: str) -> Any:
        return layered.intercept_service(find, SimpleNamespace(method=path))  # type: ignore[arg-type]

    assert await asked("/s/Method") is await asked("/s/Method")
    for number in range(3):
        assert await asked(f"/s/Other{number}") is None
    assert len(layered._wrapped) == 1


# --- labels ---


def test_every_status_code_has_its_label() -> None:
    assert set(LABELS) == set(grpc.StatusCode)
    for code, label in LABELS.items():
        spelt = code.name.replace("_", "").replace("CANCELLED", "CANCELED").lower()
        assert label.lower() == spelt
