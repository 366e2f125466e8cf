"""All that a peer's server started is stopped with it; graphs of other versions are made anew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from benchmarks import peer_processes

sys.path.insert(0, str(Path(peer_processes.__file__).parent))
import peer_graphs

FORSAKEN = """
import os, time
if os.fork() == 0:
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(600)
    os._exit(0)
os.wait()
time.sleep(600)
"""
"""A server, one of whose processes has lost its parent."""


@pytest.fixture
def server() -> Iterator[tuple[int, int]]:
    """The server's process and the one that lost its parent."""
    command = [sys.executable, "-c", FORSAKEN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        stray = int(process.stdout.readline())
        while parent_of(stray) in peer_processes.family(process.pid):
            time.sleep(0.02)
        yield process.pid, stray
        os.killpg(process.pid, signal.SIGKILL)


def parent_of(pid: int) -> int:
    return int(stat_of(pid)[1])


def state_of(pid: int) -> str:
    return stat_of(pid)[0]


def stat_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def test_who_lost_its_parent_stands_still_with_the_server(server: tuple[int, int]) -> None:
    pid, stray = server
    assert stray not in peer_processes.family(pid)
    peer_processes.send(signal.SIGSTOP, pid)
    while {state_of(pid), state_of(stray)} != {"T"}:
        time.sleep(0.02)
    peer_processes.send(signal.SIGCONT, pid)
    while "T" in {state_of(pid), state_of(stray)}:
        time.sleep(0.02)


def test_a_server_with_a_process_that_lost_its_parent_is_not_measured(
    server: tuple[int, int],
) -> None:
    pid, stray = server
    with pytest.raises(SystemExit, match=str(stray)):
        peer_processes.no_strays(pid)
    os.kill(stray, signal.SIGKILL)
    while stray in peer_processes.session(pid):
        time.sleep(0.02)
    peer_processes.no_strays(pid)


def test_graphs_of_other_versions_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    versions = {"torch": "2.9", "open_clip_torch": "3.2", "onnxruntime": "1.24"}

    def exported(arch: str, folder: Path) -> Iterator[tuple[str, float]]:
        made.append(arch)
        for kind in peer_graphs.KINDS:
            peer_graphs._path(folder, kind).write_text(versions["onnxruntime"])
            yield kind, float(len(made))

    monkeypatch.setattr(peer_graphs, "_exported", exported)
    monkeypatch.setattr(metadata, "version", versions.__getitem__)
    for expected in (1, 1, 2, 2):
        if expected == 2:
            versions["onnxruntime"] = "1.25"
        graphs = peer_graphs.documented("small", tmp_path)
        assert {graph.error for graph in graphs.values()} == {float(expected)}
        assert {graph.path.read_text() for graph in graphs.values()} == {versions["onnxruntime"]}
    assert made == ["small", "small"]
    (tmp_path / "small-as-documented" / "versions.json").unlink()  # as those of before
    peer_graphs.documented("small", tmp_path)
    assert len(made) == 3
