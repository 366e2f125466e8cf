"""Who may call what: the table, the gate in front of every method, and what it leaves behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from helpers import contract
from helpers.contract import METHODS
from helpers.grpc_rig import Refused, Rig, ask, refused, running, seen, until
from imagesieve.v1 import moderation_pb2, review_pb2
from imagesieve_server.grpc_api import deadlines
from imagesieve_server.grpc_api.identity import Caller, Identity, Role, Unproved, unproved
from imagesieve_server.grpc_api.roles import ACCESS

Code = grpc.StatusCode
MODERATE = "/imagesieve.v1.ModerationService/Moderate"
CHECK = "/grpc.health.v1.Health/Check"


class Known:
    """Believes the header ``name`` and gives each caller the roles of the test's choice."""

    def __init__(self, **roles: frozenset[Role]) -> None:
        self.roles = roles

    async def authenticate(self, caller: Caller) -> Identity:
        name = str(caller.metadata.get("name", ""))
        if name not in self.roles:
            raise unproved(Unproved.UNKNOWN_TOKEN, "say who you are")
        return Identity(tenant="shop", name=name, roles=self.roles[name])


def call(rig: Rig, path: str, *, name: str = "") -> Any:
    """A call of any method with an empty message."""
    return contract.call(rig.channel, path, metadata=(("name", name),))


async def outcome(rig: Rig, path: str, *, name: str = "") -> Code | Refused:
    for _ in range(3):
        try:
            await call(rig, path, name=name)
        except grpc.aio.AioRpcError as error:
            if error.details() == "Internal error from Core":  # gRPC's own, now and then; no answer
                continue
            return seen(error)
        return Code.OK
    raise AssertionError(f"gRPC fails to call {path}")


# --- the table ---


def test_the_table_has_every_method_and_no_other() -> None:
    assert set(ACCESS) == set(METHODS)


def test_the_table_opens_nothing_by_accident() -> None:
    """Each row says roles or that nobody is asked, and only the health check asks nobody."""
    assert [path for path, row in ACCESS.items() if bool(row.roles) == row.anonymous] == []
    assert [path for path, row in ACCESS.items() if row.anonymous] == [CHECK]


async def test_each_role_calls_what_the_table_gives_it_and_nothing_else() -> None:
    callers = {role.value: frozenset({role}) for role in Role}
    wrong = []
    async with running(authenticator=Known(**callers)) as rig:
        for path, row in ACCESS.items():
            for role in Role:
                got = await outcome(rig, path, name=role.value)
                denied = isinstance(got, Refused) and got.reason == "PERMISSION_DENIED"
                if denied == (row.anonymous or role in row.roles):
                    wrong.append((path, role, got))
    assert wrong == []


async def test_a_refusal_names_the_roles_that_would_do() -> None:
    async with running(authenticator=Known(ann=frozenset({Role.REVIEWER}))) as rig:
        error = await refused(call(rig, MODERATE, name="ann"))
        get = await refused(call(rig, "/imagesieve.v1.PolicyService/ReloadPolicies", name="ann"))
        calls = rig.metrics.named("call_refused")
    assert (error.code, error.reason) == (Code.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert error.metadata == {"method": "Moderate", "roles": "uploader"}
    assert get.message == "ReloadPolicies needs the role admin or policy"
    assert calls == [{"reason": "PERMISSION_DENIED"}] * 2


async def test_a_method_that_is_not_in_the_table_is_open_to_nobody() -> None:
    table = {path: row for path, row in ACCESS.items() if path != MODERATE}
    async with running(gate={"access": table}) as rig:
        error = await refused(rig.moderation.Moderate(ask()))
    assert (error.code, error.reason) == (Code.PERMISSION_DENIED, "PERMISSION_DENIED")


async def test_nobody_unknown_gets_through_except_to_the_health_check() -> None:
    async with running(authenticator=Known()) as rig:
        got = {path: await outcome(rig, path) for path in METHODS}
    assert got.pop(CHECK) is Code.OK
    for path, error in got.items():
        assert isinstance(error, Refused), path
        assert (error.code, error.reason) == (Code.UNAUTHENTICATED, "UNAUTHENTICATED"), path
        assert error.metadata == {"detail": "UNKNOWN_TOKEN"}, path


async def test_without_a_callers_file_this_machine_may_do_everything() -> None:
    async with running() as rig:
        got = {path: await outcome(rig, path) for path in METHODS}
    denied = [
        path
        for path, error in got.items()
        if isinstance(error, Refused)
        and error.code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)
    ]
    assert denied == []


# --- before the body ---


