"""The receiver on the page does what the page says, told by the real couriers."""

from __future__ import annotations

import json
import random
import re
import sqlite3
import threading
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from helpers.review_queue import Desk, ManualClock
from helpers.webhook_receiver import SECRET
from helpers.webhook_rig import (
    Counted,
    Decider,
    ManualTime,
    office_of,
    outbox_of,
    receiver_of,
    until,
)
from imagesieve_server.core.webhooks import headers, signing_key
from imagesieve_server.review_queue.memory import memory_store
from imagesieve_server.webhooks import endpoints

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "receive-decisions.md"
TEXT = PAGE.read_text(encoding="utf-8")
GOLDEN = Path(__file__).parents[1] / "golden" / "webhook.json"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The receiver's own names, served on a port of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGESIEVE_WEBHOOK_SECRET", SECRET)
    (block,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    names["Handler"].log_message = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), names["Handler"])
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    names["url"] = f"http://127.0.0.1:{server.server_port}/imagesieve"
    yield names
    server.shutdown()
    thread.join()
    server.server_close()


def newest() -> dict[str, tuple[str, str]]:
    database = sqlite3.connect("decisions.sqlite3", timeout=10)
    try:
        rows = database.execute("SELECT request_id, outcome, sequence FROM newest")
        return {request_id: (outcome, sequence) for request_id, outcome, sequence in rows}
    except sqlite3.OperationalError:  # nothing has come yet
        return {}
    finally:
        database.close()


async def test_it_knows_how_each_item_stands(page: dict[str, Any]) -> None:
    clock = ManualClock()
    desk = Desk(store=memory_store(clock=clock), clock=clock)
    decider = Decider(desk=desk, chance=random.Random(3))
    for _ in range(30):
        decider.decide()
    rows = desk.store.decision_events(tenant="t", after=0, limit=100)
    last = {row.request_id: f"{row.position:020d}" for row in rows}
    counted = Counted()
    async with (
        outbox_of(desk.store, counted) as outbox,
        office_of(outbox, counted, ManualTime(clock), receiver_of(page["url"], timeout_s=10.0)),
    ):
        await until(lambda: {r: s for r, (_, s) in newest().items()} == last)
    for row in rows:
        if last[row.request_id] == f"{row.position:020d}":
            (decision, *_) = reversed(desk.item(row.item_id).decisions)
            assert newest()[row.request_id][0] == f"OUTCOME_{decision.outcome.value}"


def post(url: str, body: bytes, sent: dict[str, str]) -> int:
    request = urllib.request.Request(url, data=body, headers=sent)
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def signed(event: dict[str, Any], timestamp: int) -> tuple[bytes, dict[str, str]]:
    body = json.dumps(event).encode()
    keys = [signing_key(SECRET)]
    return body, headers(event_id=event["id"], timestamp=timestamp, body=body, keys=keys)


def test_it_drops_repeats_and_what_is_older_and_refuses_what_is_not_signed(
    page: dict[str, Any],
) -> None:
    import time

    event = json.loads(GOLDEN.read_text(encoding="utf-8"))["body"]
    older = {**event, "id": "evt_older", "sequence": "0" * 19 + "7"}
    older["data"] = {**event["data"], "decision": {"outcome": "OUTCOME_APPROVE"}}
    now = int(time.time())
    for each in (event, event, older):
        assert post(page["url"], *signed(each, now)) == 204
    assert newest() == {"r1": ("OUTCOME_REJECT", event["sequence"])}
    body, sent = signed({**event, "id": "evt_forged"}, now)
    assert post(page["url"], body + b" ", sent) == 401
    assert post(page["url"], *signed({**event, "id": "evt_old"}, now - 3600)) == 401
    assert post(page["url"], body, {}) == 401
    assert newest() == {"r1": ("OUTCOME_REJECT", event["sequence"])}


def test_the_event_on_the_page_is_the_one_that_leaves() -> None:
    (shown,) = re.findall(r"^```json\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    event, sent = json.loads(shown), json.loads(GOLDEN.read_text(encoding="utf-8"))
    real = sent["body"]
    assert event.keys() == real.keys()
    assert event["data"].keys() == real["data"].keys()
    assert event["data"]["decision"].keys() == real["data"]["decision"].keys()
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature", "content-type"):
        assert f"{name}: {sent['headers'][name]}\n" in TEXT


def test_the_files_on_the_page_are_read(tmp_path: Path) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "webhooks.toml").write_text(blocks[0])
    (tmp_path / "uploads.secret").write_text(SECRET + "\n")
    (one,) = endpoints.read_receivers(tmp_path / "webhooks.toml").values()
    assert one.endpoint.name == "uploads"
    assert tomllib.loads(blocks[1])["webhooks"]["endpoints"]


def test_every_key_of_the_file_is_on_the_page() -> None:
    named = set(re.findall(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \|", TEXT, re.MULTILINE))
    assert {key for cell in named for key in re.findall(r"`([a-z_]+)`", cell)} == endpoints._KEYS
