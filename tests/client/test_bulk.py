"""Bulk: batches, nothing lost and nothing asked about as two, patience with an end."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from imagesieve import (
    AsyncClient,
    Client,
    ImageEmpty,
    ImageTooLarge,
    Moderated,
    Overloaded,
    PermissionDenied,
    ServerFault,
    ShuttingDown,
    UnknownPolicy,
    Upload,
    Verdict,
)
from imagesieve.backlog import BATCH_BYTES, Backlog, Waiting
from imagesieve.testing import FakeServer, ReceivedRequest, allow, flag, in_turn, undecided
from imagesieve.v1 import moderation_pb2 as pb

Bulk = Callable[..., list[Moderated]]
MIB = 1024 * 1024


@pytest.fixture(params=["blocking", "asyncio"])
def bulk(request: pytest.FixtureRequest) -> Bulk:
    """``bulk(target, images, …)`` through either client."""
    if request.param == "blocking":

        def run(target: str, images: object, **settings: object) -> list[Moderated]:
            with Client(target) as client:
                return list(client.moderate_bulk(images, **settings))  # type: ignore[arg-type]

        return run

    def run_async(target: str, images: object, **settings: object) -> list[Moderated]:
        async def whole() -> list[Moderated]:
            async with AsyncClient(target) as client:
                return [o async for o in client.moderate_bulk(images, **settings)]  # type: ignore[arg-type]

        return _in_a_thread(whole)

    return run_async


def _in_a_thread(whole: Callable[[], object]) -> list[Moderated]:
    """The tests' own event loop may be running."""
    import asyncio

    answers: list[list[Moderated]] = []
    thread = threading.Thread(target=lambda: answers.append(asyncio.run(whole())))  # type: ignore[arg-type]
    thread.start()
    thread.join()
    return answers[0]


