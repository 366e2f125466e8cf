"""Parts of the console that no page is needed for: accounts, passwords, the port, settings."""

from __future__ import annotations

import asyncio
import contextlib
import io
from pathlib import Path

import argon2
import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from helpers.console_rig import ENCODED, HASHER, PASSWORD, Rig, answer_json, console
from imagesieve_server.assembly.console import console_options
from imagesieve_server.commands import main
from imagesieve_server.config import load
from imagesieve_server.console import passwords
from imagesieve_server.console.accounts import (
    ConsoleRole,
    kept_accounts,
    parse_accounts,
    read_accounts,
)
from imagesieve_server.console.connections import BoundedListener
from imagesieve_server.console.database import open_database
from imagesieve_server.console.frames import plain_frames
from imagesieve_server.console.passwords import Passwords, TooManyChecks, encode_password
from imagesieve_server.console.patience import Impatient
from imagesieve_server.console.shown import shown
from imagesieve_server.console.web_server import WebOptions, WebServer
from imagesieve_server.console.words import ago, within
from imagesieve_server.core.errors import ConfigError, StoreNotUsable
from imagesieve_server.core.review import DecisionRecord, Item, Outcome
from imagesieve_server.testing import RecordingMetrics, colour_policy

FILE = Path("accounts.toml")
ANN = f"""
[[account]]
name = "ann"
role = "reviewer"
tenants = ["t"]
password_argon2 = "{ENCODED}"
"""


# --- accounts --------------------------------------------------------------------------------


def test_accounts_are_read() -> None:
    lea = '[[account]]\nname = "lea"\nrole = "lead"\ntenants = ["t", "u", "t"]\n'
    accounts = parse_accounts((ANN + lea).encode(), file=FILE)
    assert accounts["ann"].role is ConsoleRole.REVIEWER
    assert accounts["lea"].tenants == ("t", "u")
    assert accounts["lea"].password == ""
    assert accounts["lea"].role.tiers == (2, 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "holds no [[account]]"),
        ("account = 3", "holds no [[account]]"),
        ("user = []", "user: unknown key"),
        ("[[account]]\nname = ''", "name: must be text"),
        ("[[account]]\nname = ' ann'", "name: must be text"),
        ("[[account]]\nname = \"a\\u0007\"", "cannot be printed"),
        (ANN.replace("reviewer", "boss"), "role: must be one of reviewer, lead, admin"),
        (ANN.replace('["t"]', '[]'), "tenants: must be a list"),
        (ANN.replace('["t"]', '["../t"]'), "tenants: each must be"),
        (ANN.replace("$argon2id$", "$1$"), "password_argon2: must be what"),
        (ANN.replace(f'"{ENCODED}"', "3"), "password_argon2: must be what"),
        (ANN + ANN, "'ann' stands twice"),
        (ANN + 'admin = true', "unknown key"),
        ("account = [1]", "must be a table"),
        ("a = ", "not valid TOML"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_named(content: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"accounts\.toml") as caught:
        parse_accounts(content.encode(), file=FILE)
    assert words in caught.value.message


async def test_a_changed_file_is_in_force_and_a_bad_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "accounts.toml"
    file.write_text(ANN)
    kept = kept_accounts(file, metrics=RecordingMetrics())
    kept.load()
    file.write_text("[[account]]")
    await kept.look()
    assert list(kept.value) == ["ann"]
    file.write_text(ANN.replace('"ann"', '"eve"'))
    await kept.look()
    assert list(kept.value) == ["eve"]


def test_the_command_makes_an_entry_that_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    name = 'O"Neill \\ ann'
    made = ["console", "new-account", name, "--role", "lead", "--tenant", "a", "--tenant", "b"]
    assert main(made) == 0
    file = tmp_path / "accounts.toml"
    file.write_text(capsys.readouterr().out)
    account = read_accounts(file)[name]
    assert (account.role, account.tenants) == (ConsoleRole.LEAD, ("a", "b"))
    assert argon2.PasswordHasher().verify(account.password, PASSWORD)
    assert main(["console", "check", str(file)]) == 0
    assert capsys.readouterr().out == f"{name}: lead, a, b; password\n"
    assert main(["console", "new-account", "eve", "--no-password"]) == 0
    assert "password" not in capsys.readouterr().out


def test_a_short_password_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert main(["console", "new-account", "ann"]) == 1
    assert "12 to 512 characters" in capsys.readouterr().err
    with pytest.raises(ValueError, match="12 to 512"):
        encode_password("x" * 513)


async def test_passwords_are_checked_few_at_a_time_and_a_flood_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checks = Passwords(hasher=HASHER)
    assert await checks.matches(ENCODED, PASSWORD)
    assert not await checks.matches(ENCODED, PASSWORD + "x" * 600)
    assert not await checks.matches("$argon2id$broken", PASSWORD)
    monkeypatch.setattr(passwords, "_WAITING", 3)
    asked = [checks.matches(ENCODED, PASSWORD) for _ in range(9)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, TooManyChecks) for answer in answers) == 6
    assert await checks.matches(ENCODED, PASSWORD)


