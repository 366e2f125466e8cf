"""The fake server's own promises to the people who test with it."""

from __future__ import annotations

import re

import grpc
import pytest

import imagesieve.testing
from imagesieve import Client, ImageTooLarge, QuotaExceeded, Verdict
from imagesieve.testing import FakeServer, ReceivedRequest, allow, flag
from imagesieve.testing.services import METHODS
from imagesieve.v1 import moderation_pb2, moderation_pb2_grpc, policy_pb2, review_pb2


def test_the_example_in_its_docstring_runs() -> None:
    example = re.search(r"\n\n((?:    .*\n|\n)+)", imagesieve.testing.__doc__ or "")
    assert example is not None
    exec("if True:\n" + example[1], {})


def test_it_serves_every_method_that_the_client_calls() -> None:
    described = {
        (service.full_name, method.name): method.input_type.full_name
        for module in (moderation_pb2, review_pb2, policy_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    served = {(m.service, m.name): m.request.DESCRIPTOR.full_name for m in METHODS}
    served.pop(("grpc.health.v1.Health", "Check"))
    assert served.items() <= described.items()
    not_called = {"ModerateBatch", "ModerateStream"}
    assert {name for _, name in described.keys() - served.keys()} == not_called


NO_PROXY = [("grpc.enable_http_proxy", 0)]


def test_a_method_it_does_not_know_is_unimplemented(server: FakeServer) -> None:
    with grpc.insecure_channel(server.target, NO_PROXY) as channel:
        stub = moderation_pb2_grpc.ModerationServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModerateBatch(moderation_pb2.ModerateBatchRequest(), timeout=10)
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
