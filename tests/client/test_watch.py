"""Watching decisions through both clients: it goes on by itself and loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice

import pytest

from imagesieve import (
    AsyncClient,
    Client,
    CursorExpired,
    DecisionEvent,
    Outcome,
    ShuttingDown,
    StoreUnavailable,
    Unreachable,
)
from imagesieve.errors import Unavailable
from imagesieve.testing import FakeServer, flag
from imagesieve.watching import MAX_PAUSE_S, Watch


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(lambda request: flag("weapons")) as server:
        yield server


def decide(client: Client, *names: str) -> None:
    for name in names:
        client.moderate(name.encode(), request_id=name, content_ref=f"post/{name}")
        lease = client.review.claim(reviewer="ana")
        assert lease is not None
        client.review.decide(lease.item.item_id, lease.token, Outcome.REJECT)


def names(events: Iterator[DecisionEvent], count: int) -> list[str]:
    return [event.request_id for event in islice(events, count)]


def test_an_event_says_which_upload_was_decided_and_how(client: Client) -> None:
    decide(client, "r-1")
    (event,) = islice(client.review.watch(from_oldest=True), 1)
    assert (event.request_id, event.content_ref) == ("r-1", "post/r-1")
    assert (event.decision.outcome, event.decision.reviewer) == (Outcome.REJECT, "ana")
    assert event.cursor


def test_a_watch_begins_now(client: Client) -> None:
    decide(client, "r-1")
    begun = threading.Event()
    events = client.review.watch(save=lambda _: begun.set())
    late = threading.Thread(target=lambda: begun.wait(20) and decide(client, "r-2"))
    late.start()
    assert names(events, 1) == ["r-2"]
    late.join()


def test_a_cursor_is_saved_when_what_is_before_it_has_been_dealt_with(client: Client) -> None:
    decide(client, "r-1", "r-2", "r-3")
    saved: list[str] = []
    events = client.review.watch(from_oldest=True, save=saved.append)
    first = next(events)
    assert first.cursor not in saved
    next(events)
    assert saved[-1] == first.cursor
    assert names(client.review.watch(cursor=saved[-1]), 2) == ["r-2", "r-3"]


@pytest.mark.parametrize("error", [ShuttingDown("bye"), StoreUnavailable("disk")])
def test_an_interrupted_watch_goes_on_where_it_stood(
    client: Client, server: FakeServer, error: Unavailable
) -> None:
    decide(client, "r-1", "r-2")
    events = client.review.watch(from_oldest=True)
    assert next(events).request_id == "r-1"
    server.fail_next(error, method="WatchDecisions", pushback_ms=-1)
    server.end_watches()
    assert names(events, 1) == ["r-2"]
    decide(client, "r-3")
    assert names(events, 1) == ["r-3"]
    assert server.count("WatchDecisions") >= 2


def test_a_refusal_is_raised_and_not_repeated(client: Client, server: FakeServer) -> None:
    with pytest.raises(CursorExpired):
        next(client.review.watch(cursor="moon"))
    assert server.count("WatchDecisions") == 1


def test_a_server_that_was_never_reached_is_an_error(dead_target: str) -> None:
    with Client(dead_target) as client, pytest.raises(Unreachable):
        next(client.review.watch(timeout=0.01))


def test_closing_the_client_ends_the_watch(server: FakeServer) -> None:
    client = Client(server.target)
    begun = threading.Event()
    events = client.review.watch(save=lambda _: begun.set())
    closing = threading.Thread(target=lambda: begun.wait(20) and client.close())
    closing.start()
    assert list(events) == []
    closing.join()
    assert list(client.review.watch()) == []


def test_pauses_grow_to_a_limit_and_begin_anew_after_contact() -> None:
    now = 0.0
    watch = Watch(cursor="", from_oldest=False, save=None, timeout_s=10.0, clock=lambda: now)
    watch.failed(Unreachable("not yet"))
    pauses = [watch.pause() for _ in range(12)]
    assert pauses[0] < 0.3
    assert max(pauses) <= MAX_PAUSE_S * 1.2
    assert pauses[-1] >= MAX_PAUSE_S * 0.8
    watch.reached()
    assert watch.pause() < 0.3
    now = 1e9
    watch.failed(Unreachable("later: waited for without end"))


async def test_the_same_through_asyncio(
    client: Client, async_client: AsyncClient, server: FakeServer
) -> None:
    decide(client, "r-1", "r-2")
    saved: list[str] = []
    events = async_client.review.watch(from_oldest=True, save=saved.append)
    first = await anext(events)
    server.end_watches()
    second = await anext(events)
    assert [first.request_id, second.request_id] == ["r-1", "r-2"]
    assert saved == [first.cursor]
    with pytest.raises(CursorExpired):
        await anext(async_client.review.watch(cursor="moon"))
    closed = AsyncClient(server.target)
    await closed.close()
    assert [event async for event in closed.review.watch()] == []
