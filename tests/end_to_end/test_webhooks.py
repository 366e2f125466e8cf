"""A real server tells a real receiver of a decision, and follows its file of endpoints."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from helpers.webhook_receiver import SECRET, Receiver
from imagesieve import Client, Outcome
from imagesieve_server.commands.demo import read_pictures
from imagesieve_server.commands.local_server import start_server
from imagesieve_server.demo_data import DEMO_IMAGES


@contextmanager
def listening() -> Iterator[Receiver]:
    """A receiver in a thread of its own."""
    receiver, loop = Receiver(), asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(receiver.start(), loop).result()
    try:
        yield receiver
    finally:
        asyncio.run_coroutine_threadsafe(receiver.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.02)


def write(path: Path, receiver: Receiver) -> None:
    path.write_text(
        f'[[endpoint]]\nname = "uploads"\ntenant = "default"\nurl = "{receiver.url}"\n'
        f'secrets = ["{SECRET}"]\n'
    )


def decide(client: Client, picture: bytes, request_id: str) -> str:
    client.moderate(picture + request_id.encode(), request_id=request_id, content_ref="post/1")
    lease = client.review.claim(reviewer="ann")
    assert lease is not None
    client.review.decide(lease.item.item_id, lease.token, Outcome.REJECT, reviewer="ann")
    return lease.item.item_id


def test_decisions_reach_the_endpoint_in_force(tmp_path: Path) -> None:
    name = next(p.file for p in read_pictures(DEMO_IMAGES) if p.kind == "flagged")
    picture = (DEMO_IMAGES / name).read_bytes()
    file = tmp_path / "webhooks.toml"
    settings = {
        "IMAGESIEVE__WEBHOOKS__ENDPOINTS": str(file),
        "IMAGESIEVE__SERVER__WATCH_SECONDS": "0.1",
    }
    with listening() as old, listening() as new:
        write(file, old)
        with start_server(folder=tmp_path, **settings) as server, Client(server.target) as client:
            item_id = decide(client, picture, "r1")
            until(lambda: bool(old.taken))
            (event,) = old.taken
            assert event["subject"] == event["data"]["decision"]["item_id"] == item_id
            assert event["data"]["request_id"] == "r1"
            assert event["data"]["content_ref"] == "post/1"
            told = 'imagesieve_webhook_attempts_total{endpoint="uploads",result="told"}'
            # The receiver has it a moment before the courier reads the answer and counts.
            until(lambda: server.metrics().get(told) == 1.0)
            write(file, new)
            ok = 'imagesieve_file_reloads_total{file="webhooks",result="ok"}'
            until(lambda: server.metrics()[ok] == 2.0)
            decide(client, picture, "r2")
            until(lambda: bool(new.taken))
            assert new.taken[0]["data"]["request_id"] == "r2"
        assert len(old.seen) == 1
