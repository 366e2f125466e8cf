"""A server that says it is ready has loaded what its first requests need, each kind of them.

What it loads is counted, not timed: no module is imported by a request, and no thread begun but
the one that does blocking work for whoever asks.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from helpers.telling_server import LINE
from imagesieve import Client, ItemNotFound, Outcome, RequestError, RequestIdReused, Upload
from imagesieve_server.commands.bench.process_cost import family
from imagesieve_server.commands.demo import read_pictures
from imagesieve_server.commands.local_server import LocalServer, start_server
from imagesieve_server.demo_data import DEMO_IMAGES
from imagesieve_server.usable_cores import usable_cores

pytestmark = pytest.mark.beside_extras
HELPING = ("asyncio_", "evidence_")
"""Threads that do blocking work for whoever asks; to begin one takes a tenth of a millisecond."""
HELPERS = str(Path(__file__).parents[1])
PICTURES = read_pictures(DEMO_IMAGES)
FLAGGED = [DEMO_IMAGES / p.file for p in PICTURES if p.kind == "flagged"]
ORDINARY = [DEMO_IMAGES / p.file for p in PICTURES if p.kind == "ordinary"]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that nobody has asked anything but whether it listens."""
    path = os.pathsep.join((os.environ.get("PYTHONPATH", ""), HELPERS)).strip(os.pathsep)
    folder = tmp_path_factory.mktemp("fresh")
    with start_server(folder=folder, module="helpers.telling_server", PYTHONPATH=path) as server:
        yield server


@pytest.fixture(scope="module")
def client(fresh: LocalServer) -> Iterator[Client]:
    with Client(fresh.target) as connected:
        yield connected


def loaded(server: LocalServer) -> set[str]:
    """The modules and Python's threads of the server's process by now."""

    def told() -> list[str]:
        lines = server.log.read_text().splitlines(keepends=True)
        return [line for line in lines if line.startswith(LINE) and line.endswith("\n")]

    before = len(told())
    server.process.send_signal(signal.SIGUSR1)
    while len(told()) == before:  # the test's own limit of time ends it
        time.sleep(0.01)
    found = json.loads(told()[-1].removeprefix(LINE))
    threads = {f"thread {name}" for name in found["threads"] if not name.startswith(HELPING)}
    return threads | set(found["modules"])


@pytest.fixture(scope="module")
def ready(fresh: LocalServer) -> set[str]:
    """What was loaded before the first request."""
    return loaded(fresh)


def flag(client: Client) -> None:
    """A flag, its repeat, and another picture under its id."""
    sent = client.moderate(FLAGGED[0], request_id="flagged", uploader_ref="u", labels={"a": "b"})
    assert client.moderate(FLAGGED[0], request_id="flagged").item_id == sent.item_id
    with pytest.raises(RequestIdReused):
        client.moderate(FLAGGED[1], request_id="flagged")


def review(client: Client) -> None:
    """Everything a reviewer does with one item, and what is refused."""
    sent = client.moderate(FLAGGED[2])
    client.review.stats()
    list(client.review.list())
    client.review.get(sent.item_id, include_image=True)
    lease = client.review.claim(reviewer="ann", include_image=True)
    assert lease is not None
    client.review.extend(lease.item.item_id, lease.token)
    client.review.decide(lease.item.item_id, lease.token, Outcome.REJECT, reviewer="ann")
    with pytest.raises(ItemNotFound):
        client.review.get("no-such-item")


def refused(client: Client) -> None:
    """Each with rich errors, and a picture that nobody can decode."""
    for image in (b"", b"no picture"):
        with pytest.raises(RequestError):
            client.moderate(image)
    with pytest.raises(RequestError):
        client.moderate(ORDINARY[0], policy="no-such-policy")
    client.moderate(b"GIF89a" + b"0" * 20)


def in_messages(client: Client) -> None:
    """In messages of several, and in a stream."""
    list(client.moderate_bulk([Upload(image=path) for path in ORDINARY[:3]]))
    list(client.moderate_many([Upload(image=path) for path in ORDINARY[3:6]]))


def policies(client: Client) -> None:
    client.get_policy()
    client.list_policies()
    client.reload_policies()


def pictures(client: Client) -> None:
    """Every format and evasion of the demo."""
    for picture in PICTURES:
        client.moderate(DEMO_IMAGES / picture.file)


KINDS: dict[str, Callable[[Client], object]] = {
    "health": lambda client: client.health(),
    "ordinary": lambda client: client.moderate(ORDINARY[0]),
    "dry run": lambda client: client.moderate(FLAGGED[1], dry_run=True),
    "flag": flag,
    "refused": refused,
    "in messages": in_messages,
    "review": review,
    "policies": policies,
    "pictures": pictures,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_request_of_each_kind_loads_nothing(
    fresh: LocalServer, ready: set[str], client: Client, kind: str
) -> None:
    KINDS[kind](client)
    assert loaded(fresh) - ready == set()


def test_a_first_look_at_what_is_served_loads_nothing(fresh: LocalServer, ready: set[str]) -> None:
    """Reflection, as command-line tools ask for it."""
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(fresh.target, options=options) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        (answer,) = stub.ServerReflectionInfo(iter([request]))
    assert len(answer.list_services_response.service) > 4
    assert loaded(fresh) - ready == set()


def test_what_follows_a_start_is_over_when_the_server_is_ready(fresh: LocalServer) -> None:
    """A decode worker that starts takes the processor from the first requests. The spare counts."""
    before = family(fresh.process.pid)
    assert len(before) == 1 + usable_cores() + 2
    with Client(fresh.target) as other:
        other.moderate(ORDINARY[0])
    assert family(fresh.process.pid) == before
