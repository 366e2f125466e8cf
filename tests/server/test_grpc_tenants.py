"""Every method, asked by those who may not: over a real server and SQLite.

One tenant has items, a lease, a decision and a page half read. Then everybody else names them:
nobody, a wrong token, an expired caller, a caller without the role, and another tenant with
every role. What each is told is a golden table; that nothing of the first tenant is in any
answer, and that nothing of it changed, is asserted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from helpers import contract
from helpers.contract import METHODS
from helpers.grpc_rig import Rig, ask, running, seen
from imagesieve.v1 import moderation_pb2, review_pb2
from imagesieve_server.grpc_api.caller_authenticator import CallersAuthenticator
from imagesieve_server.grpc_api.callers import kept_callers, new_token, token_digest
from imagesieve_server.grpc_api.identity import Role
from imagesieve_server.grpc_api.roles import ACCESS
from imagesieve_server.testing import RED, RecordingMetrics, colour_policy, ppm

MODERATION = "/imagesieve.v1.ModerationService/"
REVIEW = "/imagesieve.v1.ReviewService/"
POLICY = "/imagesieve.v1.PolicyService/"
QUALITY = "/imagesieve.v1.QualityService/"
STANDARD = [path for path in METHODS if not path.startswith("/imagesieve.")]

EVERYBODY = {
    "ann": ("shop", list(Role), ""),
    "bob": ("forum", list(Role), ""),
    "old": ("shop", list(Role), "expires = 2020-01-01"),
    **{f"only-{role}": ("shop", [role], "") for role in Role},
}
TOKENS = {name: new_token() for name in EVERYBODY}
MAGENTA = (255, 0, 255)
OURS, THEIRS = ppm(RED, side=7), ppm(MAGENTA, side=9)


def callers_file() -> str:
    return "\n".join(
        f"""[[caller]]
name = "{name}"
tenant = "{tenant}"
roles = {[role.value for role in roles]}
token_sha256 = ["{token_digest(TOKENS[name])}"]
{expires}
"""
        for name, (tenant, roles, expires) in EVERYBODY.items()
    )


def as_caller(name: str) -> tuple[tuple[str, str], ...]:
    token = TOKENS.get(name, name)
    return (("authorization", f"Bearer {token}"),) if token else ()


@dataclass(frozen=True)
class Names:
    """What the first tenant's caller knows, and nobody else should get anything by."""

    item_id: str  # leased
    token: str
    page_token: str
    cursor: str
    decided_id: str
    group_id: str  # of which one has been closed as "close-1"
    snapshot: str
    count: int

    def secrets(self) -> list[bytes]:
        words = (
            self.item_id,
            self.token,
            self.decided_id,
            self.group_id,
            "ref-of-shop",
            "note-of-shop",
        )
        return [word.encode() for word in words] + [OURS]


REQUESTS: Mapping[str, Callable[[Names], Any]] = {
    # The same request_id with another picture: ALREADY_EXISTS would tell that it is known.
    MODERATION + "Moderate": lambda n: ask("r-leased", THEIRS),
    MODERATION + "ModerateBatch": lambda n: moderation_pb2.ModerateBatchRequest(
        requests=[ask("r-decided", THEIRS)]
    ),
    MODERATION + "ModerateStream": lambda n: moderation_pb2.ModerateStreamRequest(
        request=ask("r-ready", THEIRS)
    ),
    REVIEW + "Claim": lambda n: review_pb2.ClaimRequest(claim_id="c-leased", include_image=True),
    REVIEW + "Extend": lambda n: review_pb2.ExtendRequest(item_id=n.item_id, token=n.token),
    REVIEW + "Release": lambda n: review_pb2.ReleaseRequest(item_id=n.item_id, token=n.token),
    REVIEW + "Decide": lambda n: review_pb2.DecideRequest(
        item_id=n.item_id, token=n.token, outcome=review_pb2.OUTCOME_APPROVE
    ),
    REVIEW + "Get": lambda n: review_pb2.GetRequest(item_id=n.item_id, include_image=True),
    REVIEW + "List": lambda n: review_pb2.ListRequest(page_size=1, page_token=n.page_token),
    REVIEW + "Stats": lambda n: review_pb2.StatsRequest(),
    REVIEW + "Requeue": lambda n: review_pb2.RequeueRequest(item_id=n.item_id),
    REVIEW + "Reopen": lambda n: review_pb2.ReopenRequest(
        item_id=n.decided_id, cause=review_pb2.REOPEN_CAUSE_APPEAL
    ),
    REVIEW + "Erase": lambda n: review_pb2.EraseRequest(item_id=n.decided_id, reason="order"),
    REVIEW + "ListGroups": lambda n: review_pb2.ListGroupsRequest(),
    REVIEW + "GetGroup": lambda n: review_pb2.GetGroupRequest(group_id=n.group_id),
    REVIEW + "ListGroupItems": lambda n: review_pb2.ListGroupItemsRequest(group_id=n.group_id),
    REVIEW + "CloseGroup": lambda n: review_pb2.CloseGroupRequest(
        close_id="close-1",
        group_id=n.group_id,
        snapshot=n.snapshot,
        count=n.count,
        outcome=review_pb2.OUTCOME_APPROVE,
    ),
    REVIEW + "GetGroupClose": lambda n: review_pb2.GetGroupCloseRequest(close_id="close-1"),
    REVIEW + "UndoGroupClose": lambda n: review_pb2.UndoGroupCloseRequest(close_id="close-1"),
    REVIEW + "WatchDecisions": lambda n: review_pb2.WatchDecisionsRequest(cursor=n.cursor),
    POLICY + "GetPolicy": lambda n: contract.request_of(POLICY + "GetPolicy"),
    POLICY + "ListPolicies": lambda n: contract.request_of(POLICY + "ListPolicies"),
    POLICY + "ReloadPolicies": lambda n: contract.request_of(POLICY + "ReloadPolicies"),
    QUALITY + "GetQuality": lambda n: contract.request_of(QUALITY + "GetQuality"),
    QUALITY + "MarkGolden": lambda n: contract.request_of(
        QUALITY + "MarkGolden", item_id=n.decided_id
    ),
    QUALITY + "UnmarkGolden": lambda n: contract.request_of(
        QUALITY + "UnmarkGolden", item_id=n.decided_id
    ),
    QUALITY + "ListGoldens": lambda n: contract.request_of(QUALITY + "ListGoldens"),
    **{path: lambda n, path=path: contract.request_of(path) for path in STANDARD},
}
"""Each method with the first tenant's names."""


