"""What only PostgreSQL has: several servers at once, its clock, its locks, its death."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from helpers.postgres import PostgresServer, engine_for_test, lives, open_for_test, postmasters
from helpers.review_queue import Desk, ManualClock, make_flag
from imagesieve_server.core.errors import LeaseLost, StoreNotUsable, StoreUnavailable
from imagesieve_server.core.golden import GoldenRequest
from imagesieve_server.core.review import (
    Cause,
    ClaimRequest,
    DecideRequest,
    ListRequest,
    Outcome,
    State,
)
from imagesieve_server.core.review_afterwards import EraseRequest, ReopenRequest
from imagesieve_server.review_queue import deciding, erasing, events, goldens, recording
from imagesieve_server.review_queue.evidence import EvidenceStore, FolderEvidence
from imagesieve_server.review_queue.evidence_mark import FolderMark, require_same_evidence
from imagesieve_server.review_queue.postgres import open_postgres, postgres_engine, shown
from imagesieve_server.review_queue.postgres_session import Patience
from imagesieve_server.review_queue.rows import Transaction
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.review_queue.writer import QueueWriter

pytestmark = pytest.mark.postgres


@pytest.fixture
def other(postgres_url: str, clock: ManualClock) -> Iterator[RuledStore]:
    """A second server of the same queue."""
    store = open_for_test(postgres_url, clock)
    yield store
    store.close()


@pytest.fixture
def desk(postgres: RuledStore, clock: ManualClock) -> Desk:
    return Desk(store=postgres, clock=clock)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(80) as pool:
        yield pool


class Halfway:
    """A transaction of a server that did its work and has not committed."""

    def __init__(
        self, pool: ThreadPoolExecutor, store: RuledStore, work: Callable[[Transaction], Any]
    ) -> None:
        self._go_on = threading.Event()
        worked = threading.Event()

        def run() -> Any:
            with store.backend.write() as tx:
                result = work(tx)
                worked.set()
                assert self._go_on.wait(60.0)
            return result

        self._future = pool.submit(run)
        while not worked.wait(0.05):
            assert not self._future.done(), self._future.result()

    def commit(self) -> Any:
        self._go_on.set()
        return self._future.result(60.0)


def blocked(server: PostgresServer, url: str) -> int:
    """How many statements wait for a lock."""
    text = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
        "AND datname = current_database()"
    )
    (row,) = server.run(url, text)
    return int(row[0])


def wait_until_blocked(
    server: PostgresServer, url: str, future: Future[Any], count: int = 1
) -> None:
    while blocked(server, url) < count:
        assert not future.done(), "it was to wait for the other transaction"
        time.sleep(0.01)


def decision(desk: Desk, name: str) -> DecideRequest:
    """A lease on a new item, and the word to be said about it."""
    desk.keep(name)
    lease = desk.lease()
    return DecideRequest(
        tenant="t",
        item_id=lease.item.item_id,
        token=lease.token,
        reviewer="ann",
        outcome=Outcome.REJECT,
    )


def told(store: RuledStore) -> list[str]:
    page = store.events(tenant="t", from_oldest=True)
    return [event.request_id for event in page.events]


# --- events ---


def test_transactions_that_would_commit_in_reverse_order_lose_no_event(
    desk: Desk,
    other: RuledStore,
    threads: ThreadPoolExecutor,
    postgres_server: PostgresServer,
    postgres_url: str,
) -> None:
    """The later position waits for the earlier one, so a reader never has to look back."""
    first, second = decision(desk, "r1"), decision(desk, "r2")
    slow = Halfway(threads, desk.store, lambda tx: deciding.decide(tx, first))
    fast = threads.submit(other.decide, second)
    wait_until_blocked(postgres_server, postgres_url, fast)
    page = other.events(tenant="t", from_oldest=True)
    assert page.events == ()
    slow.commit()
    assert fast.result(60.0).effective
    seen = other.events(tenant="t", cursor=page.cursor).events
    assert [event.request_id for event in seen] == ["r1", "r2"]


def test_a_long_open_transaction_hides_no_event(
    desk: Desk, other: RuledStore, threads: ThreadPoolExecutor, postgres_url: str
) -> None:
    """Who may not wait so long is told so, keeps nothing, and says it again."""
    impatient = open_for_test(postgres_url, desk.clock, patience=Patience(lock_s=0.2))
    first, second = decision(desk, "r1"), decision(desk, "r2")
    long = Halfway(threads, desk.store, lambda tx: deciding.decide(tx, first))
    with pytest.raises(StoreUnavailable):
        impatient.decide(second)
    cursor = other.events(tenant="t").cursor
    long.commit()
    assert impatient.decide(second).effective
    seen = other.events(tenant="t", cursor=cursor).events
    assert [event.request_id for event in seen] == ["r1", "r2"]
    assert desk.store.decision_events(tenant="t", after=0, limit=9)[1].position == 2
    impatient.close()


def test_a_page_is_of_one_moment(desk: Desk, other: RuledStore) -> None:
    """Events that are removed while a page is read are not half seen."""
    for name in ("r1", "r2"):
        desk.store.decide(decision(desk, name))
    cursor = desk.store.events(tenant="t", from_oldest=True).cursor
    assert cursor
    with desk.store.backend.read() as tx:
        assert tx.event_range("t") == (0, 2)
        desk.clock.advance(100.0)
        assert other.drop_events(older_than_s=50.0, limit=9) == 2
        page = events.page(tx, tenant="t", cursor="", from_oldest=True)
    assert [event.request_id for event in page.events] == ["r1", "r2"]
    assert told(other) == []


def test_what_was_removed_stays_removed_whoever_comes_late(
    desk: Desk, other: RuledStore, threads: ThreadPoolExecutor
) -> None:
    for name in ("r1", "r2", "r3"):
        desk.store.decide(decision(desk, name))
    with desk.store.backend.write() as tx:
        tx.drop_events("t", upto=3)
    other.transact(lambda tx: tx.drop_events("t", upto=1))
    with other.backend.read() as tx:
        assert tx.event_range("t") == (3, 3)


# --- the same bytes, the same item, several servers ---


def test_the_same_picture_at_two_servers_is_one_item(
    desk: Desk,
    other: RuledStore,
    threads: ThreadPoolExecutor,
    postgres_server: PostgresServer,
    postgres_url: str,
) -> None:
    flags = [make_flag("r1", "picture"), make_flag("r2", "picture")]
    slow = Halfway(threads, desk.store, lambda tx: recording.record(tx, flags[:1]))
    fast = threads.submit(other.record, flags[1:])
    wait_until_blocked(postgres_server, postgres_url, fast)
    (first,) = slow.commit()
    (second,) = fast.result(60.0)
    assert (first.item_id, second.joined) == (second.item_id, True)
    assert desk.item(first.item_id).submissions == 2


def test_a_request_repeated_at_another_server_is_recognized(
    desk: Desk, other: RuledStore, threads: ThreadPoolExecutor
) -> None:
    flag = make_flag("r1")
    kept = list(threads.map(lambda n: (desk.store, other)[n % 2].record([flag])[0], range(16)))
    assert len({result.item_id for result in kept}) == 1  # type: ignore[union-attr]
    assert [result.repeated for result in kept].count(False) == 1  # type: ignore[union-attr]


def test_groups_that_cross_do_not_wait_for_each_other(
    postgres_server: PostgresServer, postgres_url: str, clock: ManualClock
) -> None:
    """Everybody takes bytes in one order: no deadlock, hence no second of waiting for one."""
    servers = [open_for_test(postgres_url, clock) for _ in range(2)]
    names = [f"c{n}" for n in range(40)]

    def record(turn: int) -> None:
        store = servers[turn % 2]
        order = names if turn % 2 else names[::-1]
        for result in store.record([make_flag(f"{turn}-{name}", name) for name in order]):
            assert not isinstance(result, Exception)

    with ThreadPoolExecutor(8) as threads:  # as many as connections
        list(threads.map(record, range(24)))
    page = servers[0].list(ListRequest(tenant="t", page_size=100))
    assert [item.submissions for item in page.items] == [24] * 40
    text = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    before = postgres_server.run(postgres_url, text)
    for server in servers:
        server.close()
    assert postgres_server.run(postgres_url, text) == before == [(0,)]


@pytest.mark.parametrize("needed", [1, 2])
def test_two_servers_never_both_decide_an_item(
    desk: Desk, other: RuledStore, threads: ThreadPoolExecutor, needed: int
) -> None:
    """The token is good for one decision, at whatever server."""
    for number in range(20):
        desk.keep(f"r{number}", reviews_needed=needed)
        lease = desk.lease(reviewer="ann")
        asked = [
            DecideRequest(
                tenant="t",
                item_id=lease.item.item_id,
                token=lease.token,
                reviewer="ann",
                outcome=outcome,
            )
            for outcome in (Outcome.APPROVE, Outcome.REJECT)
        ]
        futures = [
            threads.submit(store.decide, request)
            for store, request in zip((desk.store, other), asked, strict=True)
        ]
        failed = [future.exception() for future in futures]
        assert sum(problem is None for problem in failed) == 1
        assert len(desk.item(lease.item.item_id).decisions) == 1
        assert desk.store.chain_problems(tenant="t", item_id=lease.item.item_id) == ()


def test_deciding_and_erasing_at_once_leave_one_chain(
    desk: Desk, other: RuledStore, threads: ThreadPoolExecutor
) -> None:
    for number in range(20):
        request = decision(desk, f"r{number}")
        sha256 = desk.item(request.item_id).sha256
        asked = EraseRequest(tenant="t", sha256=sha256, reason="order", actor="law")
        decided = threads.submit(desk.store.decide, request)
        erased = [threads.submit(store.erase, asked) for store in (other, desk.store)]
        assert {len(future.result(60.0).decisions) for future in erased} == {1}
        assert decided.exception() is None or isinstance(decided.exception(), LeaseLost)
        item = desk.item(request.item_id)
        assert item.state is State.EXPIRED
        effective = [each for each in item.decisions if each.effective]
        assert len({each.round for each in effective}) == len(effective)
        assert effective[-1].cause is Cause.LEGAL_DELETE
        assert desk.store.chain_problems(tenant="t", item_id=request.item_id) == ()
    rows = desk.store.decision_events(tenant="t", after=0, limit=100)
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))


def test_an_erasure_that_waits_for_the_bytes_holds_no_item(
    desk: Desk,
    other: RuledStore,
    threads: ThreadPoolExecutor,
    postgres_server: PostgresServer,
    postgres_url: str,
) -> None:
    """Who has the bytes may lock their items without a deadlock, however the erasure names them."""
    item_id = decision(desk, "r1").item_id
    sha256 = desk.item(item_id).sha256
    has_the_bytes = Halfway(threads, desk.store, lambda tx: tx.hold("t", [sha256]))
    asked = EraseRequest(tenant="t", item_id=item_id, reason="order", actor="law")
    erasing_it = threads.submit(other.erase, asked)
    wait_until_blocked(postgres_server, postgres_url, erasing_it)
    with desk.store.backend.write() as tx:
        assert tx.item("t", item_id) is not None
    has_the_bytes.commit()
    assert len(erasing_it.result(60.0).decisions) == 1


def test_contesting_and_flagging_again_at_once_leave_one_open_item(
    desk: Desk, other: RuledStore, threads: ThreadPoolExecutor
) -> None:
    for number in range(20):
        content = f"picture {number}"
        kept = desk.keep(f"a{number}", content)
        desk.decide(desk.lease())
        asked = ReopenRequest(tenant="t", item_id=kept.item_id, cause=Cause.APPEAL, note="look")
        reopened = threads.submit(desk.store.reopen, asked)
        flagged = threads.submit(other.record, [make_flag(f"b{number}", content)])
        assert reopened.result(60.0).item_id == kept.item_id
        (result,) = flagged.result(60.0)
        item = desk.item(kept.item_id)
        assert item.state is State.READY or item.attached_to == result.item_id  # type: ignore[union-attr]
        desk.decide(desk.lease(reviewer="ben"), reviewer="ben")
        assert desk.item(kept.item_id).state is State.DECIDED


def test_a_claim_repeated_at_another_server_is_one_lease(
    desk: Desk, other: RuledStore, threads: ThreadPoolExecutor
) -> None:
    for number in range(4):
        desk.keep(f"r{number}")
    asked = ClaimRequest(tenant="t", reviewer="ann", claim_id="c")
    leases = list(threads.map(lambda n: (desk.store, other)[n % 2].claim(asked), range(16)))
    assert len({lease.token for lease in leases if lease is not None}) == 1
    assert all(leases)


def test_64_claimers_claim_2000_items_and_none_twice(
    postgres_url: str, clock: ManualClock, threads: ThreadPoolExecutor
) -> None:
    servers = [open_for_test(postgres_url, clock, connections=32) for _ in range(2)]
    servers[0].record([make_flag(f"r{number}") for number in range(2000)])

    def reviewer(number: int) -> list[str]:
        store, claimed = servers[number % 2], []
        empty = 0
        while empty < 3:  # once may be: others hold the last ones for a moment
            claim_id = f"{number}-{len(claimed)}-{empty}"
            lease = store.claim(ClaimRequest(tenant="t", reviewer=f"p{number}", claim_id=claim_id))
            if lease is None:
                empty += 1
            else:
                claimed.append(lease.item.item_id)
        return claimed

    claimed = Counter(item for items in threads.map(reviewer, range(64)) for item in items)
    assert (len(claimed), set(claimed.values())) == (2000, {1})
    for server in servers:
        server.close()


def test_bytes_are_removed_only_while_nobody_can_come_to_need_them(
    desk: Desk,
    other: RuledStore,
    threads: ThreadPoolExecutor,
    postgres_server: PostgresServer,
    postgres_url: str,
) -> None:
    flag = make_flag("r1", "picture")
    slow = Halfway(threads, desk.store, lambda tx: recording.record(tx, [flag]))
    gone: list[bool] = []
    removing = threads.submit(
        other.remove_unreferenced, "t", flag.sha256, lambda: not gone.append(True)
    )
    wait_until_blocked(postgres_server, postgres_url, removing)
    slow.commit()
    assert not removing.result(60.0)
    assert gone == []


def test_retention_does_not_take_what_becomes_golden_at_the_same_moment(
    desk: Desk,
    other: RuledStore,
    threads: ThreadPoolExecutor,
    postgres_server: PostgresServer,
    postgres_url: str,
) -> None:
    kept = desk.keep("r1")
    desk.decide(desk.lease())
    desk.clock.advance(100.0)
    asked = GoldenRequest(tenant="t", item_id=kept.item_id, actor="lea")
    marking = Halfway(threads, desk.store, lambda tx: goldens.mark(tx, asked))
    retiring = threads.submit(other.retire, older_than_s=50.0, limit=9)
    wait_until_blocked(postgres_server, postgres_url, retiring)
    marking.commit()
    assert list(retiring.result(60.0)) == []
    assert desk.item(kept.item_id).state is State.DECIDED


def test_retention_does_not_take_what_is_flagged_at_the_same_moment(
    desk: Desk,
    other: RuledStore,
    threads: ThreadPoolExecutor,
    postgres_server: PostgresServer,
    postgres_url: str,
) -> None:
    desk.keep("r1", "picture")
    desk.decide(desk.lease())
    desk.clock.advance(100.0)
    flag = make_flag("r2", "picture")
    slow = Halfway(threads, desk.store, lambda tx: recording.record(tx, [flag]))
    retiring = threads.submit(lambda: other.retire(older_than_s=50.0, limit=9))
    wait_until_blocked(postgres_server, postgres_url, retiring)
    slow.commit()
    assert list(retiring.result(60.0)) == []
    assert other.unreferenced("t", [flag.sha256]) == []


def test_two_servers_retire_an_item_once(
    desk: Desk, other: RuledStore, threads: ThreadPoolExecutor
) -> None:
    kept = desk.keep("r1", "picture")
    desk.decide(desk.lease())
    desk.clock.advance(100.0)
    slow = Halfway(threads, desk.store, lambda tx: erasing.retire(tx, older_than_s=50.0, limit=9))
    late = threads.submit(lambda: other.retire(older_than_s=50.0, limit=9))
    assert len(slow.commit()) == 1
    assert list(late.result(60.0)) == []
    causes = [row.cause for row in other.history(tenant="t", item_id=kept.item_id)]
    assert causes.count(Cause.RETAIN_END) == 1


# --- the database itself ---


def test_time_is_the_databases(postgres_server: PostgresServer, postgres_url: str) -> None:
    store = open_for_test(postgres_url)
    ((seconds,),) = postgres_server.run(
        postgres_url, "SELECT extract(epoch FROM clock_timestamp())"
    )
    now = store.stats(tenant=None).now
    assert now >= float(seconds)
    with store.backend.write() as tx:
        first = tx.now()
        assert first > now
        assert tx.now() == first, "a transaction is one moment"
    store.close()


def test_a_connection_that_was_cut_heals(
    desk: Desk, postgres_server: PostgresServer, postgres_url: str
) -> None:
    kept = desk.keep("r1")
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'imagesieve-server' AND datname = current_database()"
    )
    assert postgres_server.run(postgres_url, cut)
    assert desk.item(kept.item_id).state is State.READY, "an idle one is replaced unseen"

    def cut_within(tx: Transaction) -> None:
        postgres_server.run(postgres_url, cut)
        tx.mark("any")

    with pytest.raises(StoreUnavailable) as caught:
        desk.store.transact(cut_within)
    assert "terminat" not in str(caught.value), "the library's words are not for callers"
    assert desk.lease().item.item_id == kept.item_id


def test_a_statement_that_takes_too_long_is_unavailable(
    postgres_url: str, clock: ManualClock
) -> None:
    store = open_for_test(postgres_url, clock, patience=Patience(statement_s=0.1))
    with pytest.raises(StoreUnavailable), store.backend.write() as tx:
        tx._connection.execute(sa.text("SELECT pg_sleep(30)"))  # type: ignore[attr-defined]
    assert store.claim(ClaimRequest(tenant="t", reviewer="ann", claim_id="c")) is None
    store.close()


def test_a_server_that_stops_within_a_transaction_holds_up_nobody_for_long(
    desk: Desk, other: RuledStore, threads: ThreadPoolExecutor, postgres_url: str
) -> None:
    stopped = open_for_test(postgres_url, desk.clock, patience=Patience(idle_s=2.0))
    asked = decision(desk, "r1")
    halfway = Halfway(threads, stopped, lambda tx: deciding.decide(tx, asked))
    assert other.decide(asked).effective
    with pytest.raises(StoreUnavailable):
        halfway.commit()
    assert len(desk.item(asked.item_id).decisions) == 1
    stopped.close()


def test_commits_wait_for_the_disk_whatever_the_databases_default(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    name = url.partition("?")[0].rpartition("/")[2]
    postgres_server.run(url, f"ALTER DATABASE {name} SET synchronous_commit = off")
    store = open_for_test(url)
    with store.backend.read() as tx:
        shown = tx._connection.execute(sa.text("SHOW synchronous_commit"))  # type: ignore[attr-defined]
        assert shown.scalar() == "on"
    store.close()


def test_a_database_that_is_not_there_is_refused_by_name(postgres_server: PostgresServer) -> None:
    with pytest.raises(StoreNotUsable, match="nothing"):
        open_for_test(postgres_server.url("nothing"))
    with pytest.raises(StoreNotUsable, match="no tables of imagesieve"):
        open_for_test(postgres_server.new_database(migrated=False))


@pytest.mark.parametrize(
    "url", ["postgresql://u@127.0.0.1:1/q", "postgresql://u@host:port/q", "postgresql://u@h/q?x=y"]
)
def test_a_url_that_leads_nowhere_is_refused_without_the_password(url: str) -> None:
    with pytest.raises(StoreNotUsable) as caught:
        open_postgres(url=url, password="hunter2", connections=1)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.__cause__)


def test_a_url_is_shown_without_user_password_and_options() -> None:
    assert shown("postgresql://u:p@h:5/q?sslpassword=x") == "postgresql://h:5/q"


def test_an_evidence_folder_of_another_database_is_refused(
    desk: Desk, other: RuledStore, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()

    def check(store: RuledStore, name: str) -> None:
        store.transact(lambda tx: require_same_evidence(tx, FolderMark(tmp_path / name)))

    desk.store.transact(
        lambda tx: tx._connection.execute(sa.text("DELETE FROM secret WHERE name = 'evidence'"))  # type: ignore[attr-defined]
    )
    check(desk.store, "one")
    check(other, "one")
    with pytest.raises(StoreNotUsable, match="not the one that other servers") as caught:
        check(other, "two")
    mark = str(caught.value).partition("write ")[2].partition(" ")[0]
    (tmp_path / "two" / ".database").write_text(mark + "\n")
    check(other, "two")
    assert [path.name for path in (tmp_path / "one").iterdir()] == [".database"]


class OverwrittenMark:
    """An evidence store that looks before it writes, so that the later of two writers wins."""

    shown = "bucket s3://b"

    def __init__(self) -> None:
        self.written: list[str] = []

    def mark(self) -> str | None:
        return self.written[-1] if self.written else None

    def made_mark(self) -> str:
        self.written.append(f"mark {len(self.written)}")
        return self.written[-1]


def test_of_servers_that_start_at_once_one_makes_the_mark(
    desk: Desk,
    other: RuledStore,
    threads: ThreadPoolExecutor,
    postgres_server: PostgresServer,
    postgres_url: str,
) -> None:
    evidence = OverwrittenMark()
    postgres_server.run(postgres_url, "DELETE FROM secret WHERE name = 'evidence' RETURNING name")
    slow = Halfway(threads, desk.store, lambda tx: require_same_evidence(tx, evidence))
    fast = threads.submit(other.transact, lambda tx: require_same_evidence(tx, evidence))
    wait_until_blocked(postgres_server, postgres_url, fast)
    slow.commit()
    fast.result(60.0)
    assert evidence.written == ["mark 0"]


def test_the_hot_queries_are_served_by_indexes(
    postgres_server: PostgresServer, clock: ManualClock
) -> None:
    """With many decided rows around, each is found by an index and none is sorted."""
    url = postgres_server.new_database()
    store = open_for_test(url, clock)
    desk = Desk(store=store, clock=clock)
    desk.store.record([make_flag(f"r{n}") for n in range(400)])
    postgres_server.run(
        url,
        "INSERT INTO item SELECT r.* FROM generate_series(1, 5000) n, "
        "(SELECT * FROM item LIMIT 1) i, LATERAL jsonb_populate_record(i::item, "
        "jsonb_build_object('item_id', 'old' || n, 'sha256', 'x' || n, 'state', 'DECIDED')) r",
        "ANALYZE",
    )
    engine = engine_for_test(url)
    asked: list[tuple[str, Any]] = []
    sa.event.listen(
        store.backend._engine,  # type: ignore[attr-defined]
        "before_cursor_execute",
        lambda *event: asked.append((event[2], event[3])),
    )
    desk.decide(desk.lease())
    desk.clock.advance(601.0)
    desk.store.expire_leases()
    desk.store.list(ListRequest(tenant="t"))
    plans = []
    with engine.begin() as connection:
        for text, values in asked:
            if text.startswith("SELECT") and "FROM item" in text and isinstance(values, dict):
                rows = connection.exec_driver_sql("EXPLAIN " + text, values)
                plans.append((text, "\n".join(row[0] for row in rows)))
    assert len(plans) >= 4
    for text, plan in plans:
        assert "Seq Scan on item" not in plan, (text, plan)
    claims = [plan for text, plan in plans if "SKIP LOCKED" in text and "LIMIT" in text]
    assert claims
    assert all("ix_item_ready" in plan and "Sort" not in plan for plan in claims), claims
    engine.dispose()
    store.close()


def test_a_server_that_died_is_waited_for_by_nobody(
    postgres_server: PostgresServer, clock: ManualClock
) -> None:
    """The database is killed and comes back: what was acknowledged is there, all goes on."""
    server = PostgresServer()
    try:
        url = server.new_database()
        desk = Desk(store=open_for_test(url, clock), clock=clock)
        kept = desk.keep("r1")
        server.kill()
        with pytest.raises(StoreUnavailable):
            desk.item(kept.item_id)
        with pytest.raises(StoreUnavailable):
            desk.keep("r2")
        server.start_again()
        assert desk.item(kept.item_id).state is State.READY
        assert desk.keep("r2").item_id
        desk.store.close()
    finally:
        server.close()


STARTER = """
from helpers.postgres import PostgresServer
print(PostgresServer().folder, flush=True)
input()
"""


def test_a_server_of_the_tests_goes_with_whoever_started_it() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", STARTER],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as starter:  # fmt: skip
        assert starter.stdout is not None
        folder = Path(starter.stdout.readline().rstrip())
        (postmaster,) = postmasters(folder)
        starter.kill()
    while lives(postmaster) or folder.exists():  # the test's own limit of time ends it
        time.sleep(0.05)


def test_connections_end_with_the_store(postgres_server: PostgresServer, postgres_url: str) -> None:
    store = open_for_test(postgres_url)
    store.stats(tenant=None)
    store.close()
    engine = postgres_engine(url=postgres_url, password=None, connections=1)
    engine.dispose()
    text = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'imagesieve-server'"
    while postgres_server.run(postgres_url, text)[0][0]:
        time.sleep(0.01)  # a connection's end takes the database a moment


# --- writers of two servers over one evidence folder ---


class Quiet:
    def store_commit(self, *, flags: int, seconds: float) -> None: ...

    def review_quality(self, what: str) -> None: ...

    def store_error(self, operation: str) -> None: ...


class Held:
    """Evidence that tells of a write only when it may: meanwhile others get on."""

    def __init__(self, evidence: EvidenceStore) -> None:
        self._evidence = evidence
        self.written, self.may_tell = threading.Event(), threading.Event()
        self.may_tell.set()

    def hold(self) -> None:
        self.written.clear()
        self.may_tell.clear()

    def put(self, *, tenant: str, sha256: str, data: bytes) -> None:
        self._evidence.put(tenant=tenant, sha256=sha256, data=data)
        self.written.set()
        assert self.may_tell.wait(60.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._evidence, name)


class Hasty(QueueWriter):
    """A writer that believes to be alone: the control that must fail."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "several_servers": False})


