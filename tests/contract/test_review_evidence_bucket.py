"""What a bucket adds to the promises of evidence: a network that fails, and another's clock.

Against a real object store; what fails is the link to it, or the store itself.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from helpers.faulty_link import Fault, FaultyLink
from helpers.object_store import ACCESS_KEY, ObjectStore
from helpers.review_queue import Desk, ManualClock, make_flag
from imagesieve_server.commands import main
from imagesieve_server.config import QueueSettings
from imagesieve_server.core.errors import (
    InvalidRequest,
    ItemNotFound,
    StoreNotUsable,
    StoreUnavailable,
)
from imagesieve_server.core.review import State
from imagesieve_server.evidence_place import open_evidence
from imagesieve_server.queue_store import open_queue
from imagesieve_server.review_queue.bucket import RETRIES, Bucket, BucketPlace, NoObject
from imagesieve_server.review_queue.evidence import EvidenceStore
from imagesieve_server.review_queue.evidence_bucket import CLOCKS_APART_S, BucketEvidence
from imagesieve_server.review_queue.evidence_mark import require_same_evidence
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.testing import RecordingMetrics

pytestmark = pytest.mark.s3

DATA = bytes(range(256)) * 800
PAGE = 100  # objects of one page of this store's listings
SHA = hashlib.sha256(DATA).hexdigest()
KEY = f"some/prefix/t/{SHA[:2]}/{SHA}"
HOUR = 3600.0


@pytest.fixture(scope="module")
def name(object_store: ObjectStore) -> str:
    return object_store.new_bucket()


@pytest.fixture
def direct(object_store: ObjectStore, name: str) -> Bucket:
    """The bucket itself, behind evidence's back."""
    bucket = object_store.bucket(name)
    for found in list(bucket.below("")):
        bucket.delete(found.key)
    return bucket


def evidence_of(bucket: Bucket, **options: object) -> BucketEvidence:
    given: dict[str, object] = {"prefix": "some/prefix", "shown": "bucket s3://b", **options}
    return BucketEvidence(bucket=bucket, **given)  # type: ignore[arg-type]


@pytest.fixture
def evidence(direct: Bucket) -> BucketEvidence:
    return evidence_of(direct)


@pytest.fixture
def link(object_store: ObjectStore) -> Iterator[FaultyLink]:
    link = FaultyLink(object_store.port)
    yield link
    link.close()


@pytest.fixture
def over_link(
    object_store: ObjectStore, name: str, link: FaultyLink, direct: Bucket
) -> BucketEvidence:
    """Patient: what passes must pass on a slow machine, too."""
    place = object_store.place(name, endpoint=link.endpoint)
    return evidence_of(Bucket(place, patience_s=16.0))


@pytest.fixture
def hurried(object_store: ObjectStore, name: str, link: FaultyLink) -> BucketEvidence:
    """The same for calls that are to fail: all of their time is waited out."""
    return evidence_of(Bucket(object_store.place(name, endpoint=link.endpoint), patience_s=2.0))


def put(evidence: EvidenceStore) -> None:
    evidence.put(tenant="t", sha256=SHA, data=DATA)


def get(evidence: EvidenceStore) -> bytes:
    return evidence.get(tenant="t", sha256=SHA)


# --- where things lie ---


def test_an_object_lies_by_tenant_and_hash_and_nothing_else_is_left(
    evidence: BucketEvidence, direct: Bucket
) -> None:
    evidence.prove_usable(versions_allowed=False)
    put(evidence)
    evidence.put(tenant="A/b", sha256=SHA, data=DATA)
    keys = [found.key for found in direct.below("")]
    assert sorted(keys) == [f"some/prefix/%41%2fb/{SHA[:2]}/{SHA}", KEY]


def test_a_bucket_of_its_own_needs_no_prefix(direct: Bucket) -> None:
    bare = evidence_of(direct, prefix="")
    bare.prove_usable(versions_allowed=False)
    put(bare)
    assert direct.get(f"t/{SHA[:2]}/{SHA}") == DATA
    assert bare.older(part=int(SHA[:2], 16), older_than_s=0.0) == {"t": [SHA]}


@pytest.mark.parametrize("sha256", ["../../x", SHA.upper(), "", SHA + "\n"])
def test_what_is_no_hash_is_not_looked_for(evidence: BucketEvidence, sha256: str) -> None:
    for call in (evidence.get, evidence.has, evidence.remove):
        with pytest.raises(InvalidRequest):
            call(tenant="t", sha256=sha256)