async def closed_group(rig: Rig, ann: tuple[tuple[str, str], ...]) -> str:
    """A group whose one item was closed as "close-1"."""
    moderated = await rig.moderation.Moderate(ask("r-first", ppm(RED, side=20)), metadata=ann)
    group_id: str = moderated.item_id
    shown = await rig.review.GetGroup(review_pb2.GetGroupRequest(group_id=group_id), metadata=ann)
    await rig.review.CloseGroup(
        review_pb2.CloseGroupRequest(
            close_id="close-1",
            group_id=group_id,
            snapshot=shown.snapshot,
            count=shown.closable,
            outcome=review_pb2.OUTCOME_REJECT,
            note="note-of-shop",
        ),
        metadata=ann,
    )
    return group_id


async def fill(rig: Rig) -> Names:
    """Give the first tenant a closed group, and of its look-alikes one item leased, one decided
    and two ready."""
    ann = as_caller("ann")
    group_id = await closed_group(rig, ann)
    for index, name in enumerate(("leased", "decided", "ready", "ready2")):
        image = OURS if name == "leased" else ppm(RED, side=10 + index)
        request = ask(f"r-{name}", image, content_ref="ref-of-shop", labels={"k": "ref-of-shop"})
        await rig.moderation.Moderate(request, metadata=ann)
    leases = {}
    for name in ("leased", "decided"):
        claim = review_pb2.ClaimRequest(claim_id=f"c-{name}")
        leases[name] = await rig.review.Claim(claim, metadata=ann)
    decided = leases["decided"]
    decision = review_pb2.DecideRequest(
        item_id=decided.item.item_id,
        token=decided.token,
        outcome=review_pb2.OUTCOME_REJECT,
        note="note-of-shop",
    )
    await rig.review.Decide(decision, metadata=ann)
    page = await rig.review.List(review_pb2.ListRequest(page_size=1), metadata=ann)
    watch = rig.review.WatchDecisions(review_pb2.WatchDecisionsRequest(), metadata=ann)
    cursor = (await watch.read()).cursor
    watch.cancel()
    shown = await rig.review.GetGroup(review_pb2.GetGroupRequest(group_id=group_id), metadata=ann)
    return Names(
        item_id=leases["leased"].item.item_id,
        token=leases["leased"].token,
        page_token=page.next_page_token,
        cursor=cursor,
        decided_id=decided.item.item_id,
        group_id=group_id,
        snapshot=shown.snapshot,
        count=shown.closable,
    )


async def told(rig: Rig, names: Names, path: str, caller: str) -> str:
    """Status and reason of a call with the first tenant's names; asserts that no data came."""
    request = REQUESTS[path](names)
    try:
        answer = await contract.call(rig.channel, path, request, metadata=as_caller(caller))
    except grpc.aio.AioRpcError as error:
        refusal = seen(error)
        leaked = [s for s in names.secrets() if s in refusal.everything.encode()]
        assert leaked == [], (path, caller, refusal.everything)
        detail = refusal.metadata.get("detail", "")
        return " ".join(filter(None, (refusal.code.name, refusal.reason, detail)))
    sent = answer.SerializeToString()
    assert [secret for secret in names.secrets() if secret in sent] == [], (path, caller)
    return "OK"


def wrong_role(path: str) -> str:
    """A caller of the first tenant with a role that the method does not take."""
    return next((f"only-{role}" for role in Role if role not in ACCESS[path].roles), "")


