"""Collections are fewer while a server runs, and as they were afterwards."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from imagesieve_server import config
from imagesieve_server.assembly import running
from imagesieve_server.garbage import collected_less
from imagesieve_server.grpc_api.server import GrpcServer


class Thing:
    """Something that can refer to itself."""

    itself: Thing


def test_what_is_there_is_set_aside_and_given_back() -> None:
    before = gc.get_threshold()
    with collected_less():
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] > before[0]
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before


def test_cycles_made_meanwhile_are_collected_all_the_same() -> None:
    with collected_less():
        thing = Thing()
        thing.itself = thing
        ref = weakref.ref(thing)
        del thing
        gc.collect()
        assert ref() is None


async def test_a_server_collects_before_its_first_caller_can_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_aside = []
    start = GrpcServer.start

    async def looked_at(server: GrpcServer) -> int:
        set_aside.append(gc.get_freeze_count())
        return await start(server)

    monkeypatch.setattr(GrpcServer, "start", looked_at)
    chosen = {"SERVER__ADDRESS": "127.0.0.1:0", "METRICS__ADDRESS": "", "CONSOLE__ADDRESS": ""}
    folders = {"QUEUE__DATABASE": tmp_path / "q.db", "QUEUE__EVIDENCE": tmp_path / "evidence"}
    environ = {f"IMAGESIEVE__{key}": str(value) for key, value in (chosen | folders).items()}
    async with running(config.load(None, environ)):
        pass
    assert set_aside[0] > 0
    assert gc.get_freeze_count() == 0
