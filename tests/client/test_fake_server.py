"""The fake server's own promises to the people who test with it."""

from __future__ import annotations

import re
import threading

import grpc
import pytest

import imagesieve.testing
from imagesieve import (
    Client,
    ImageEmpty,
    ImageTooLarge,
    ModerationResult,
    QuotaExceeded,
    ServerFault,
    Upload,
    Verdict,
)
from imagesieve.testing import (
    FakeServer,
    ReceivedRequest,
    allow,
    flag,
    in_turn,
    undecided,
)
from imagesieve.testing.services import METHODS
from imagesieve.v1 import moderation_pb2, moderation_pb2_grpc, policy_pb2, quality_pb2, review_pb2


def test_the_example_in_its_docstring_runs() -> None:
    example = re.search(r"\n\n((?:    .*\n|\n)+)", imagesieve.testing.__doc__ or "")
    assert example is not None
    exec("if True:\n" + example[1], {})


def test_it_serves_every_method_that_the_client_calls() -> None:
    described = {
        (service.full_name, method.name): method.input_type.full_name
        for module in (moderation_pb2, review_pb2, policy_pb2, quality_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    served = {(m.service, m.name): m.request.DESCRIPTOR.full_name for m in METHODS}
    served.pop(("grpc.health.v1.Health", "Check"))
    assert served.items() <= described.items()
    not_called = {"ModerateStream"}
    assert {name for _, name in described.keys() - served.keys()} == not_called


NO_PROXY = [("grpc.enable_http_proxy", 0)]


def test_a_method_it_does_not_know_is_unimplemented(server: FakeServer) -> None:
    with grpc.insecure_channel(server.target, NO_PROXY) as channel:
        stub = moderation_pb2_grpc.ModerationServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.ModerateStream(iter([]), timeout=10))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_it_speaks_to_the_generated_stubs(server: FakeServer) -> None:
    with grpc.insecure_channel(server.target, NO_PROXY) as channel:
        stub = moderation_pb2_grpc.ModerationServiceStub(channel)
        request = moderation_pb2.ModerateRequest(request_id="r-1", image=b"picture")
        answer = stub.Moderate(request, timeout=10)
    assert answer.verdict == 1
    assert answer.request_id == "r-1"


def test_failures_are_used_up_in_order(client: Client, server: FakeServer) -> None:
    server.fail_next(ImageTooLarge("first"))
    server.fail_next(grpc.StatusCode.RESOURCE_EXHAUSTED)
    with pytest.raises(ImageTooLarge, match="first"):
        client.moderate(b"picture")
    assert client.moderate(b"picture").undecided_reason == "RESOURCE_EXHAUSTED"
    assert client.moderate(b"picture").may_publish


def test_failures_of_one_method_leave_the_others_alone(client: Client, server: FakeServer) -> None:
    server.fail_next(ImageTooLarge("no"), method="Moderate")
    assert client.review.stats().ready == 0
    with pytest.raises(ImageTooLarge):
        client.moderate(b"picture")


def test_a_rule_can_refuse() -> None:
    def rule(request: ReceivedRequest) -> object:
        raise QuotaExceeded("enough", metadata={"subject": "views"}, retry_after_s=1.5)

    with FakeServer(rule) as server, Client(server.target) as client:  # type: ignore[arg-type]
        result = client.moderate(b"picture")
    assert (result.undecided_reason, result.retry_after_s) == ("QUOTA_EXCEEDED", 1.5)


@pytest.mark.parametrize("verdict", [Verdict.REVIEW, Verdict.BLOCK])
def test_flags_are_queued_and_dry_runs_are_not(verdict: Verdict) -> None:
    rule = lambda _: flag("weapons", verdict=verdict)  # noqa: E731  # a user's own way to write it
    with FakeServer(rule) as server, Client(server.target) as client:
        assert client.moderate(b"picture", dry_run=True).item_id == ""
        assert server.queue.items == ()
        answer = client.moderate(b"picture")
        (item,) = server.queue.items
    assert (item.item_id, item.verdict, item.answer) == (answer.item_id, verdict, item.answer)
    assert item.size_bytes == len(b"picture")


def test_the_helpers_make_what_they_say() -> None:
    assert allow().verdict is Verdict.ALLOW
    blocked = flag("weapons", verdict=Verdict.BLOCK, score=0.7)
    assert (blocked.verdict, blocked.reasons[0].code) == (Verdict.BLOCK, "CATEGORY_BLOCK")
    assert blocked.worst is not None
    assert (blocked.worst.score, blocked.worst.band) == (0.7, "BLOCK")


def test_a_stopped_server_answers_nobody() -> None:
    server = FakeServer()
    server.stop()
    with Client(server.target) as client:
        assert client.moderate(b"picture").undecided_reason == "UNREACHABLE"


def test_two_servers_do_not_share_anything() -> None:
    with FakeServer() as one, FakeServer() as other, Client(one.target) as client:
        client.moderate(b"picture")
        assert one.target != other.target
        assert (len(one.requests), len(other.requests)) == (1, 0)


def test_a_script_of_answers() -> None:
    rule = in_turn(flag("weapons"), undecided(), ImageTooLarge("no"), afterwards=flag("drugs"))
    with FakeServer(rule) as server, Client(server.target) as client:
        assert client.moderate(b"1").worst_category == "weapons"
        assert client.moderate(b"2").undecided_reason == "OVERLOADED"
        with pytest.raises(ImageTooLarge):
            client.moderate(b"3")
        assert [client.moderate(b"4").worst_category for _ in range(2)] == ["drugs", "drugs"]


def test_a_scripted_undecided_is_one_attempt_and_can_be_asked_again() -> None:
    rule = in_turn(undecided("STORE_UNAVAILABLE", retry_after_s=7.0))
    with FakeServer(rule) as server, Client(server.target) as client:
        first = client.moderate(b"picture")
        assert (first.verdict, first.undecided_reason) == ("UNDECIDED", "STORE_UNAVAILABLE")
        assert (first.retry_after_s, server.count("Moderate")) == (7.0, 1)
        assert client.moderate(b"picture", request_id=first.request_id).may_publish


def test_a_reason_that_no_server_gives_is_a_mistake_of_the_test() -> None:
    with (
        FakeServer(lambda _: undecided("UNREACHABLE")) as server,
        Client(server.target) as client,
        pytest.raises(ServerFault, match="for UNREACHABLE, stop it"),
    ):
        client.moderate(b"picture")


def test_it_can_be_slow(client: Client, server: FakeServer) -> None:
    server.set_latency(0.2)
    assert client.moderate(b"picture").elapsed_s >= 0.2
    server.set_latency(60)
    assert client.moderate(b"picture", timeout=0.1).undecided_reason == "DEADLINE_PASSED"


def test_a_batch_is_answered_image_by_image() -> None:
    rule = in_turn(flag("weapons"), ImageEmpty("no bytes"), undecided(), allow())
    requests = [
        moderation_pb2.ModerateRequest(request_id=f"r-{n}", image=b"%d" % n) for n in range(4)
    ]
    with FakeServer(rule) as server, grpc.insecure_channel(server.target, NO_PROXY) as channel:
        stub = moderation_pb2_grpc.ModerationServiceStub(channel)
        batch = moderation_pb2.ModerateBatchRequest(requests=requests)
        results = stub.ModerateBatch(batch, timeout=10).results
        with pytest.raises(grpc.RpcError, match="requests"):
            stub.ModerateBatch(moderation_pb2.ModerateBatchRequest(), timeout=10)
        assert [request.image for request in server.requests] == [b"0", b"1", b"2", b"3"]
    assert [result.request_id for result in results] == ["r-0", "r-1", "r-2", "r-3"]
    assert [result.WhichOneof("result") for result in results] == [
        "response",
        "error",
        "error",
        "response",
    ]
    assert (results[1].error.reason, results[1].error.code) == ("IMAGE_EMPTY", 3)
    assert (results[2].error.reason, results[2].error.retry_after_seconds) == ("OVERLOADED", 3600)


def test_repeats_at_the_same_time_are_one_item() -> None:
    together = threading.Barrier(2)

    def rule(request: ReceivedRequest) -> ModerationResult:
        together.wait(timeout=30)
        return flag("weapons")

    with FakeServer(rule) as server, Client(server.target) as client:
        uploads = [Upload(image=b"picture", request_id="r-1")] * 2
        answers = [outcome.unwrap() for outcome in client.moderate_many(uploads, timeout=60)]
        assert len(server.queue.items) == 1
    assert answers[0].item_id == answers[1].item_id