def rows_of(database: Path, tenant: str) -> dict[str, list[Any]]:
    """Everything the database has of a tenant, table by table."""
    with sqlite3.connect(database) as connection:
        tables = [row[0] for row in connection.execute("select name from sqlite_master where "
                                                       "type = 'table'")]  # fmt: skip
        found: dict[str, list[Any]] = {}
        for table in tables:
            columns = [row[1] for row in connection.execute(f"pragma table_info({table})")]
            if "tenant" in columns:
                query = f"select * from {table} where tenant = ?"
                found[table] = sorted(map(repr, connection.execute(query, (tenant,))))
    connection.close()
    return found


@pytest.fixture
def authenticator(tmp_path: Path) -> CallersAuthenticator:
    path = tmp_path / "callers.toml"
    path.write_text(callers_file())
    callers = kept_callers(path, client_ca=False, metrics=RecordingMetrics())
    callers.load()
    return CallersAuthenticator(callers=callers)


def test_every_method_is_asked() -> None:
    assert set(REQUESTS) == set(METHODS)


async def test_who_may_not_learns_nothing_and_changes_nothing(
    tmp_path: Path, authenticator: CallersAuthenticator, golden: Callable[[str, str], None]
) -> None:
    policies = [colour_policy(flagged=(("red", RED),))]
    async with running(policies=policies, folder=tmp_path, authenticator=authenticator) as rig:
        names = await fill(rig)
        before = await snapshot(rig)
        lines = []
        for path in REQUESTS:
            columns = {
                "no identity": await told(rig, names, path, ""),
                "unknown token": await told(rig, names, path, "ims_unknown"),
                "expired": await told(rig, names, path, "old"),
            }
            if role := wrong_role(path):
                columns["wrong role"] = await told(rig, names, path, role)
            columns["other tenant"] = await told(rig, names, path, "bob")
            lines.append(path)
            lines += [f"    {who:14} {what}" for who, what in columns.items()]
        after = await snapshot(rig)
        theirs = await rig.review.Stats(review_pb2.StatsRequest(), metadata=as_caller("bob"))
    assert after == before
    assert (theirs.ready, theirs.leased, theirs.parked) == (0, 0, 0)
    golden("access.txt", "\n".join(lines) + "\n")


async def snapshot(rig: Rig) -> list[bytes]:
    """All that the first tenant can see of itself."""
    ann = as_caller("ann")
    states = [number for number in review_pb2.ItemState.values() if number]
    page = await rig.review.List(review_pb2.ListRequest(states=states), metadata=ann)
    items = [
        await rig.review.Get(
            review_pb2.GetRequest(item_id=item.item_id, include_image=True), metadata=ann
        )
        for item in page.items
    ]
    assert len(items) == 5
    return [item.SerializeToString(deterministic=True) for item in items]


async def test_the_rows_of_a_tenant_are_untouched_by_another(
    tmp_path: Path, authenticator: CallersAuthenticator
) -> None:
    """What the database holds, not what the server says it does."""
    database = tmp_path / "queue.sqlite3"
    policies = [colour_policy(flagged=(("red", RED), ("magenta", MAGENTA)))]
    async with running(policies=policies, folder=tmp_path, authenticator=authenticator) as rig:
        names = await fill(rig)
    before = rows_of(database, "shop")
    async with running(policies=policies, folder=tmp_path, authenticator=authenticator) as rig:
        for path in REQUESTS:
            await told(rig, names, path, "bob")
        # The same bytes under the other tenant: an item of its own, no joining.
        again = ask("r-bob", OURS)
        await rig.moderation.Moderate(again, metadata=as_caller("bob"))
        mine = await rig.review.List(review_pb2.ListRequest(), metadata=as_caller("bob"))
    assert rows_of(database, "shop") == before
    assert sum(len(rows) for rows in before.values()) > 8
    assert sorted(item.submissions for item in mine.items) == [1, 3]  # ours; theirs, three times
    assert names.item_id not in {item.item_id for item in mine.items}


async def test_the_same_names_in_their_own_tenant_do_open(
    tmp_path: Path, authenticator: CallersAuthenticator
) -> None:
    """The control: each refusal above is because of the caller and not of the request."""
    async with running(folder=tmp_path, authenticator=authenticator) as rig:
        names = await fill(rig)
        ann = as_caller("ann")
        for path in (REVIEW + "Get", REVIEW + "List", REVIEW + "Extend", REVIEW + "WatchDecisions"):
            request = REQUESTS[path](names)
            assert await contract.call(rig.channel, path, request, metadata=ann)
        decide = REQUESTS[REVIEW + "Decide"](names)
        made = await rig.review.Decide(decide, metadata=ann)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rig.moderation.Moderate(REQUESTS[MODERATION + "Moderate"](names), metadata=ann)
    assert made.decision.reviewer == "ann"
    assert seen(caught.value).reason == "REQUEST_ID_REUSED"
