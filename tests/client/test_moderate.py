"""What ``moderate`` answers, and when it answers UNDECIDED instead of raising."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from imagesieve import (
    AsyncClient,
    Client,
    DeadlinePassed,
    DeadlineUnmeetable,
    EncoderUnavailable,
    ImageEmpty,
    ImageTooLarge,
    Overloaded,
    QuotaExceeded,
    RequestIdReused,
    ServerFault,
    ShuttingDown,
    StoreUnavailable,
    Unavailable,
    UnknownPolicy,
    Unreachable,
    Verdict,
)
from imagesieve.testing import FakeServer, allow, by_sha256, flag

UNAVAILABLE = [
    Overloaded("busy", retry_after_s=2.5),
    DeadlineUnmeetable("too slow"),
    DeadlinePassed("over"),
    QuotaExceeded("enough for today", metadata={"subject": "views"}, retry_after_s=60.0),
    ShuttingDown("draining"),
    EncoderUnavailable("no encoder"),
    StoreUnavailable("no store"),
]


def test_an_allowed_image_may_be_published(client: Client) -> None:
    result = client.moderate(b"picture")
    assert result.verdict is Verdict.ALLOW
    assert result.may_publish
    assert result.undecided_reason == ""
    assert result.elapsed_s > 0


def test_a_flagged_image_names_its_worst_category_and_its_item() -> None:
    with FakeServer(lambda _: flag("weapons", score=0.8)) as server, Client(server.target) as c:
        result = c.moderate(b"picture")
    assert result.verdict is Verdict.REVIEW
    assert not result.may_publish
    assert result.worst is not None
    assert (result.worst.category, result.worst.score) == ("weapons", 0.8)
    assert result.item_id


def test_everything_the_caller_says_reaches_the_server(client: Client, server: FakeServer) -> None:
    result = client.moderate(
        b"picture",
        request_id="r-1",
        policy="strict",
        categories=["weapons", "drugs"],
        surface="avatar",
        content_ref="post/7",
        uploader_ref="user/9",
        labels={"lang": "de"},
        dry_run=True,
    )
    (request,) = server.requests
    assert request.image == b"picture"
    assert (request.request_id, request.policy) == ("r-1", "strict")
    assert request.categories == ("weapons", "drugs")
    assert (request.surface, request.content_ref) == ("avatar", "post/7")
    assert (request.uploader_ref, request.labels) == ("user/9", {"lang": "de"})
    assert request.dry_run
    assert (result.content_ref, result.labels, result.dry_run) == ("post/7", {"lang": "de"}, True)


def test_each_call_gets_a_request_id_of_its_own(client: Client, server: FakeServer) -> None:
    ids = {client.moderate(b"picture").request_id for _ in range(3)}
    assert ids == {request.request_id for request in server.requests}
    assert len(ids) == 3


def test_an_image_comes_from_bytes_a_path_or_an_open_file(
    client: Client, server: FakeServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"picture")
    for source in (b"picture", bytearray(b"picture"), memoryview(b"picture"), path):
        client.moderate(source)
    client.moderate(io.BytesIO(b"picture"))
    with path.open("rb") as file:
        client.moderate(file)
    assert [request.image for request in server.requests] == [b"picture"] * 6


def test_a_string_is_refused_since_it_could_be_a_path_or_an_image(client: Client) -> None:
    with pytest.raises(TypeError, match="Path"):
        client.moderate("a.jpg")  # type: ignore[arg-type]


def test_a_file_in_text_mode_is_refused(client: Client) -> None:
    with pytest.raises(TypeError, match="binary"):
        client.moderate(io.StringIO("picture"))  # type: ignore[arg-type]


def test_an_empty_image_is_refused_without_a_call(client: Client, server: FakeServer) -> None:
    with pytest.raises(ImageEmpty):
        client.moderate(b"")
    assert server.count("Moderate") == 0


def test_an_image_over_the_cap_is_refused_without_a_call(
    server: FakeServer, tmp_path: Path
) -> None:
    path = tmp_path / "large.jpg"
    path.write_bytes(b"x" * 101)
    with Client(server.target, max_image_bytes=100) as client:
        assert client.moderate(b"x" * 100).may_publish
        for source in (b"x" * 101, path, io.BytesIO(b"x" * 101)):
            with pytest.raises(ImageTooLarge) as caught:
                client.moderate(source)
            assert caught.value.metadata == {"max_bytes": "100"}
    assert server.count("Moderate") == 1


def test_the_default_cap_is_twenty_mebibytes(client: Client, server: FakeServer) -> None:
    with pytest.raises(ImageTooLarge):
        client.moderate(b"x" * (20 * 2**20 + 1))
    assert client.moderate(b"x" * (20 * 2**20)).may_publish
    assert server.count("Moderate") == 1


def test_an_endless_file_is_read_no_further_than_the_cap(client: Client) -> None:
    class Endless(io.RawIOBase):
        taken = 0

        def read(self, size: int = -1) -> bytes:
            self.taken += min(size, 4096)
            return b"x" * min(size, 4096)

    endless = Endless()
    with pytest.raises(ImageTooLarge):
        client.moderate(endless)  # type: ignore[arg-type]
    assert endless.taken == 20 * 2**20 + 1


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"request_id": 5}, "request_id is a str, not int"),
        ({"request_id": 0}, "request_id is a str, not int"),
        ({"content_ref": 5}, "content_ref is a str, not int"),
        ({"uploader_ref": 5}, "uploader_ref is a str, not int"),
        ({"surface": None}, "surface is a str, not NoneType"),
        ({"policy": b"demo"}, "policy is a str, not bytes"),
        ({"categories": "weapons"}, "categories is a list of ids, not a str"),
        ({"categories": [1]}, "each of categories is a str, not int"),
        ({"labels": {"lang": 1}}, "each of labels is a str, not int"),
    ],
)
def test_what_is_no_text_is_named_and_not_sent(
    client: Client, server: FakeServer, settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(TypeError, match=named):
        client.moderate(b"picture", **settings)
    assert server.count("Moderate") == 0


@pytest.mark.parametrize("error", UNAVAILABLE, ids=lambda error: error.reason)
def test_unavailable_reasons_become_undecided(
    client: Client, server: FakeServer, error: Unavailable
) -> None:
    server.fail_next(error, pushback_ms=-1)
    result = client.moderate(b"picture", request_id="r-1", content_ref="post/7")
    assert result.verdict is Verdict.UNDECIDED
    assert not result.may_publish
    assert result.undecided_reason == error.reason
    assert result.undecided_message == error.message
    assert result.retry_after_s == error.retry_after_s
    assert (result.request_id, result.content_ref) == ("r-1", "post/7")


async def test_unavailable_reasons_become_undecided_for_asyncio_too(
    async_client: AsyncClient, server: FakeServer
) -> None:
    for error in UNAVAILABLE:
        server.fail_next(error, pushback_ms=-1)
        result = await async_client.moderate(b"picture")
        assert (result.verdict, result.undecided_reason) == (Verdict.UNDECIDED, error.reason)


def test_a_reason_newer_than_the_client_is_still_undecided(
    client: Client, server: FakeServer
) -> None:
    server.fail_next(Unavailable("?", reason="MOON_PHASE"), pushback_ms=-1)
    assert client.moderate(b"picture").undecided_reason == "MOON_PHASE"


def test_an_unreachable_server_is_undecided_long_before_the_timeout(dead_target: str) -> None:
    with Client(dead_target) as client:
        result = client.moderate(b"picture", timeout=60)
    assert (result.verdict, result.undecided_reason) == (Verdict.UNDECIDED, "UNREACHABLE")
    assert result.elapsed_s < 15


def test_waiting_for_a_server_spends_the_whole_timeout(dead_target: str) -> None:
    with Client(dead_target, wait_for_ready=True) as client:
        result = client.moderate(b"picture", timeout=0.4)
    assert (result.verdict, result.undecided_reason) == (Verdict.UNDECIDED, "DEADLINE_PASSED")
    assert result.elapsed_s >= 0.4


@pytest.fixture
def stuck() -> Iterator[tuple[FakeServer, threading.Event]]:
    """A server whose answers wait for an event, and that event."""
    entered, free = threading.Event(), threading.Event()

    def wait(_: object) -> object:
        entered.set()
        free.wait(30)
        return allow()

    with FakeServer(wait) as server:  # type: ignore[arg-type]
        yield server, entered
        free.set()


def test_a_spent_timeout_is_undecided(stuck: tuple[FakeServer, threading.Event]) -> None:
    with Client(stuck[0].target) as client:
        result = client.moderate(b"picture", timeout=0.3)
    assert (result.verdict, result.undecided_reason) == (Verdict.UNDECIDED, "DEADLINE_PASSED")


def test_a_server_that_dies_in_the_middle_is_undecided(
    stuck: tuple[FakeServer, threading.Event],
) -> None:
    server, entered = stuck
    killer = threading.Thread(target=lambda: entered.wait(10) and server.stop())
    killer.start()
    with Client(server.target) as client:
        result = client.moderate(b"picture", timeout=20)
    killer.join()
    assert result.verdict is Verdict.UNDECIDED
    assert result.undecided_reason in ("UNREACHABLE", "CANCELLED")


def test_a_request_the_server_refuses_raises(client: Client, server: FakeServer) -> None:
    server.fail_next(UnknownPolicy("no policy of that name"))
    with pytest.raises(UnknownPolicy, match="no policy of that name") as caught:
        client.moderate(b"picture", policy="nope")
    assert caught.value.code is grpc.StatusCode.NOT_FOUND


def test_a_fault_of_the_server_raises_and_is_not_repeated(
    client: Client, server: FakeServer
) -> None:
    server.fail_next(ServerFault("internal error", metadata={"incident": "abc"}))
    with pytest.raises(ServerFault) as caught:
        client.moderate(b"picture")
    assert caught.value.metadata == {"incident": "abc"}
    assert server.count("Moderate") == 1


def test_a_repeat_gets_the_first_answer_and_other_bytes_raise() -> None:
    with FakeServer(lambda _: flag("weapons")) as server, Client(server.target) as client:
        first = client.moderate(b"picture", request_id="r-1")
        again = client.moderate(b"picture", request_id="r-1")
        assert first.item_id == again.item_id != ""
        assert len(server.queue.items) == 1
        with pytest.raises(RequestIdReused):
            client.moderate(b"another", request_id="r-1")


def test_other_methods_raise_what_moderate_reports(dead_target: str) -> None:
    with Client(dead_target) as client, pytest.raises(Unreachable):
        client.review.stats()


def test_rules_by_digest() -> None:
    rule = by_sha256({hashlib.sha256(b"bad").hexdigest(): flag("weapons", verdict=Verdict.BLOCK)})
    with FakeServer(rule) as server, Client(server.target) as client:
        assert client.moderate(b"bad").verdict is Verdict.BLOCK
        assert client.moderate(b"good").verdict is Verdict.ALLOW
