"""Many images: a bound on what is in flight, outcomes as they arrive, errors kept apart."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagesieve import (
    AsyncClient,
    Client,
    ImageEmpty,
    InvalidRequest,
    Moderated,
    ModerationResult,
    UnknownPolicy,
    Upload,
    Verdict,
)
from imagesieve.testing import FakeServer, ReceivedRequest, allow


class Watched:
    """A rule that answers only when ``width`` requests are there, and counts how many are."""

    def __init__(self, *, width: int) -> None:
        self._together = threading.Barrier(width)
        self._lock = threading.Lock()
        self._now = 0
        self.peak = 0

    def __call__(self, request: ReceivedRequest) -> ModerationResult:
        with self._lock:
            self._now += 1
            self.peak = max(self.peak, self._now)
        time.sleep(0.02)  # one too many would have arrived by now
        self._together.wait(timeout=30)
        with self._lock:
            self._now -= 1
        return allow()


class Counted:
    """Images that count how many were taken from it."""

    def __init__(self, count: int) -> None:
        self.taken = 0
        self._count = count

    def __iter__(self) -> Iterator[bytes]:
        for number in range(self._count):
            self.taken += 1
            yield b"%d" % number


def test_no_more_images_are_in_flight_than_asked_for() -> None:
    rule = Watched(width=4)
    with FakeServer(rule) as server, Client(server.target) as client:
        outcomes = list(client.moderate_many(Counted(20), max_in_flight=4, timeout=60))
    assert rule.peak == 4
    assert sorted(outcome.index for outcome in outcomes) == list(range(20))


async def test_no_more_images_are_in_flight_than_asked_for_in_asyncio() -> None:
    rule = Watched(width=4)
    with FakeServer(rule) as server:
        async with AsyncClient(server.target) as client:
            outcomes = [
                o async for o in client.moderate_many(Counted(20), max_in_flight=4, timeout=60)
            ]
    assert rule.peak == 4
    assert sorted(outcome.index for outcome in outcomes) == list(range(20))


def test_a_slow_consumer_slows_the_reading(client: Client) -> None:
    images = Counted(50)
    for number, _ in enumerate(client.moderate_many(images, max_in_flight=3)):
        assert images.taken <= number + 1 + 3


async def test_a_slow_consumer_slows_the_reading_in_asyncio(async_client: AsyncClient) -> None:
    images = Counted(50)
    number = 0
    async for _ in async_client.moderate_many(images, max_in_flight=3):
        number += 1
        assert images.taken <= number + 3


@pytest.fixture
def first_waits() -> Iterator[tuple[FakeServer, threading.Event]]:
    """A server that answers the image ``slow`` only after an event, and that event."""
    free = threading.Event()

    def rule(request: ReceivedRequest) -> ModerationResult:
        if request.image == b"slow":
            free.wait(30)
        return allow()

    with FakeServer(rule) as server:
        yield server, free
        free.set()


def test_outcomes_come_in_the_order_of_their_answers(
    first_waits: tuple[FakeServer, threading.Event],
) -> None:
    server, free = first_waits
    with Client(server.target) as client:
        outcomes = client.moderate_many([b"slow", b"1", b"2", b"3"], timeout=60)
        assert {next(outcomes).index for _ in range(3)} == {1, 2, 3}
        free.set()
        last = next(outcomes)
    assert (last.index, last.upload.image) == (0, b"slow")


async def test_outcomes_come_in_the_order_of_their_answers_in_asyncio(
    first_waits: tuple[FakeServer, threading.Event],
) -> None:
    server, free = first_waits
    async with AsyncClient(server.target) as client:
        outcomes = client.moderate_many([b"slow", b"1", b"2", b"3"], timeout=60)
        assert {(await anext(outcomes)).index for _ in range(3)} == {1, 2, 3}
        free.set()
        assert (await anext(outcomes)).index == 0


def refuse_bad(request: ReceivedRequest) -> ModerationResult:
    if request.image == b"bad":
        raise UnknownPolicy("no policy of that name")
    return allow()


def test_one_images_error_is_its_own(tmp_path: Path) -> None:
    images = [b"good", b"bad", b"", tmp_path / "absent.jpg", b"good"]
    with FakeServer(refuse_bad) as server, Client(server.target) as client:
        outcomes = sorted(client.moderate_many(images), key=lambda outcome: outcome.index)
    kinds = [type(outcome.error) for outcome in outcomes]
    assert kinds == [type(None), UnknownPolicy, ImageEmpty, FileNotFoundError, type(None)]
    assert outcomes[0].unwrap().verdict is Verdict.ALLOW
    with pytest.raises(UnknownPolicy):
        outcomes[1].unwrap()


async def test_one_images_error_is_its_own_in_asyncio(tmp_path: Path) -> None:
    images = [b"good", b"bad", b"", tmp_path / "absent.jpg", b"good"]
    with FakeServer(refuse_bad) as server:
        async with AsyncClient(server.target) as client:
            outcomes = [outcome async for outcome in client.moderate_many(images)]
    kinds = [type(o.error) for o in sorted(outcomes, key=lambda outcome: outcome.index)]
    assert kinds == [type(None), UnknownPolicy, ImageEmpty, FileNotFoundError, type(None)]


def odd_ones() -> list[Any]:
    """Each wrong by itself, with a good one behind them."""
    return [
        Upload(image=b"a", content_ref=7),  # type: ignore[arg-type]
        Upload(image=b"a", request_id=7),  # type: ignore[arg-type]
        Upload(image=b"a", labels={"lang": 1}),  # type: ignore[dict-item]
        Upload(image=b"a", labels=["lang"]),  # type: ignore[arg-type]
        Upload(image=b"a", content_ref="\udcff.jpg"),  # a file's name that is no UTF-8
        "a.jpg",
        Path("a\0b"),
        b"good",
    ]


WORDS = [
    "content_ref is a str, not int", "request_id is a str, not int", "each of labels is a str",
    "labels is a mapping, not list", "surrogates not allowed", "not str", "null byte",
]  # fmt: skip


def all_but_the_last_refused(outcomes: list[Moderated]) -> None:
    *odd, good = sorted(outcomes, key=lambda outcome: outcome.index)
    assert good.unwrap().verdict is Verdict.ALLOW
    for outcome, words in zip(odd, WORDS, strict=True):
        assert isinstance(outcome.error, InvalidRequest)
        assert words in outcome.error.message


def test_what_is_no_text_or_image_is_its_images_own_error() -> None:
    with FakeServer() as server, Client(server.target) as client:
        all_but_the_last_refused(list(client.moderate_many(odd_ones())))
        all_but_the_last_refused(list(client.moderate_bulk(odd_ones())))
        assert [request.image for request in server.requests] == [b"good"] * 2


async def test_what_is_no_text_or_image_is_its_images_own_error_in_asyncio() -> None:
    with FakeServer() as server:
        async with AsyncClient(server.target) as client:
            all_but_the_last_refused([o async for o in client.moderate_many(odd_ones())])
            all_but_the_last_refused([o async for o in client.moderate_bulk(odd_ones())])


@pytest.mark.parametrize("common", [{"policy": 5}, {"categories": "weapons"}, {"categories": [1]}])
async def test_what_all_images_have_in_common_is_refused_before_the_first(
    client: Client, async_client: AsyncClient, common: dict[str, Any]
) -> None:
    images = Counted(3)
    for asked in (client, async_client):
        for method in (asked.moderate_many, asked.moderate_bulk):
            with pytest.raises(TypeError, match="str"):
                method(images, **common)
    assert images.taken == 0


def test_an_upload_says_what_is_its_own_and_the_call_what_is_common(server: FakeServer) -> None:
    upload = Upload(
        image=b"a",
        request_id="r-1",
        content_ref="post/7",
        uploader_ref="user/9",
        surface="avatar",
        labels={"lang": "de"},
    )
    with Client(server.target) as client:
        (outcome,) = client.moderate_many([upload], policy="strict", dry_run=True)
    (request,) = server.requests
    assert outcome.upload is upload
    assert (request.request_id, request.content_ref) == ("r-1", "post/7")
    assert (request.uploader_ref, request.surface) == ("user/9", "avatar")
    assert (request.labels, request.policy, request.dry_run) == ({"lang": "de"}, "strict", True)


def test_retries_and_undecided_are_as_for_one_image(dead_target: str) -> None:
    with Client(dead_target) as client:
        outcomes = list(client.moderate_many([b"1", b"2"]))
    assert [o.unwrap().undecided_reason for o in outcomes] == ["UNREACHABLE"] * 2
    assert all(outcome.unwrap().elapsed_s > 0 for outcome in outcomes)


@pytest.fixture
def stuck() -> Iterator[FakeServer]:
    """A server that answers the first image and then none."""
    free = threading.Event()

    def rule(request: ReceivedRequest) -> ModerationResult:
        if request.image != b"0":
            free.wait(30)
        return allow()

    with FakeServer(rule) as server:
        yield server
        free.set()


def test_leaving_early_cancels_what_is_in_flight(stuck: FakeServer) -> None:
    images = Counted(100)
    started = time.monotonic()
    with Client(stuck.target) as client:
        outcomes = client.moderate_many(images, max_in_flight=4, timeout=30)
        assert next(outcomes).index == 0
        outcomes.close()  # type: ignore[attr-defined]
        assert client.health() == "SERVING"
    assert time.monotonic() - started < 10
    assert images.taken <= 5


async def test_leaving_early_cancels_what_is_in_flight_in_asyncio(stuck: FakeServer) -> None:
    images = Counted(100)
    started = time.monotonic()
    async with AsyncClient(stuck.target) as client:
        many = client.moderate_many(images, max_in_flight=4, timeout=30)
        async with contextlib.aclosing(many) as outcomes:  # type: ignore[type-var]
            async for outcome in outcomes:
                assert outcome.index == 0
                break
        assert await client.health() == "SERVING"
    assert time.monotonic() - started < 10
    assert images.taken <= 5


def test_an_error_of_the_callers_iterable_reaches_the_caller(client: Client) -> None:
    def images() -> Iterator[bytes]:
        yield b"1"
        raise RuntimeError("the bucket is gone")

    with pytest.raises(RuntimeError, match="bucket"):
        list(client.moderate_many(images()))


@pytest.mark.parametrize("bound", [0, -1])
def test_a_bound_under_which_nothing_could_be_sent_is_refused(client: Client, bound: int) -> None:
    with pytest.raises(ValueError, match="max_in_flight"):
        client.moderate_many([b"1"], max_in_flight=bound)


def test_no_images_no_outcomes(client: Client) -> None:
    assert list(client.moderate_many([])) == []