TURNS = 3


async def erased_while_uploaded(
    kind: type[QueueWriter], url: str, clock: ManualClock, evidence: EvidenceStore
) -> int:
    """One server deletes what another is just given: how often the picture is missing then."""
    stores = [open_for_test(url, clock) for _ in range(2)]
    held = Held(evidence)
    erasing_one, uploading_one = (
        kind(
            store=store,
            evidence=place,  # type: ignore[arg-type]
            metrics=Quiet(),
            store_threads=4,
            several_servers=True,
            patience_s=100.0,
        )
        for store, place in zip(stores, (evidence, held), strict=True)
    )
    sha256 = make_flag("x", "picture").sha256
    asked = EraseRequest(tenant="t", sha256=sha256, reason="order", actor="law")
    missing = 0
    await erasing_one.submit(make_flag("r", "picture"), b"picture")
    for turn in range(TURNS):
        held.hold()
        uploading = asyncio.ensure_future(
            uploading_one.submit(make_flag(f"r{turn}", "picture"), b"picture")
        )
        assert await asyncio.to_thread(held.written.wait, 60.0)
        await erasing_one.erase(asked)
        assert not evidence.has(tenant="t", sha256=sha256), "the deletion came between"
        held.may_tell.set()
        kept = await uploading
        item = await uploading_one.get(tenant="t", item_id=kept.item_id)
        assert item.state is State.READY
        missing += not evidence.has(tenant="t", sha256=sha256)
        await uploading_one.submit(make_flag(f"again{turn}", "picture"), b"picture")
    for writer in (erasing_one, uploading_one):
        await writer.close()
    return missing


@pytest.mark.parametrize("place", ["folder", pytest.param("bucket", marks=pytest.mark.s3)])
async def test_an_upload_beside_a_deletion_at_another_server_keeps_its_picture(
    request: pytest.FixtureRequest,
    postgres_url: str,
    clock: ManualClock,
    tmp_path: Path,
    place: str,
) -> None:
    folder = FolderEvidence(root=tmp_path)
    evidence = folder if place == "folder" else request.getfixturevalue("bucket_evidence")
    assert await erased_while_uploaded(QueueWriter, postgres_url, clock, evidence) == 0


async def test_without_the_second_look_the_picture_is_missed(
    postgres_url: str, clock: ManualClock, tmp_path: Path
) -> None:
    """Who does not look again after the commit loses each: the test above can fail."""
    evidence = FolderEvidence(root=tmp_path)
    assert await erased_while_uploaded(Hasty, postgres_url, clock, evidence) == TURNS
