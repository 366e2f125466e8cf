"""``imagesieve-server queue dead-letters``: listed beside a server, replayed one or all."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from helpers.review_queue import Desk, ManualClock
from imagesieve_server.commands import main
from imagesieve_server.core.webhook_port import Endpoint, Failed, Holding, Settlement
from imagesieve_server.review_queue import webhook_delivery, webhook_letters
from imagesieve_server.review_queue.sqlite import migrate_sqlite, open_sqlite
from imagesieve_server.review_queue.store import RuledStore

HOOK = Endpoint(tenant="t", name="uploads")
HOLDING = Holding(holder="one", ttl_s=1e9, give_up_s=10.0, from_oldest=True)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(f'[queue]\ndatabase = "{tmp_path}/queue.db"\nevidence = "{tmp_path}/ev"\n')
    return path


def with_dead_letters(tmp_path: Path, clock: ManualClock) -> None:
    """Three items, decided once each; the events of the first two were given up."""
    migrate_sqlite(path=tmp_path / "queue.db")
    store = open_sqlite(path=tmp_path / "queue.db", clock=clock)
    desk = Desk(store=store, clock=clock)
    for name in ("r1", "r2", "r3"):
        desk.keep(name)
        desk.decide(desk.lease())
    settle(store, first=True)
    clock.advance(11.0)
    settle(store, first=False)
    store.close()


def settle(store: RuledStore, *, first: bool) -> None:
    store.transact(lambda tx: webhook_delivery.hold(tx, HOOK, HOLDING))
    page = store.read(lambda tx: webhook_delivery.work(tx, HOOK, after=0, fresh=2, due=2))
    works = page.fresh if first else page.due
    failed = tuple(Failed(work=work, result="refused (500)", retry_in_s=1.0) for work in works)
    done = Settlement(position=3, failed=failed)
    assert store.transact(lambda tx: webhook_delivery.settle(tx, HOOK, HOLDING, done))


def run(config: Path, *words: str) -> int:
    return main(["queue", "dead-letters", "--config", str(config), *words])


def test_dead_letters_are_listed_beside_a_server(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_dead_letters(tmp_path, ManualClock())
    server = open_sqlite(path=tmp_path / "queue.db", clock=time.time)  # it has the database's lock
    assert run(config) == 0
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 3
    assert out[0].startswith("t  uploads  evt_")
    assert "request 'r1'  made 2023-11-14T22:13:20Z  given up 2023-11-14T22:13:31Z" in out[0]
    assert out[0].endswith("2 attempts, last: refused (500)")
    assert out[2] == "2 dead letters"
    assert run(config, "--tenant", "other") == 0
    assert run(config, "--endpoint", "other") == 0
    assert capsys.readouterr().out == "0 dead letters\n" * 2
    server.close()


def test_one_is_replayed_or_all_of_an_endpoint(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_dead_letters(tmp_path, ManualClock())
    run(config)
    first = capsys.readouterr().out.split()[2]
    assert run(config, "--event", first, "--replay") == 0
    assert capsys.readouterr().out == "1 dead letters of 1 items are tried again\n"
    run(config)
    assert first not in capsys.readouterr().out
    assert run(config, "--endpoint", "uploads", "--replay") == 0
    run(config)
    assert capsys.readouterr().out.splitlines()[-1] == "0 dead letters"


def test_one_is_discarded_or_all_of_an_endpoint(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_dead_letters(tmp_path, ManualClock())
    run(config)
    first = capsys.readouterr().out.split()[2]
    assert run(config, "--event", first, "--discard") == 0
    named, said = capsys.readouterr().out.splitlines()
    assert first in named
    assert said == "1 dead letters are discarded and will never be told"
    run(config)
    left = capsys.readouterr().out
    assert first not in left
    assert left.splitlines()[-1] == "1 dead letters"
    assert run(config, "--endpoint", "uploads", "--discard") == 0
    run(config)
    assert capsys.readouterr().out.splitlines()[-1] == "0 dead letters"


@pytest.mark.parametrize("words", [("--discard",), ("--discard", "--tenant", "t")])
def test_nothing_is_discarded_without_a_name(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    with_dead_letters(tmp_path, ManualClock())
    assert run(config, *words) != 0
    assert "--discard: name an --endpoint or an --event" in capsys.readouterr().err
    run(config)
    assert capsys.readouterr().out.splitlines()[-1] == "2 dead letters"


def test_an_event_that_is_no_dead_letter_is_named(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_dead_letters(tmp_path, ManualClock())
    assert run(config, "--event", "evt_unknown") != 0
    assert "no dead letter has the event id evt_unknown" in capsys.readouterr().err


def test_all_that_died_before_a_time_are_replayed_page_by_page(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    with_dead_letters(tmp_path, clock)
    store = open_sqlite(path=tmp_path / "queue.db", clock=clock)
    monkeypatch.setattr(webhook_letters, "PAGE", 1)
    died = clock.seconds

    def replay(before: float) -> int:
        return store.transact(lambda tx: webhook_letters.replay_all(tx, HOOK, dead_before=before))

    assert replay(died) == 0
    assert [replay(died + 1.0) for _ in range(3)] == [1, 1, 0]
    assert store.read(lambda tx: webhook_delivery.figures(tx, HOOK)).dead == 0
    store.close()