@pytest.mark.parametrize("damage", [b"", DATA[:-1], DATA[:-1] + b"?", DATA + b"?"])
def test_damaged_evidence_is_never_returned_and_is_mended_by_the_next_put(
    evidence: BucketEvidence, direct: Bucket, damage: bytes
) -> None:
    put(evidence)
    direct.put(KEY, damage)
    with pytest.raises(StoreUnavailable, match="damaged"):
        get(evidence)
    put(evidence)
    assert get(evidence) == DATA


def test_a_listing_of_many_pages_is_whole(evidence: BucketEvidence, direct: Bucket) -> None:
    names = [f"{SHA[:2]}{secrets.token_hex(31)}" for _ in range(2 * PAGE + 1)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: direct.put(f"some/prefix/t/{SHA[:2]}/{name}", b"x"), names))
    direct.put(f"some/prefix/t/{SHA[:2]}/not-a-hash", b"x")
    found = evidence.older(part=int(SHA[:2], 16), older_than_s=0.0)
    assert found == {"t": sorted(names)}


# --- the store's clock ---


def test_an_object_is_old_when_it_is_old_on_both_clocks(direct: Bucket) -> None:
    """A server may be as far ahead of the store as a signature allows."""
    part = int(SHA[:2], 16)
    for ahead, old in ((HOUR + CLOCKS_APART_S - 60.0, False), (HOUR + CLOCKS_APART_S + 60.0, True)):
        evidence = evidence_of(direct, clock=lambda ahead=ahead: time.time() + ahead)
        put(evidence)
        assert evidence.older(part=part, older_than_s=HOUR)["t"] == ([SHA] if old else [])
        assert evidence.remove(tenant="t", sha256=SHA, older_than_s=HOUR) is old
        assert evidence.has(tenant="t", sha256=SHA) is not old


def test_a_repeated_put_makes_it_young_again(direct: Bucket) -> None:
    """Somebody relies on it: whoever removes what is old must not take it."""
    put(evidence_of(direct))
    first = direct.changed_at(KEY)
    while direct.changed_at(KEY) == first:  # the store tells whole seconds
        time.sleep(0.3)
        put(evidence_of(direct))


# --- the start ---


def refusal(evidence: BucketEvidence) -> str:
    with pytest.raises(StoreNotUsable) as caught:
        evidence.prove_usable(versions_allowed=False)
    return str(caught.value)


