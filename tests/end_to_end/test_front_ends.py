"""Real processes: two front ends and one encoder process, killed one after the other."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from helpers.postgres import PostgresServer
from imagesieve import Client, HealthStatus
from imagesieve.v1 import moderation_pb2, moderation_pb2_grpc
from imagesieve_server.commands.bench.process_cost import family
from imagesieve_server.commands.local_server import LocalServer, launch, start_server
from imagesieve_server.demo_data import DEMO_IMAGES

LIMIT_S = 240.0  # of what should take seconds, on a machine that has other things to do
_RESTARTS = 'imagesieve_process_restarts_total{{process="{}"}}'
_STARTED = (
    'grpc_server_started_total{{grpc_method="Moderate",'
    'grpc_service="imagesieve.v1.ModerationService",grpc_type="unary",process="{}"}}'
)

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(900)]


@pytest.fixture
def settings(postgres_server: PostgresServer, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "secret").write_text("s" * 64)
    return {
        "IMAGESIEVE__QUEUE__DATABASE": postgres_server.new_database(),
        "IMAGESIEVE__QUEUE__EVIDENCE_SHARED": "true",
        "IMAGESIEVE__SERVER__SECRET_FILE": str(tmp_path / "secret"),
        "IMAGESIEVE__SERVER__FRONT_ENDS": "2",
        "IMAGESIEVE__IMAGES__WORKERS": "2",
        "IMAGESIEVE__LOG__LEVEL": "info",
    }


class Connections:
    """Callers with a connection each, so that the kernel has something to share out."""

    def __init__(self, server: LocalServer, count: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        self._channels = [grpc.insecure_channel(server.target, options) for _ in range(count)]
        self._stubs = [moderation_pb2_grpc.ModerationServiceStub(c) for c in self._channels]

    def codes(self, image: bytes) -> Counter[grpc.StatusCode]:
        """What one call over each connection, all at once, comes to."""
        with ThreadPoolExecutor(len(self._stubs)) as pool:
            return Counter(pool.map(lambda stub: self._code(stub, image), self._stubs))

    def _code(self, stub: moderation_pb2_grpc.ModerationServiceStub, image: bytes) -> Any:
        request = moderation_pb2.ModerateRequest(
            request_id=secrets.token_hex(8),
            image=image + secrets.token_bytes(8),  # new to every cache
            mode=moderation_pb2.MODERATE_MODE_DRY_RUN,
        )
        try:
            stub.Moderate(request, timeout=LIMIT_S)
        except grpc.RpcError as error:
            return error.code()  # type: ignore[attr-defined]
        return grpc.StatusCode.OK

    def close(self) -> None:
        for channel in self._channels:
            channel.close()


def pids(server: LocalServer) -> dict[str, int]:
    """The latest process of each name, from the log."""
    lines = (line for line in server.log.read_text().splitlines() if line.startswith("{"))
    starts = (entry for line in lines if (entry := json.loads(line))["message"] == "started")
    return {entry["part"]: entry["pid"] for entry in starts}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    try:
        state = re.search(r"State:\s+(\w)", Path(f"/proc/{pid}/status").read_text())
    except FileNotFoundError:
        return True
    return state is not None and state[1] == "Z"


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def test_two_front_ends_answer_as_one_process_does(
    settings: dict[str, str], tmp_path: Path, client: Client
) -> None:
    names = sorted(path for path in DEMO_IMAGES.iterdir() if path.suffix in (".jpg", ".gif"))
    with (
        start_server(folder=tmp_path, **settings) as server,
        Client(server.target) as caller,
    ):
        for path in names:
            picture = path.read_bytes()
            several, single = (c.moderate(picture, dry_run=True) for c in (caller, client))
            assert several.verdict is single.verdict
            assert several.model_version == single.model_version
            assert [(s.category, s.view) for s in several.scores] == [
                (s.category, s.view) for s in single.scores
            ]
            for ours, theirs in zip(several.scores, single.scores, strict=True):
                assert ours.score == pytest.approx(theirs.score, abs=1e-4)


def test_what_is_killed_is_missed_by_nobody_else(settings: dict[str, str], tmp_path: Path) -> None:
    """The encoder process, then a front end, with -9 while calls are under way."""
    picture = (DEMO_IMAGES / "photo_cat.jpg").read_bytes()
    with (
        start_server(folder=tmp_path, **settings) as server,
        Client(server.target) as caller,
    ):
        calls = Connections(server, 12)
        before = pids(server)
        assert calls.codes(picture) == {grpc.StatusCode.OK: 12}
        begun = [
            server.metrics().get(_STARTED.format(name), 0.0) for name in ("front-1", "front-2")
        ]
        assert min(begun) > 0, f"the kernel gave every connection to one of them: {begun}"
        with ThreadPoolExecutor(1) as beside:
            under_way = beside.submit(calls.codes, picture)
            os.kill(before["encoder"], signal.SIGKILL)
            assert set(under_way.result()) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
        until(lambda: pids(server)["encoder"] != before["encoder"])
        until(lambda: caller.health(timeout=10) is HealthStatus.SERVING)
        until(lambda: calls.codes(picture) == {grpc.StatusCode.OK: 12})
        with ThreadPoolExecutor(1) as beside:
            under_way = beside.submit(calls.codes, picture)
            os.kill(before["front-1"], signal.SIGKILL)
            assert under_way.result()[grpc.StatusCode.OK] > 0
        until(lambda: pids(server)["front-1"] != before["front-1"])
        until(lambda: calls.codes(picture) == {grpc.StatusCode.OK: 12})
        calls.close()
        samples = server.metrics()
        restarts = {n: samples[_RESTARTS.format(n)] for n in ("encoder", "front-1", "front-2")}
        assert restarts == {"encoder": 1, "front-1": 1, "front-2": 0}
        everybody = family(server.process.pid)
        assert len(everybody) >= 4
    until(lambda: all(is_gone(pid) for pid in everybody))


def test_nothing_is_left_of_a_server_whose_supervisor_is_killed(
    settings: dict[str, str], tmp_path: Path
) -> None:
    server = launch(folder=tmp_path, PGPASSWORD="hunter2", **settings)
    everybody = family(server.process.pid)
    assert len(everybody) >= 4 + 2  # the decode workers, too
    assert {name for name, pid in pids(server).items() if b"hunter2" in environment(pid)} == {
        "front-1",
        "front-2",
    }, "who does not ask the database does not know its password"
    server.process.kill()
    server.process.wait()
    until(lambda: all(is_gone(pid) for pid in everybody))
