"""Stores for the contract suite: each test runs over every backend."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.object_store import ObjectStore
from helpers.postgres import PostgresServer, open_for_test
from helpers.review_queue import Desk, ManualClock
from imagesieve_server.review_queue.evidence import (
    EvidenceStore,
    FolderEvidence,
    MemoryEvidence,
)
from imagesieve_server.review_queue.evidence_bucket import BucketEvidence
from imagesieve_server.review_queue.memory import memory_store
from imagesieve_server.review_queue.sqlite import migrate_sqlite, open_sqlite
from imagesieve_server.review_queue.store import RuledStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the present tables and no rows, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "queue.db"
    migrate_sqlite(path=path)
    return path


@pytest.fixture
def sqlite_path(migrated: Path, tmp_path: Path) -> Path:
    path = tmp_path / "queue.db"
    shutil.copyfile(migrated, path)
    return path


@pytest.fixture
def memory(clock: ManualClock) -> RuledStore:
    return memory_store(clock=clock)


@pytest.fixture
def sqlite(sqlite_path: Path, clock: ManualClock) -> Iterator[RuledStore]:
    store = open_sqlite(path=sqlite_path, clock=clock)
    yield store
    store.close()


@pytest.fixture(scope="session")
def _postgres_database(postgres_server: PostgresServer) -> str:
    return postgres_server.new_database()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, _postgres_database: str) -> str:
    """A database with the present tables and no rows."""
    postgres_server.empty(_postgres_database)
    return _postgres_database


@pytest.fixture
def postgres(postgres_url: str, clock: ManualClock) -> Iterator[RuledStore]:
    store = open_for_test(postgres_url, clock)
    yield store
    store.close()


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest) -> RuledStore:
    found: RuledStore = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def _bucket_name(object_store: ObjectStore) -> str:
    return object_store.new_bucket()


@pytest.fixture
def bucket_evidence(object_store: ObjectStore, _bucket_name: str) -> BucketEvidence:
    """Evidence in a bucket, under a prefix that nobody used before."""
    prefix = f"test/{secrets.token_hex(8)}"
    bucket = object_store.bucket(_bucket_name)
    return BucketEvidence(bucket=bucket, prefix=prefix, shown=f"bucket s3://{prefix}")


@pytest.fixture(params=["memory", "folder", pytest.param("bucket", marks=pytest.mark.s3)])
def evidence(request: pytest.FixtureRequest, tmp_path: Path) -> EvidenceStore:
    """The same promises from each kind of place."""
    if request.param == "memory":
        return MemoryEvidence()
    if request.param == "folder":
        return FolderEvidence(root=tmp_path / "made" / "on the way")
    found: EvidenceStore = request.getfixturevalue("bucket_evidence")
    return found


@pytest.fixture
def desk(store: RuledStore, clock: ManualClock) -> Desk:
    return Desk(store=store, clock=clock)
