"""The console's database: the same from a file and from the queue's PostgreSQL, and what several
servers that share it must not do to each other's sessions."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from helpers.console_rig import Rig, console
from helpers.postgres import PostgresServer
from imagesieve_server import config
from imagesieve_server.assembly.console import console_database
from imagesieve_server.console.database import ConsoleDatabase, Deed, Reveal, SessionRow
from imagesieve_server.console.forgetting import forget_record
from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.core.review import State

ROW = SessionRow(
    id="a", account="ann", fingerprint="f", csrf="c", created_at=1.5, seen_at=2.5, tenant="t",
    work="{}",
)  # fmt: skip


def environment(request: pytest.FixtureRequest, folder: Path, kind: str) -> dict[str, str]:
    """Settings of a server whose console keeps what it keeps there."""
    if kind == "sqlite":
        return {"IMAGESIEVE__CONSOLE__DATABASE": str(folder / "console.sqlite3")}
    server: PostgresServer = request.getfixturevalue("postgres_server")
    (folder / "secret").write_text("s" * 64)
    return {
        "IMAGESIEVE__QUEUE__DATABASE": server.new_database(),
        "IMAGESIEVE__QUEUE__EVIDENCE_SHARED": "true",
        "IMAGESIEVE__SERVER__SECRET_FILE": str(folder / "secret"),
    }


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def database(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[ConsoleDatabase]:
    settings = config.load(None, environment(request, tmp_path, request.param))
    database = console_database(settings)
    yield database
    await database.close()


async def test_a_session_is_kept_changed_and_dropped(database: ConsoleDatabase) -> None:
    await database.add_session(ROW)
    assert await database.session("a") == ROW
    assert await database.session("b") is None
    await database.session_seen("a", at=9.0)
    assert await database.update_session("a", version=0, tenant="u", work="[]")
    changed = dataclasses.replace(ROW, seen_at=9.0, tenant="u", work="[]", version=1)
    assert await database.session("a") == changed
    await database.drop_session("a")
    assert await database.session("a") is None


async def test_who_read_an_older_version_changes_nothing(database: ConsoleDatabase) -> None:
    await database.add_session(ROW)
    assert await database.update_session("a", version=0, tenant="t", work="first")
    assert not await database.update_session("a", version=0, tenant="t", work="second")
    assert not await database.update_session("gone", version=0, tenant="t", work="x")
    kept = await database.session("a")
    assert kept is not None
    assert (kept.work, kept.version) == ("first", 1)


async def test_sessions_end_by_account_and_by_age(database: ConsoleDatabase) -> None:
    for number, account in enumerate(("ann", "ann", "bob", "bob")):
        row = dataclasses.replace(
            ROW, id=str(number), account=account, created_at=number, seen_at=10.0 * number
        )
        await database.add_session(row)
    await database.drop_sessions_of("ann")
    assert [await database.session(str(n)) is not None for n in range(4)] == [0, 0, 1, 1]
    await database.drop_old_sessions(created_before=0.0, seen_before=25.0)
    assert [await database.session(str(n)) is not None for n in range(4)] == [0, 0, 0, 1]


async def test_reveals_and_deeds_come_back_in_their_order(database: ConsoleDatabase) -> None:
    reveals = [
        Reveal(at=float(n), account=who, tenant=tenant, item_id=item, sha256="s", how="asked")
        for n, (who, tenant, item) in enumerate(
            [("ann", "t", "1"), ("bob", "t", "1"), ("ann", "t", "2"), ("ann", "u", "1"),
             ("ann", "t", "1")]
        )
    ]  # fmt: skip
    for reveal in reveals:
        await database.add_reveal(reveal)
    assert await database.reveals_of(tenant="t", item_id="1") == (
        reveals[0], reveals[1], reveals[4],
    )  # fmt: skip
    assert await database.exposures(tenant="t", since=0.0) == {"ann": 2, "bob": 1}
    assert await database.exposures(tenant="t", since=3.0) == {"ann": 1}
    deeds = [Deed(at=5.0 - n, account="ann", tenant="t", item_id="1", what="SKIP") for n in (1, 2)]
    for deed in deeds:
        await database.add_deed(deed)
    assert await database.deeds(tenant="t", since=3.0) == tuple(deeds)
    assert await database.deeds(tenant="u", since=0.0) == ()


async def test_the_record_is_shortened_in_steps(
    database: ConsoleDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagesieve_server.console.database._STEP", 3)
    for n in range(5):
        await database.add_reveal(
            Reveal(at=float(n), account="ann", tenant="t", item_id=str(n), sha256="s", how="asked")
        )
        await database.add_deed(
            Deed(at=float(n), account="ann", tenant="t", item_id="1", what="SKIP")
        )
    assert [await database.drop_record(before=4.0) for _ in range(3)] == [6, 2, 0]
    assert [deed.at for deed in await database.deeds(tenant="t", since=0.0)] == [4.0]
    assert await database.exposures(tenant="t", since=0.0) == {"ann": 1}
    assert len(await database.reveals_of(tenant="t", item_id="4")) == 1


async def test_what_is_past_its_time_goes_in_the_background(database: ConsoleDatabase) -> None:
    for at in (10.0, 20.0):
        await database.add_deed(Deed(at=at, account="ann", tenant="t", item_id="1", what="SKIP"))
    forgetting = asyncio.create_task(
        forget_record(database, keep_s=5.0, clock=lambda: 20.0, step_s=0.0)
    )
    async with asyncio.timeout(20):
        while len(await database.deeds(tenant="t", since=0.0)) == 2:
            await asyncio.sleep(0)
    forgetting.cancel()
    await asyncio.gather(forgetting, return_exceptions=True)
    assert [deed.at for deed in await database.deeds(tenant="t", since=0.0)] == [20.0]


async def test_a_preference_is_replaced(database: ConsoleDatabase) -> None:
    assert await database.preference("ann") == ""
    for value in ("{}", '{"veil": true}'):
        await database.prefer("ann", value)
    assert await database.preference("ann") == '{"veil": true}'
    assert await database.preference("bob") == ""


async def test_a_database_that_fails_is_told_without_its_words(database: ConsoleDatabase) -> None:
    text = "x\x00y"  # which PostgreSQL refuses
    await database.add_session(ROW)
    with pytest.raises(StoreUnavailable, match="cannot be read or written"):
        await database.add_session(dataclasses.replace(ROW, work=text))  # the same id, besides


@pytest.mark.postgres
async def test_a_server_without_the_right_to_change_tables_keeps_sessions(
    postgres_server: PostgresServer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    given = environment(request, tmp_path, "postgres")
    url = given["IMAGESIEVE__QUEUE__DATABASE"]
    postgres_server.run(
        url,
        "DROP ROLE IF EXISTS pages",
        "CREATE ROLE pages LOGIN",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO pages",
    )
    given["IMAGESIEVE__QUEUE__DATABASE"] = url.replace("postgres@", "pages@")
    database = console_database(config.load(None, given))
    await database.add_session(ROW)
    await database.add_deed(Deed(at=1.0, account="a", tenant="t", item_id="i", what="SKIP"))
    await database.close()
    postgres_server.run(url, "DROP OWNED BY pages", "DROP ROLE pages")


# --- two servers -----------------------------------------------------------------------------


class Meeting:
    """A database at which two requests have both read before either writes, once."""

    def __init__(self, database: ConsoleDatabase, barrier: asyncio.Barrier) -> None:
        self._database = database
        self._barrier = barrier
        self._met = False

    async def update_session(self, *given: Any, **more: Any) -> bool:
        if not self._met:
            self._met = True
            await asyncio.wait_for(self._barrier.wait(), 20)
        return await self._database.update_session(*given, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def shared(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Rig, list[ConsoleDatabase]]]:
    """Two servers' view of one database; SQLite stands in with one connection for both."""
    settings = config.load(None, environment(request, tmp_path, request.param))
    first = console_database(settings)
    second = console_database(settings) if request.param == "postgres" else first
    async with console(tmp_path) as rig:
        yield rig, [first, second]
    for database in {id(each): each for each in (first, second)}.values():
        await database.close()