# --- the database ----------------------------------------------------------------------------


async def test_a_database_of_another_schema_is_refused(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "console.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(StoreNotUsable, match="schema 9"):
        open_database(path)
    with pytest.raises(StoreNotUsable):
        open_database(tmp_path / "console.sqlite3" / "below a file")


async def test_the_database_is_for_its_owner_alone(tmp_path: Path) -> None:
    database = open_database(tmp_path / "new" / "console.sqlite3")
    files = list((tmp_path / "new").iterdir())
    assert len(files) > 1, "the journal holds what the database does"
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    await database.close()


async def test_exposures_count_items_and_not_looks(tmp_path: Path) -> None:
    async with console(tmp_path) as rig:
        for _ in range(2):
            await rig.flag()
        ann = await rig.signed_in()
        for _ in range(2):
            await ann.take()
            await ann.post("/review/reveal")
            await ann.post("/review/reveal")
            await ann.decide("approve")
        assert await rig.database.exposures(tenant="t", since=0.0) == {"ann": 2}
        assert await rig.database.exposures(tenant="u", since=0.0) == {}
        assert await rig.database.exposures(tenant="t", since=rig.clock() + 1) == {}


# --- what is shown ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (30.0, "due in less than a minute"), (60.0, "due in 1 minute"),
        (7300.0, "due in 2 hours"), (200_000.0, "due in 2 days"), (-90.0, "overdue by 1 minute"),
    ],
)  # fmt: skip
def test_times_are_told_in_words(seconds: float, words: str) -> None:
    assert within(seconds) == words


def test_what_was_just_now() -> None:
    assert ago(3.0) == "just now"
    assert ago(3700.0) == "1 hour ago"


async def _item(rig: Rig, **fields: object) -> Item:
    return await rig.item(await rig.flag(**fields))


async def test_marks_stand_where_the_thresholds_are(tmp_path: Path) -> None:
    async with console(tmp_path) as rig:
        answer = answer_json().replace('"scale":"score","value":0.6', '"scale":"logit","value":0.0')
        logit = shown(await _item(rig, answer=answer), policy=None, now=0.0)
        score = shown(await _item(rig), policy=colour_policy(), now=0.0)
    assert [bar.review_at for bar in score.bars] == [60.0, 60.0]
    assert [bar.review_at for bar in logit.bars] == [50.0, 50.0]
    assert [(bar.title, bar.over) for bar in score.bars] == [("Red", True), ("green", False)]
    assert [frame.worst for frame in score.frames] == [False, True]
    assert [frame.found for frame in score.frames] == [(), ("Red",)]
    assert score.frames[1].box == (32, 0, 32, 64)
    assert score.labels == (("red", "Red", True), ("other", "Something else", False))
    assert logit.labels == (("red", "red", True), ("other", "Something else", False))


async def test_an_escalated_item_shows_both_words_of_a_disagreement(tmp_path: Path) -> None:
    async with console(tmp_path) as rig:
        item = await _item(rig, reviews_needed=2)
    said = [
        DecisionRecord(
            decision_id=str(n), item_id=item.item_id, round=1, outcome=outcome, labels=(),
            note="", reviewer="x", decided_at=0.0, effective=False,
        )
        for n, outcome in enumerate((Outcome.APPROVE, Outcome.REJECT))
    ]  # fmt: skip
    import dataclasses

    second = dataclasses.replace(item, decisions=(said[0],))
    escalated = dataclasses.replace(item, decisions=tuple(said), tier=2)
    assert shown(second, policy=None, now=100.0).earlier == ()
    assert len(shown(escalated, policy=None, now=100.0).earlier) == 2


def test_every_frame_can_be_stepped_to_where_views_are_not_told() -> None:
    frames = plain_frames(3, has_alpha=True)
    assert [(frame.frame, frame.background) for frame in frames[:3]] == [
        (0, "white"), (0, "black"), (1, "white"),
    ]  # fmt: skip
    assert frames[2].label == "frame 2 of 3 on white"
    assert plain_frames(1, has_alpha=False)[0].label == "picture"


