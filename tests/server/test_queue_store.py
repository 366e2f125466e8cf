"""Which database the settings name, and its password."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from imagesieve_server import config, queue_store
from imagesieve_server.assembly.running import _folders
from imagesieve_server.config import QueueSettings
from imagesieve_server.core.errors import (
    ConfigError,
    MissingExtra,
    StoreNotUsable,
    StoreUnavailable,
)
from imagesieve_server.evidence_place import open_evidence
from imagesieve_server.queue_store import open_queue, open_store, password_of, place_of
from imagesieve_server.review_queue.memory import MemoryBackend
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.testing import RecordingMetrics


def test_the_password_is_the_files_without_its_newline(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    queue = QueueSettings(database="postgresql://u@h/q", database_password_file=str(path))
    assert password_of(queue) == "hunter2"
    assert password_of(QueueSettings(database="postgresql://u@h/q")) is None
    path.unlink()
    with pytest.raises(ConfigError, match=r"queue\.database_password_file: .*No such file"):
        password_of(queue)


def test_what_is_shown_of_a_database_is_its_place() -> None:
    assert place_of(QueueSettings(database="a/b.sqlite3")) == "a/b.sqlite3"
    url = "postgresql://me@h:5/q?sslmode=require"
    assert place_of(QueueSettings(database=url)) == "postgresql://h:5/q"


def test_a_missing_driver_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"imagesieve\[postgres\]"):
        open_store(QueueSettings(database="postgresql://u@h/q"))


class Lost(RuledStore):
    """A store whose database goes away after it was opened."""

    closed = False

    def transact(self, work: object) -> Any:
        raise StoreUnavailable("gone")

    def close(self) -> None:
        self.closed = True


def test_a_database_that_goes_away_while_it_is_opened_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Lost(backend=MemoryBackend(clock=lambda: 0.0))
    monkeypatch.setattr(queue_store, "migrate_store", lambda queue: None)
    monkeypatch.setattr(queue_store, "open_store", lambda queue: store)
    queue = QueueSettings(database="postgresql://me@h:5/q", evidence=str(tmp_path))
    with pytest.raises(StoreNotUsable, match=r"postgresql://h:5/q cannot be used"):
        open_queue(queue, RecordingMetrics())
    assert store.closed


def test_a_missing_object_store_client_is_told_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    queue = QueueSettings(database=str(tmp_path / "queue.db"), evidence="s3://bucket/p")
    with pytest.raises(MissingExtra, match=r"imagesieve\[s3\]"):
        open_queue(queue, RecordingMetrics())
    assert not (tmp_path / "queue.db").exists()


def test_files_of_a_bucket_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    queue = QueueSettings(
        evidence="s3://bucket/p",
        evidence_access_key="k",
        evidence_secret_key_file=str(tmp_path / "none"),
    )
    with pytest.raises(ConfigError, match=r"queue\.evidence_secret_key_file: .*No such file"):
        open_evidence(queue)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])
def test_an_unencrypted_endpoint_in_the_environment_is_refused_too(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://objects.example.com")
    with pytest.raises(ConfigError, match=f"{variable}: .*unencrypted"):
        open_evidence(QueueSettings(evidence="s3://bucket/p"))


def test_the_room_that_is_watched_is_that_of_disks() -> None:
    """A bucket has none to run out of."""
    inside = _folders(config.load(None, {}))
    assert set(inside) == {"evidence", "database"}
    bucket = config.load(None, {"IMAGESIEVE__QUEUE__EVIDENCE": "s3://bucket/p"})
    assert set(_folders(bucket)) == {"database"}


@pytest.mark.parametrize("address", ["queue.sqlite3", "postgresql://me@h:5/q"])
async def test_only_the_one_server_of_a_file_tells_new_requests_from_memory(
    tmp_path: Path, address: str
) -> None:
    """What another server kept a moment ago is in no memory of this one."""
    file = QueueSettings(database=str(tmp_path / "q.sqlite3"), evidence=str(tmp_path / "evidence"))
    queue = open_queue(file, RecordingMetrics())
    await queue_store.learn_requests(QueueSettings(database=address), queue)
    await queue.close()
    asked = {"tenant": "t", "request_id": "new", "request_digest": "d"}
    if address == "queue.sqlite3":
        assert await queue.answer_of(**asked) is None
    else:
        with pytest.raises(StoreUnavailable):
            await queue.answer_of(**asked)