def images(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def test_every_image_is_answered_once(bulk: Bulk, server: FakeServer) -> None:
    outcomes = bulk(server.target, images(100), batch=16, policy="strict", dry_run=True)
    assert sorted(outcome.index for outcome in outcomes) == list(range(100))
    assert {o.unwrap().verdict for o in outcomes} == {Verdict.ALLOW}
    assert server.count("ModerateBatch") == 7
    assert Counter(r.image for r in server.requests) == Counter(images(100))
    assert {(r.policy, r.dry_run) for r in server.requests} == {("strict", True)}


def test_one_images_error_is_its_own(bulk: Bulk, tmp_path: Path) -> None:
    def rule(request: ReceivedRequest) -> object:
        if request.image == b"bad":
            raise UnknownPolicy("no policy of that name")
        return flag("weapons")

    sent = [b"good", b"bad", b"", tmp_path / "absent.jpg", b"good"]
    with FakeServer(rule) as server:  # type: ignore[arg-type]
        outcomes = sorted(bulk(server.target, sent), key=lambda outcome: outcome.index)
    kinds = [type(outcome.error) for outcome in outcomes]
    assert kinds == [type(None), UnknownPolicy, ImageEmpty, FileNotFoundError, type(None)]
    assert outcomes[0].unwrap().worst_category == "weapons"
    assert outcomes[0].unwrap().elapsed_s > 0


def test_what_got_no_answer_is_asked_again_as_the_same_request(bulk: Bulk) -> None:
    busy = Overloaded("busy", retry_after_s=0.05)
    with FakeServer(in_turn(allow(), busy, allow(), busy, busy)) as server:
        outcomes = bulk(server.target, images(4))
    assert [o.unwrap().verdict for o in outcomes] == [Verdict.ALLOW] * 4
    attempts = Counter((r.request_id, r.image) for r in server.requests)
    assert len(attempts) == 4
    assert sorted(attempts.values()) == [1, 1, 2, 3]


def test_a_batch_that_breaks_is_sent_again_whole(bulk: Bulk, server: FakeServer) -> None:
    """Beyond gRPC's own five attempts."""
    server.fail_next(ShuttingDown("draining"), times=6, method="ModerateBatch", pushback_ms=1)
    outcomes = bulk(server.target, images(20), batch=20)
    assert sorted(o.index for o in outcomes) == list(range(20))
    assert len({r.request_id for r in server.requests}) == 20
    assert server.count("ModerateBatch") > 6


def test_an_answer_that_was_given_is_not_asked_for_again(bulk: Bulk) -> None:
    refused = threading.Event()

    def rule(request: ReceivedRequest) -> object:
        if request.image == b"1" and not refused.is_set():
            refused.set()
            raise Overloaded("busy", retry_after_s=0.05)
        return allow()

    with FakeServer(rule) as server:  # type: ignore[arg-type]
        bulk(server.target, images(8), batch=4)
    asked = Counter(r.image for r in server.requests)
    assert asked == Counter({**dict.fromkeys(images(8), 1), b"1": 2})


def test_undecided_when_the_time_is_spent(bulk: Bulk) -> None:
    with FakeServer(lambda _: undecided("ENCODER_UNAVAILABLE", retry_after_s=0.1)) as server:
        (outcome,) = bulk(server.target, [Upload(image=b"1", request_id="r-1")], timeout=1.5)
    result = outcome.unwrap()
    assert (result.verdict, result.undecided_reason) == (Verdict.UNDECIDED, "ENCODER_UNAVAILABLE")
    assert (result.request_id, result.retry_after_s) == ("r-1", 0.1)
    assert server.count("ModerateBatch") >= 2
    assert result.elapsed_s <= 60


def test_a_wait_that_is_longer_than_the_time_is_not_begun(bulk: Bulk) -> None:
    with FakeServer(lambda _: undecided(retry_after_s=3600)) as server:
        outcomes = bulk(server.target, images(3))
        assert [o.unwrap().retry_after_s for o in outcomes] == [3600] * 3
        assert server.count("ModerateBatch") == 1


def test_an_unreachable_server(bulk: Bulk, dead_target: str) -> None:
    outcomes = bulk(dead_target, images(5), timeout=6.0)
    assert [o.unwrap().undecided_reason for o in outcomes] == ["UNREACHABLE"] * 5


def test_a_refusal_of_the_caller_reaches_every_image(bulk: Bulk, server: FakeServer) -> None:
    server.fail_next(PermissionDenied("no"), method="ModerateBatch")
    outcomes = bulk(server.target, images(3))
    assert [type(o.error) for o in outcomes] == [PermissionDenied] * 3


def test_a_server_that_answers_something_else_is_a_fault(server: FakeServer) -> None:
    from imagesieve.calls import moderate_batch

    call = moderate_batch([pb.ModerateRequest(request_id="r-1")], timeout_s=1)
    (outcome,) = call.read(pb.ModerateBatchResponse(), 0.1)
    assert isinstance(outcome, ServerFault)


def test_an_image_that_no_batch_can_hold(bulk: Bulk, server: FakeServer) -> None:
    with Client(server.target, max_image_bytes=64 * MIB) as client:
        (outcome,) = client.moderate_bulk([b"x" * (BATCH_BYTES + 1)])
    assert isinstance(outcome.error, ImageTooLarge)


def test_images_are_read_as_batches_leave(server: FakeServer) -> None:
    taken = 0

    def source() -> Iterator[bytes]:
        nonlocal taken
        for image in images(200):
            taken += 1
            yield image

    with Client(server.target) as client:
        outcomes = client.moderate_bulk(source(), batch=8, max_batches=2)
        for number, _ in enumerate(outcomes):
            assert taken <= number + 8 * 4


def test_leaving_early_cancels_what_is_on_its_way(server: FakeServer) -> None:
    server.set_latency(30)
    with Client(server.target) as client:
        outcomes = client.moderate_bulk([b"", *images(50)], batch=4)
        assert isinstance(next(outcomes).error, ImageEmpty)
        outcomes.close()  # type: ignore[attr-defined]
        assert client.health() == "SERVING"


async def test_leaving_early_cancels_what_is_on_its_way_in_asyncio(server: FakeServer) -> None:
    server.set_latency(30)
    async with AsyncClient(server.target) as client:
        many = client.moderate_bulk([b"", *images(50)], batch=4)
        async with contextlib.aclosing(many) as outcomes:  # type: ignore[type-var]
            async for outcome in outcomes:
                assert isinstance(outcome.error, ImageEmpty)
                break
        assert await client.health() == "SERVING"


@pytest.mark.parametrize("numbers", [{"batch": 0}, {"batch": 65}, {"max_batches": 0}])
def test_numbers_under_which_nothing_could_be_sent(client: Client, numbers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="batch"):
        client.moderate_bulk([b"1"], **numbers)  # type: ignore[arg-type]


def test_a_server_that_refuses_everything_for_a_second(bulk: Bulk) -> None:
    """Then everything is answered, and nothing twice."""
    answered: Counter[str] = Counter()

    def rule(request: ReceivedRequest) -> object:
        answered[request.request_id] += 1
        return allow()

    first = FakeServer(rule)  # type: ignore[arg-type]
    first.fail_next(grpc.StatusCode.UNAVAILABLE, times=100, method="ModerateBatch", pushback_ms=-1)
    timer = threading.Timer(1.0, lambda: first.clear_failures())
    timer.start()
    outcomes = bulk(first.target, images(60), batch=8)
    first.stop()
    assert sorted(o.index for o in outcomes) == list(range(60))
    assert {o.unwrap().verdict for o in outcomes} == {Verdict.ALLOW}
    assert set(answered.values()) == {1}


# --- the rules alone ----------------------------------------------------------------------


def waiting(index: int, *, size: int = 1) -> Waiting:
    request = pb.ModerateRequest(request_id=f"r-{index}", image=b"x" * size)
    return Waiting(index=index, upload=Upload(image=b""), request=request)


def taken(backlog: Backlog, now: float) -> list[int]:
    return [one.index for one in backlog.take(now)]


def test_a_batch_has_no_more_bytes_than_the_server_takes() -> None:
    backlog = Backlog(batch=64, batches=2, timeout_s=10)
    for index in range(3):
        backlog.add(waiting(index, size=BATCH_BYTES // 2))
    assert not backlog.wants()
    assert taken(backlog, 0.0) == [0, 1]
    assert taken(backlog, 0.0) == [2]


def test_what_is_sent_again_waits_longer_each_time_and_goes_first() -> None:
    backlog = Backlog(batch=4, batches=2, timeout_s=100)
    backlog.add(waiting(0))
    now, pauses = 0.0, []
    for _ in range(6):
        (one,) = backlog.take(now)
        assert backlog.settle([one], [Overloaded("busy")], now) == []
        due = backlog.next_due()
        assert due is not None
        pauses.append(due - now)
        assert backlog.take(now) == []
        now = due
    assert pauses == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    backlog.add(waiting(1))
    assert taken(backlog, now) == [0]
    assert taken(backlog, now) == [1]


def test_batches_shrink_while_nothing_is_answered_and_grow_again() -> None:
    backlog = Backlog(batch=8, batches=2, timeout_s=1000)
    for index in range(8):
        backlog.add(waiting(index))
    batch = backlog.take(0.0)
    backlog.settle(batch, [Overloaded("busy")] * 8, 0.0)
    batch = backlog.take(1.0)
    assert len(batch) == 4
    backlog.settle(batch, [Overloaded("busy")] * 4, 1.0)
    batch = backlog.take(1.0)
    assert len(batch) == 2
    outcome = [ServerFault("answered, in a way")] * 2
    assert len(backlog.settle(batch, outcome, 1.0)) == 2
    assert len(backlog.take(1.0)) == 2  # what is left of the first eight that is due
    assert len(backlog.take(9.0)) == 3


def test_the_time_of_a_batch_is_that_of_its_oldest_image() -> None:
    backlog = Backlog(batch=4, batches=2, timeout_s=10)
    backlog.add(waiting(0))
    batch = backlog.take(5.0)
    assert backlog.left_s(batch, 5.0) == 10
    backlog.settle(batch, [Overloaded("busy")], 6.0)
    batch = backlog.take(8.0)
    assert backlog.left_s(batch, 8.0) == 7
    (outcome,) = backlog.settle(batch, [Overloaded("busy")], 14.5)
    result = outcome.unwrap()
    assert (result.undecided_reason, result.elapsed_s) == ("OVERLOADED", 9.5)


def test_no_more_images_are_held_than_the_batches_and_one() -> None:
    backlog = Backlog(batch=2, batches=2, timeout_s=10)
    held = 0
    for _ in range(10):
        while backlog.wants():
            backlog.add(waiting(held))
            held += 1
        backlog.take(0.0)
    assert held == 6