def test_a_bucket_that_cannot_be_used_is_refused_by_name_and_without_secrets(
    object_store: ObjectStore, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = secrets.token_hex(16)
    for expected, place in (
        ("SignatureDoesNotMatch", object_store.place(name, secret_key=wrong)),
        ("there is no such bucket", object_store.place("nowhere-at-all")),
        ("did not answer", object_store.place(name, endpoint="http://127.0.0.1:1")),
        ("client failed", object_store.place(name, endpoint="http://")),
    ):
        evidence = evidence_of(Bucket(place, patience_s=4.0))
        told = refusal(evidence)
        assert told.startswith("the evidence bucket s3://b is not usable")
        assert expected in told
        with pytest.raises(StoreUnavailable):
            put(evidence)
        assert wrong not in told + repr(place) + caplog.text
        assert object_store.secret_key not in told + repr(place) + caplog.text


def test_a_bucket_that_keeps_what_is_deleted_is_refused_unless_it_is_said(
    object_store: ObjectStore,
) -> None:
    evidence = evidence_of(object_store.bucket(object_store.new_bucket(versioned=True)))
    assert "keeps old versions" in refusal(evidence)
    evidence.prove_usable(versions_allowed=True)
    put(evidence)
    assert evidence.remove(tenant="t", sha256=SHA)
    with pytest.raises(ItemNotFound):
        get(evidence)


def test_probes_of_servers_that_died_while_starting_are_removed_when_old(direct: Bucket) -> None:
    direct.put("some/prefix/.probes/dead", b"probe")
    evidence_of(direct).prove_usable(versions_allowed=False)
    assert [found.key for found in direct.below("")] == ["some/prefix/.probes/dead"]
    later = evidence_of(direct, clock=lambda: time.time() + HOUR + CLOCKS_APART_S + 60.0)
    later.prove_usable(versions_allowed=False)
    assert list(direct.below("")) == []


def test_a_bucket_of_another_database_is_refused(sqlite: RuledStore, direct: Bucket) -> None:
    one, two = (evidence_of(direct, prefix=prefix) for prefix in ("one", "two"))
    for _ in range(2):
        sqlite.transact(lambda tx: require_same_evidence(tx, one))
    with pytest.raises(StoreNotUsable, match="not the one that other servers") as caught:
        sqlite.transact(lambda tx: require_same_evidence(tx, two))
    mark = str(caught.value).partition("write ")[2].partition(" ")[0]
    direct.put("two/.database", f"{mark}\n".encode())
    sqlite.transact(lambda tx: require_same_evidence(tx, two))


def test_a_mark_that_is_there_stays(direct: Bucket) -> None:
    mark = evidence_of(direct).made_mark()
    assert len(mark) == 32
    assert evidence_of(direct).made_mark() == mark


# --- the link fails ---


@pytest.mark.parametrize(
    "fault",
    [Fault.REFUSE, Fault.HOLD, Fault.SLOW_DOWN, Fault.CUT_REQUEST, Fault.CHANGE_REQUEST],
)
def test_a_put_that_does_not_arrive_is_told_and_leaves_nothing(
    over_link: BucketEvidence,
    hurried: BucketEvidence,
    link: FaultyLink,
    direct: Bucket,
    fault: Fault,
) -> None:
    link.do(fault)
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        # Where nothing answers, time ends it, and elsewhere the number of attempts does.
        put(hurried if fault is Fault.HOLD else over_link)
    assert 1 <= link.requests <= RETRIES + 1, "a bounded number of attempts"
    with pytest.raises(NoObject):
        direct.get(KEY)
    link.do(Fault.NONE)
    put(over_link)
    assert direct.get(KEY) == DATA


@pytest.mark.parametrize(
    "fault", [Fault.REFUSE, Fault.SLOW_DOWN, Fault.CUT_REQUEST, Fault.CUT_ANSWER]
)
def test_a_passing_trouble_is_outlasted(
    over_link: BucketEvidence, link: FaultyLink, fault: Fault
) -> None:
    link.do(fault, times=2)
    put(over_link)
    assert get(over_link) == DATA
    assert link.requests > 2


@pytest.mark.parametrize(
    "fault", [Fault.REFUSE, Fault.HOLD, Fault.SLOW_DOWN, Fault.CUT_ANSWER, Fault.CHANGE_ANSWER]
)
def test_what_does_not_come_back_whole_is_not_returned(
    over_link: BucketEvidence, hurried: BucketEvidence, link: FaultyLink, fault: Fault
) -> None:
    put(over_link)
    link.do(fault)
    answered = fault in (
        Fault.CUT_ANSWER,
        Fault.CHANGE_ANSWER,
    )  # to be looked at
    with pytest.raises(StoreUnavailable):
        get(over_link if answered else hurried)
    assert link.requests
    link.do(Fault.NONE)
    assert get(over_link) == DATA


def test_no_other_call_takes_silence_for_an_answer(
    over_link: BucketEvidence, hurried: BucketEvidence, link: FaultyLink
) -> None:
    put(over_link)
    link.do(Fault.SLOW_DOWN)
    for call in (
        lambda: hurried.has(tenant="t", sha256=SHA),
        lambda: hurried.remove(tenant="t", sha256=SHA),
        lambda: hurried.remove(tenant="t", sha256=SHA, older_than_s=HOUR),
        lambda: hurried.older(part=0, older_than_s=HOUR),
    ):
        with pytest.raises(StoreUnavailable):
            call()
    for mark in (hurried.mark, hurried.made_mark):
        with pytest.raises(StoreNotUsable):
            mark()
    link.do(Fault.NONE)
    assert over_link.has(tenant="t", sha256=SHA)


def test_a_store_that_was_killed_is_used_again_when_it_is_back() -> None:
    store = ObjectStore()
    try:
        name = store.new_bucket()
        evidence = evidence_of(Bucket(store.place(name)))
        put(evidence)
        store.kill()
        hurried = evidence_of(Bucket(store.place(name), patience_s=2.0))
        for call in (put, get):
            with pytest.raises(StoreUnavailable):
                call(hurried)
        store.start()
        assert get(evidence) == DATA
        put(evidence)
    finally:
        store.close()


# --- in a queue ---


def queue_settings(object_store: ObjectStore, name: str, folder: Path) -> QueueSettings:
    (folder / "key").write_text(object_store.secret_key + "\n")
    return QueueSettings(
        database=str(folder / "queue.db"),
        evidence=f"s3://{name}/queue",
        evidence_endpoint=object_store.endpoint,
        evidence_access_key="imagesieve:tests",
        evidence_secret_key_file=str(folder / "key"),
    )


async def test_a_queue_keeps_its_pictures_in_the_bucket_and_no_row_without_one(
    object_store: ObjectStore, name: str, direct: Bucket, tmp_path: Path, link: FaultyLink
) -> None:
    (tmp_path / "key").write_text(object_store.secret_key + "\n")
    settings = QueueSettings(
        database=str(tmp_path / "queue.db"),
        evidence=f"s3://{name}/queue",
        evidence_endpoint=link.endpoint,
        evidence_access_key=ACCESS_KEY,
        evidence_secret_key_file=str(tmp_path / "key"),
    )
    metrics = RecordingMetrics()
    queue = open_queue(settings, metrics)
    flag, other = make_flag("r1", "picture"), make_flag("r2", "another")
    await queue.submit(flag, b"picture")
    assert await queue.evidence(tenant="t", sha256=flag.sha256) == b"picture"
    assert direct.get(f"queue/t/{flag.sha256[:2]}/{flag.sha256}") == b"picture"
    link.do(Fault.SLOW_DOWN)
    with pytest.raises(StoreUnavailable):
        await queue.submit(other, b"another")
    assert len(metrics.named("store_error")) == 1
    assert (await queue.stats(tenant="t")).by_state[State.READY] == 1
    link.do(Fault.NONE)
    await queue.submit(other, b"another")
    assert (await queue.stats(tenant="t")).by_state[State.READY] == 2
    await queue.close()


async def test_credentials_may_come_from_the_environment(
    object_store: ObjectStore, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", object_store.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store.endpoint)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    place = open_evidence(QueueSettings(evidence=f"s3://{name}/env"))
    put(place.store)
    assert get(place.store) == DATA


def test_a_key_of_the_settings_goes_without_the_environments_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The token belongs to the environment's own key; another store must not even see it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a token")
    seen: list[dict[str, str]] = []

    class Store(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        key = {"access_key": "ours", "secret_key": "secret"}
        place = BucketPlace(bucket="b", endpoint=endpoint, allow_http=True, **key)
        Bucket(place).put("key", b"data")
    finally:
        server.shutdown()
        server.server_close()
    assert "Credential=ours/" in seen[0]["authorization"]
    assert "x-amz-security-token" not in seen[0]


def test_doctor_tries_the_bucket(
    object_store: ObjectStore,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for variable, value in object_store.settings(name, tmp_path / "key").items():
        monkeypatch.setenv(variable, value)
    main(["doctor"])
    assert f"ok    evidence: bucket s3://{name}/evidence" in capsys.readouterr().out
    (tmp_path / "key").write_text("another")
    assert main(["doctor"]) == 1
    assert "FAIL  evidence: the evidence bucket" in capsys.readouterr().out


def test_check_looks_into_the_bucket(
    object_store: ObjectStore,
    name: str,
    direct: Bucket,
    sqlite: RuledStore,
    clock: ManualClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for variable, value in object_store.settings(name, tmp_path / "key").items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("IMAGESIEVE__QUEUE__DATABASE", str(tmp_path / "queue.db"))
    evidence, desk = evidence_of(direct, prefix="evidence"), Desk(store=sqlite, clock=clock)
    for number in range(3):
        data = f"r{number}".encode()
        evidence.put(tenant="t", sha256=hashlib.sha256(data).hexdigest(), data=data)
        desk.keep(f"r{number}")
    assert main(["queue", "check", "--hashes"]) == 0
    assert "3 items, 0 decisions, 0 problems" in capsys.readouterr().out
    for number, damage in ((0, None), (1, b"R1")):
        sha256 = hashlib.sha256(f"r{number}".encode()).hexdigest()
        key = f"evidence/t/{sha256[:2]}/{sha256}"
        if damage is None:
            direct.delete(key)
        else:
            direct.put(key, damage)
    assert main(["queue", "check"]) == 1
    assert "is missing" in capsys.readouterr().out
    assert main(["queue", "check", "--hashes"]) == 1
    told = capsys.readouterr().out
    assert "is damaged" in told
    assert "2 problems" in told