async def test_a_session_is_at_home_at_every_server(
    shared: tuple[Rig, list[ConsoleDatabase]],
) -> None:
    rig, databases = shared
    here, there = (rig.browser(site=rig.site(database)) for database in databases)
    item = await rig.flag()
    await here.sign_in("ann")
    await here.take()
    assert here.item == item
    there.client.cookies = here.client.cookies
    await there.get("/review")
    assert there.item == item, "what is in hand goes along"
    await there.decide("approve")
    assert (await rig.item(item)).state is State.DECIDED
    await here.post("/logout")
    assert (await there.get("/review")).status_code == 303, "and so does the signing out"


async def test_a_session_that_a_newer_release_wrote_is_taken_up(
    shared: tuple[Rig, list[ConsoleDatabase]],
) -> None:
    rig, databases = shared
    browser = rig.browser(site=rig.site(databases[0]))
    item = await rig.flag()
    await browser.sign_in("ann")
    await browser.take()
    sessions = hashlib.sha256(browser.client.cookies["imagesieve"].encode()).hexdigest()
    row = await databases[1].session(sessions)
    assert row is not None
    work = json.dumps({**json.loads(row.work), "of_the_future": 1})
    await databases[1].update_session(row.id, version=row.version, tenant=row.tenant, work=work)
    await browser.get("/review")
    assert browser.item == item


async def test_a_key_pressed_twice_at_two_servers_takes_one_item(
    shared: tuple[Rig, list[ConsoleDatabase]],
) -> None:
    rig, databases = shared
    for _ in range(3):
        await rig.flag()
    plain = rig.browser(site=rig.site(databases[0]))
    await plain.sign_in("ann")
    barrier = asyncio.Barrier(2)
    browsers = [
        rig.browser(site=rig.site(Meeting(database, barrier)))  # type: ignore[arg-type]
        for database in databases
    ]
    await plain.get("/review")
    for browser in browsers:
        browser.client.cookies = plain.client.cookies
        browser.page = plain.page
    await asyncio.gather(*(browser.post("/review/next") for browser in browsers))
    stats = await rig.queue.stats(tenant="t")
    assert stats.by_state.get(State.LEASED, 0) == 1
    await plain.get("/review")
    assert (await rig.item(plain.item)).claimed_by == "ann", "and that one is in hand"