# --- the port --------------------------------------------------------------------------------


async def _hello(scope: object, receive: object, send: object) -> None:
    await PlainTextResponse("hello")(scope, receive, send)  # type: ignore[arg-type]


async def _fetch(url: str, **options: object) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False, **options) as client:  # type: ignore[arg-type]
        return await client.get(url)


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the port closes the connection."""
    with contextlib.suppress(ConnectionResetError):
        return await asyncio.wait_for(reader.read(), 60.0)
    return b""


async def test_the_port_serves_until_it_is_stopped() -> None:
    web = WebServer(options=WebOptions(host="127.0.0.1", port=0))
    port = web.bind()
    await web.start(_hello)  # type: ignore[arg-type]
    answer = await _fetch(f"http://127.0.0.1:{port}/")
    assert answer.text == "hello"
    assert "server" not in answer.headers
    with pytest.raises(ConfigError, match="cannot listen"):
        WebServer(options=WebOptions(host="127.0.0.1", port=port)).bind()
    await web.stop()
    with pytest.raises(httpx2.ConnectError):
        await _fetch(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: h\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n",
    ],
    ids=["nothing", "half a head", "no body"],
)
async def test_a_peer_that_keeps_the_port_waiting_is_let_go(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(Impatient, "request_s", 0.2)

    async def reads(scope: object, receive: object, send: object) -> None:
        await Request(scope, receive).body()  # type: ignore[arg-type]

    web = WebServer(options=WebOptions(host="127.0.0.1", port=0))
    port = web.bind()
    await web.start(reads)  # type: ignore[arg-type]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    assert await _rest(reader) == b""
    writer.close()
    await web.stop()


async def test_an_answer_may_take_longer_than_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Impatient, "request_s", 0.1)

    async def slow(scope: object, receive: object, send: object) -> None:
        await asyncio.sleep(0.5)
        await _hello(scope, receive, send)

    web = WebServer(options=WebOptions(host="127.0.0.1", port=0))
    port = web.bind()
    await web.start(slow)  # type: ignore[arg-type]
    assert (await _fetch(f"http://127.0.0.1:{port}/")).text == "hello"
    await web.stop()


async def test_connections_beyond_the_most_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedListener, "most", 2)
    web = WebServer(options=WebOptions(host="127.0.0.1", port=0))
    port = web.bind()
    await web.start(_hello)  # type: ignore[arg-type]
    kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await _rest(reader) == b""
    for _, one in (*kept, (reader, writer)):
        one.close()
    await web.stop()


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "review.example.com"])
def test_without_tls_only_this_machine_is_served(host: str) -> None:
    with pytest.raises(ConfigError, match="can be reached from other machines"):
        WebServer(options=WebOptions(host=host, port=0)).bind()


# --- settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "needs console.accounts"),
        ({"ACCOUNTS": "a.toml", "ADDRESS": "8080"}, "is not host:port"),
        ({"ACCOUNTS": "a.toml", "ORIGIN": "review.example.com"}, "console.origin"),
        ({"ACCOUNTS": "a.toml", "ORIGIN": "https://x/path"}, "console.origin"),
        ({"ACCOUNTS": "a.toml", "ADDRESS": "0.0.0.0:80"}, "say in console.origin"),
        ({"ACCOUNTS": "a.toml", "TLS_CERT": "c.pem"}, "belong together"),
        ({"ACCOUNTS": "a.toml", "SESSION_HOURS": "0"}, "console.session_hours"),
        ({"ACCOUNTS": "a.toml", "KEEP_RECORD_DAYS": "0.5"}, "console.keep_record_days"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, str], words: str) -> None:
    given = {"ADDRESS": "127.0.0.1:8080", **settings}
    with pytest.raises(ConfigError, match=words):
        load(None, {f"IMAGESIEVE__CONSOLE__{key}": value for key, value in given.items()})


def test_how_browsers_name_the_site() -> None:
    given = {"ADDRESS": "127.0.0.1:0", "ACCOUNTS": "a.toml"}
    environ = {f"IMAGESIEVE__CONSOLE__{key}": value for key, value in given.items()}
    options = console_options(load(None, environ).console, port=8123)
    assert options.origins == {"http://127.0.0.1:8123", "http://localhost:8123"}
    assert not options.secure
    environ["IMAGESIEVE__CONSOLE__ORIGIN"] = "https://Review.example.com/"
    options = console_options(load(None, environ).console, port=8123)
    assert options.origins == {"https://review.example.com"}
    assert options.secure