async def _half_sent(rig: Rig, path: str, *, name: str = "", **settings: Any) -> Any:
    """A call of a unary method whose message never comes."""

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b""

    return await rig.channel.stream_unary(path)(
        nothing(), metadata=(("name", name),), timeout=20, **settings
    )


@pytest.mark.parametrize("path", sorted(p for p in METHODS if p != CHECK))
async def test_who_is_refused_is_told_before_the_request_has_come(path: str) -> None:
    async with running(authenticator=Known()) as rig:
        error = await refused(_half_sent(rig, path))
    assert (error.code, error.reason) == (Code.UNAUTHENTICATED, "UNAUTHENTICATED")


async def test_a_request_that_never_comes_does_not_keep_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadlines, "DEFAULT_S", 0.1)

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b""

    async with running() as rig:
        for path in (MODERATE, CHECK):
            error = await refused(rig.channel.stream_unary(path)(nothing()))
            assert (error.code, error.reason) == (Code.DEADLINE_EXCEEDED, "DEADLINE_PASSED")


@pytest.mark.parametrize("messages", [[], [b"\xff\xff\xff"]], ids=["none", "not a message"])
async def test_a_request_that_is_none_is_the_callers_mistake(messages: list[bytes]) -> None:
    async def send() -> AsyncIterator[bytes]:
        for message in messages:
            yield message

    async with running() as rig:
        error = await refused(rig.channel.stream_unary(MODERATE)(send()))
    assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "INVALID_REQUEST")


# --- streams live on ---


@dataclass
class Revocable:
    """Knows one caller, until told otherwise."""

    identity: Identity | None
    asked: int = 0

    async def authenticate(self, caller: Caller) -> Identity:
        self.asked += 1
        if self.identity is None:
            raise unproved(Unproved.UNKNOWN_TOKEN, "the token was taken away")
        return self.identity


ANN = Identity(tenant="shop", name="ann")


@pytest.mark.parametrize(
    ("then", "code", "detail"),
    [
        (None, Code.UNAUTHENTICATED, "UNKNOWN_TOKEN"),
        (Identity(tenant="other", name="ann"), Code.UNAUTHENTICATED, "CHANGED"),
        (Identity(tenant="shop", name="ann", roles=frozenset()), Code.PERMISSION_DENIED, ""),
    ],
    ids=["unknown", "of another tenant", "without the role"],
)
async def test_a_stream_ends_when_its_caller_is_no_longer_let_in(
    then: Identity | None, code: Code, detail: str
) -> None:
    caller = Revocable(ANN)
    async with running(authenticator=caller, gate={"recheck_s": 0.02}) as rig:
        stream = rig.moderation.ModerateStream()
        await stream.write(moderation_pb2.ModerateStreamRequest(request=ask()))
        first = await stream.read()
        caller.identity = then
        error = await refused(stream.read())
        await until(lambda: rig.metrics.named("rpc_handled") != [])
        handled = rig.metrics.named("rpc_handled")
    assert first.result.response.request_id == "r-1"
    assert error.code is code
    assert error.metadata.get("detail", "") == detail
    assert len(handled) == 1


async def test_a_stream_of_a_caller_who_stays_goes_on() -> None:
    caller = Revocable(ANN)
    async with running(authenticator=caller, gate={"recheck_s": 0.01}) as rig:
        stream = rig.moderation.ModerateStream()
        await until(lambda: caller.asked > 3)
        await stream.write(moderation_pb2.ModerateStreamRequest(request=ask()))
        got = await stream.read()
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        asked = caller.asked
        await asyncio.sleep(0.05)
    assert got.result.response.request_id == "r-1"
    assert caller.asked == asked, "the stream is over, and its caller still looked for"


# --- what is left behind ---


async def test_the_log_says_who_called_and_never_what_proved_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = (("name", "ann"), ("authorization", "Bearer s3cret"))
    async with running(authenticator=Known(ann=frozenset({Role.UPLOADER}))) as rig:
        await rig.moderation.Moderate(ask(), metadata=secret)
        await refused(rig.review.Stats(review_pb2.StatsRequest(), metadata=secret))
    lines = [vars(record) for record in caplog.records if hasattr(record, "rpc_method")]
    found = {line["rpc_method"]: (line.get("tenant"), line.get("caller")) for line in lines}
    assert found["Moderate"] == ("shop", "ann")
    assert found["Stats"] == ("shop", "ann")
    assert "s3cret" not in str([vars(record) for record in caplog.records])


async def test_two_authorization_headers_are_one_too_many() -> None:
    twice = (("authorization", "Bearer a"), ("authorization", "Bearer b"))
    async with running() as rig:
        error = await refused(rig.moderation.Moderate(ask(), metadata=twice))
    assert (error.code, error.metadata) == (Code.UNAUTHENTICATED, {"detail": "MALFORMED"})
