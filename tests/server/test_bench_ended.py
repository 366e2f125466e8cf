"""A bench that is ended or cannot begin leaves no server, and the report that was there."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import pytest

from imagesieve_server.commands import bench, local_server, main
from imagesieve_server.commands.bench import named_server, process_cost, report_file
from imagesieve_server.commands.local_server import OWN_SERVER, LocalServer, start_server
from imagesieve_server.core.errors import ConfigError, StartupError

pytestmark = pytest.mark.timeout(300)


def test_a_report_that_has_no_place_is_known_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for nowhere in (tmp_path / "none" / "x.json", tmp_path):
        assert main(["bench", "--only", "decode", "--json", str(nowhere)]) == 1
        said = capsys.readouterr().err
        assert "cannot be written" in said
        assert "decode" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_bench_that_does_not_begin_leaves_the_report_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong model, or Ctrl-C before anything is measured."""

    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text("found before")
    for out in (old, new):
        assert main(["bench", "--model", str(tmp_path), "--json", str(out)]) == 1
    monkeypatch.setattr(bench, "_bench", interrupted)
    for out in (old, new):
        assert main(["bench", "--json", str(out)]) == 130
    assert old.read_text() == "found before"
    assert list(tmp_path.iterdir()) == [old]


def test_a_report_replaces_the_one_before_and_a_link_to_it_stays(tmp_path: Path) -> None:
    out, link, dangling = (tmp_path / name for name in ("out.json", "link", "dangling"))
    out.write_text("found before")
    link.symlink_to(out)
    dangling.symlink_to(tmp_path / "new.json")
    for path in (link, dangling):
        report_file.check(path)
        report_file.write(path, "found now")
        assert path.is_symlink()
        assert path.read_text() == "found now"
    assert out.read_text() == "found now"
    assert len(list(tmp_path.iterdir())) == 4


def test_a_report_may_go_into_a_device(capfd: pytest.CaptureFixture[str]) -> None:
    for path in (Path("/dev/null"), Path("/dev/stdout")):
        report_file.check(path)
        report_file.write(path, "found now")
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize(
    ("number", "then"), [(errno.ENOSPC, "found before"), (errno.EBUSY, "found now")]
)
def test_a_report_that_cannot_replace_another(
    number: int, then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves the old one as it is; a file that is mounted is written in its place."""

    def refuse(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    out = tmp_path / "out.json"
    out.write_text("found before")
    monkeypatch.setattr(os, "replace", refuse)
    if then == "found before":
        with pytest.raises(ConfigError, match="cannot be written"):
            report_file.write(out, "found now")
    else:
        report_file.write(out, "found now")
    assert out.read_text() == then
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("when", ["the server starts", "calls are made"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_bench_that_is_ended_leaves_no_server_behind(
    tmp_path: Path, number: int, when: str
) -> None:
    out = tmp_path / "bench.json"
    out.write_text("found before")
    with bench_of_tails(tmp_path, out) as process:
        while len(below := process_cost.family(process.pid)[1:]) < 3 or (
            when == "calls are made" and not answered(tmp_path)
        ):  # a server and its workers
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        code = process.wait()
    while any(runs(member) for member in below):
        time.sleep(0.05)
    if number == signal.SIGTERM:
        assert code == 1
        assert json.loads(out.read_text())["failed"] == {"tails": "interrupted, and all after it"}
        assert [path.name for path in tmp_path.iterdir()] == [out.name]
    else:
        assert out.read_text() == "found before"


@contextmanager
def bench_of_tails(folder: Path, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One that would run for minutes; its files are below the folder."""
    words = ["--only", "tails", "--rounds", "9", "--seconds", "9", "--json", str(out)]
    with subprocess.Popen(
        [sys.executable, "-m", "imagesieve_server", "bench", *words],
        env={**os.environ, "TMPDIR": str(folder)},
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def answered(folder: Path) -> bool:
    """Whether the server below the folder has answered a call."""
    for log in folder.glob("imagesieve-bench-*/*/server-*.log"):
        if found := re.search(r"metrics on port (\d+)", log.read_text(errors="replace")):
            url = f"http://127.0.0.1:{found[1]}/metrics"
            samples = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url)
            return (
                b'grpc_server_handled_total{grpc_code="OK",grpc_method="Moderate"' in samples.read()
            )
    return False


@pytest.mark.parametrize("module", [OWN_SERVER, named_server.__name__])
def test_a_server_whose_starter_is_killed_before_it_looks_does_not_begin(
    tmp_path: Path, module: str
) -> None:
    """The one that was started has the other end of the pipe as long as it runs."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path), module],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as starter:
        try:
            assert starter.communicate(timeout=200) == (b"", None)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(starter.pid, signal.SIGKILL)
    assert starter.returncode == -signal.SIGKILL
    (log,) = tmp_path.glob("server-*.log")
    assert log.read_text() == ""


STARTER = """
import os, pathlib, signal, subprocess, sys
from imagesieve_server.commands import local_server

class Last(subprocess.Popen):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

subprocess.Popen = Last
local_server.launch(folder=pathlib.Path(sys.argv[1]), module=sys.argv[2])
"""


def test_a_server_that_does_not_end_in_its_time_is_killed(deaf: LocalServer) -> None:
    assert deaf.stop() == -signal.SIGKILL


def test_a_server_that_does_not_end_takes_no_exceptions_place(
    deaf: LocalServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local_server, "launch", lambda **_: deaf)
    with pytest.raises(KeyboardInterrupt), start_server(folder=tmp_path):
        raise KeyboardInterrupt
    assert deaf.process.returncode == -signal.SIGKILL


def test_a_server_that_had_to_be_killed_is_a_failure(
    deaf: LocalServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local_server, "launch", lambda **_: deaf)
    with pytest.raises(StartupError, match="ended with -9"), start_server(folder=tmp_path):
        pass


@pytest.fixture
def deaf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """It does not heed SIGTERM, and has no time to."""
    monkeypatch.setattr(local_server, "STOP_LIMIT_S", 0.0)
    (tmp_path / "log").touch()
    does = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    with subprocess.Popen(
        [sys.executable, "-c", f"import signal; {does}"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield LocalServer(process=process, target="", metrics_url="", log=tmp_path / "log")
        process.kill()


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
