"""The file of answers: whole lines, one for each image, and runs that go on where others ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.command_line import COMMAND, absolute_path
from imagesieve import ModerationResult, Overloaded, Upload
from imagesieve.command_answers import AnswerFile, AnswerFileError, with_ids
from imagesieve.command_moderate import resuming
from imagesieve.command_uploads import Entry
from imagesieve.testing import FakeServer, ReceivedRequest, allow, flag, in_turn, undecided

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(server: FakeServer, tmp_path: Path) -> Run:
    """Runs ``imagesieve moderate`` in a folder of its own."""

    def run(*words: str, target: str = server.target) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, "moderate", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
            cwd=tmp_path,
            env={**absolute_path(), "IMAGESIEVE_SERVER": target},
        )

    return run


def folder(parent: Path, count: int) -> None:
    (parent / "in").mkdir()
    for number in range(count):
        (parent / "in" / f"{number:04}.jpg").write_text(str(number))


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def files(path: Path) -> list[str]:
    return sorted(str(line["file"]) for line in lines(path))


@pytest.mark.parametrize("way", [[], ["--bulk"]])
def test_answers_go_to_a_file(run: Run, tmp_path: Path, way: list[str]) -> None:
    folder(tmp_path, 5)
    done = run("in", "--output", "out.jsonl", *way)
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(r"imagesieve: 5 of 5 images in .* s \(.*/s\)  ALLOW 5\n", done.stderr)
    assert files(tmp_path / "out.jsonl") == [f"in/{n:04}.jpg" for n in range(5)]
    assert {line["verdict"] for line in lines(tmp_path / "out.jsonl")} == {"ALLOW"}


def test_a_file_that_is_there_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    folder(tmp_path, 1)
    (tmp_path / "out.jsonl").write_text("precious\n")
    done = run("in", "--output", "out.jsonl")
    assert done.returncode == 2
    assert "go on with --resume out.jsonl" in done.stderr
    assert (tmp_path / "out.jsonl").read_text() == "precious\n"


def test_a_file_that_is_not_ours_is_left_as_it_is(run: Run, tmp_path: Path) -> None:
    folder(tmp_path, 1)
    text = '{"file": "a", "request_id": "r", "verdict": "ALLOW"}\nprecious\ntorn'
    (tmp_path / "out.jsonl").write_text(text)
    done = run("in", "--resume", "out.jsonl")
    assert done.returncode == 2
    assert "out.jsonl:2: is no answer of this command" in done.stderr
    assert (tmp_path / "out.jsonl").read_text() == text


def test_what_has_no_verdict_is_asked_again_as_the_same_request(tmp_path: Path, run: Run) -> None:
    folder(tmp_path, 3)
    (tmp_path / "list").write_text("in/0000.jpg\nin/0001.jpg\nin/0002.jpg\nin/absent.jpg\n")
    words = ("--paths-from", "list", "--concurrency", "1", "--resume", "out.jsonl")
    with FakeServer(in_turn(allow(), undecided(), flag("weapons"))) as server:
        done = run(*words, target=server.target)
        assert done.returncode == 4
        assert "UNDECIDED 1  ERROR 1  (" in done.stderr
        assert f"imagesieve moderate {' '.join(words)}\n" in done.stderr
        first = {request.image: request.request_id for request in server.requests}
        (tmp_path / "in" / "absent.jpg").write_text("here now")
        again = run(*words, target=server.target)
        assert again.returncode == 0
        assert "2 of 4 are answered in out.jsonl" in again.stderr
        assert [r.image for r in server.requests[3:]] == [b"1", b"here now"]
        assert server.requests[3].request_id == first[b"1"]
    verdicts = {str(line["file"]): line["verdict"] for line in lines(tmp_path / "out.jsonl")}
    assert len(lines(tmp_path / "out.jsonl")) == 4
    assert verdicts["in/0002.jpg"] == "REVIEW"


def test_a_finished_run_asks_nothing(run: Run, tmp_path: Path, server: FakeServer) -> None:
    folder(tmp_path, 3)
    assert run("in", "--resume", "out.jsonl").returncode == 0
    before = (tmp_path / "out.jsonl").read_bytes()
    done = run("in", "--resume", "out.jsonl")
    assert (done.returncode, server.count("Moderate")) == (0, 3)
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_other_options_are_other_questions(run: Run, tmp_path: Path, server: FakeServer) -> None:
    folder(tmp_path, 2)
    run("in", "--resume", "out.jsonl")
    run("in", "--resume", "out.jsonl", "--policy", "strict")
    assert [r.policy for r in server.requests] == ["", "", "strict", "strict"]
    assert len({r.request_id for r in server.requests}) == 4


def test_without_a_server_a_run_ends_early(run: Run, tmp_path: Path, dead_target: str) -> None:
    folder(tmp_path, 150)
    done = run("in", "--resume", "out.jsonl", "--concurrency", "32", target=dead_target)
    assert done.returncode == 4
    assert "no server answers; go on with: imagesieve moderate in" in done.stderr
    assert 64 <= len(lines(tmp_path / "out.jsonl")) < 150


def test_a_manifests_own_ids_are_kept(run: Run, tmp_path: Path, server: FakeServer) -> None:
    folder(tmp_path, 2)
    (tmp_path / "m.csv").write_text("path,request_id\nin/0000.jpg,mine\nin/0001.jpg,\n")
    run("m.csv", "--output", "out.jsonl")
    ids = {r.image: r.request_id for r in server.requests}
    assert ids[b"0"] == "mine"
    assert re.fullmatch(r"cli-[0-9a-f]{12}-[0-9a-f]{24}", ids[b"1"])
    run("m.csv", "--resume", "out.jsonl")
    assert server.count("Moderate") == 2


def test_one_image_listed_twice_is_two_questions(run: Run, tmp_path: Path) -> None:
    folder(tmp_path, 1)
    run("in/0000.jpg", "in/0000.jpg", "--output", "out.jsonl")
    assert len({line["request_id"] for line in lines(tmp_path / "out.jsonl")}) == 2


class SlowAndFallible:
    """Every seventh image is refused at its first attempt."""

    def __init__(self) -> None:
        self._refused: set[bytes] = set()

    def __call__(self, request: ReceivedRequest) -> ModerationResult:
        time.sleep(0.01)
        if int(request.image) % 7 == 3 and request.image not in self._refused:
            self._refused.add(request.image)
            raise Overloaded("busy", retry_after_s=0.1)
        return flag("weapons") if int(request.image) % 5 == 0 else allow()


@pytest.fixture
def slow() -> Iterator[FakeServer]:
    with FakeServer(SlowAndFallible()) as server:
        yield server


@contextlib.contextmanager
def started(folder: Path, *words: str, target: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, "moderate", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**absolute_path(), "IMAGESIEVE_SERVER": target},
    )
    with process:  # closes its pipes and waits for it
        try:
            yield process
        finally:
            process.kill()


def wait_for_lines(path: Path, count: int) -> None:
    """Until the file has that many lines."""
    for _ in range(3000):
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} never had {count} lines")


@pytest.mark.parametrize("way", [[], ["--bulk"]])
def test_killed_again_and_again_every_image_ends_with_one_answer(
    slow: FakeServer, tmp_path: Path, way: list[str]
) -> None:
    """SIGKILL in the middle, and a torn line put behind what it left."""
    folder(tmp_path, 200)
    out = tmp_path / "out.jsonl"
    words = ("in", "--resume", "out.jsonl", *way)
    for wanted in (20, 60, 100):
        with started(tmp_path, *words, target=slow.target) as process:
            wait_for_lines(out, wanted)
            process.kill()
            process.communicate()
        assert process.returncode == -signal.SIGKILL
        with out.open("ab") as file:
            file.write(b'{"file": "in/0')
    with started(tmp_path, *words, target=slow.target) as process:
        _, said = process.communicate(timeout=90)
    assert process.returncode == 0, said
    assert files(out) == [f"in/{n:04}.jpg" for n in range(200)]
    assert len({line["request_id"] for line in lines(out)}) == 200
    by_image = Counter(image for image, _ in {(r.image, r.request_id) for r in slow.requests})
    assert set(by_image.values()) == {1}  # killed and resumed, each image is one request
    assert len(slow.queue.items) == 40


def test_control_c_says_what_was_done_and_how_to_go_on(slow: FakeServer, tmp_path: Path) -> None:
    folder(tmp_path, 400)
    out = tmp_path / "out.jsonl"
    words = ("in", "--output", "out.jsonl")
    with started(tmp_path, *words, target=slow.target) as process:
        wait_for_lines(out, 10)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    done = re.search(r"interrupted: (\d+) of 400 images", said)
    assert done is not None, said
    assert abs(int(done[1]) - len(lines(out))) <= 1  # it may hit between writing and counting
    assert "go on with: imagesieve moderate in --resume out.jsonl\n" in said
    assert "Traceback" not in said


def test_control_c_at_any_moment_ends_the_run(slow: FakeServer, tmp_path: Path) -> None:
    """While calls start: there an interrupt in gRPC's own code would keep its channel open."""
    folder(tmp_path, 3000)
    for number in range(6):
        out = tmp_path / f"out{number}.jsonl"
        with started(tmp_path, "in", "--output", out.name, target=slow.target) as process:
            wait_for_lines(out, 2 + number)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=90)
            assert process.returncode == 130, said


def test_control_c_without_a_file_says_how_it_could_have_been(
    slow: FakeServer, tmp_path: Path
) -> None:
    folder(tmp_path, 400)
    with started(tmp_path, "in", target=slow.target) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "with --output FILE such a run can be resumed" in said


def test_two_runs_do_not_share_a_file(tmp_path: Path) -> None:
    path = str(tmp_path / "out.jsonl")
    first = AnswerFile.create(path)
    with pytest.raises(AnswerFileError, match="in use by another run"):
        AnswerFile.resume(path)
    first.write({"file": "a", "request_id": "r", "verdict": "ALLOW"})
    first.close()
    second = AnswerFile.resume(path)
    with pytest.raises(AnswerFileError, match="in use by another run"):
        AnswerFile.resume(path)
    assert second.answered == {"r"}
    second.close()
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_a_resumed_file_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    real = tmp_path / "real.jsonl"
    real.write_text("")
    real.chmod(0o600)
    (tmp_path / "link.jsonl").symlink_to(real)
    AnswerFile.resume(str(tmp_path / "link.jsonl")).close()
    assert (tmp_path / "link.jsonl").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_ends_the_run_and_says_how_to_go_on(server: FakeServer, tmp_path: Path) -> None:
    """A limit on the file's size stands for the disk: it also ends in the middle of a line."""
    folder(tmp_path, 20)
    limited = ["sh", "-c", 'ulimit -f 4; exec "$@"', "sh", *COMMAND]
    words = ["moderate", "in", "--server", server.target, "--resume", "out.jsonl"]
    settings = {"cwd": tmp_path, "env": absolute_path(), "capture_output": True, "text": True}
    done = subprocess.run([*limited, *words], check=False, timeout=60, **settings)  # type: ignore[call-overload]
    assert done.returncode == 4
    assert "out.jsonl: File too large; go on with: imagesieve moderate in --server" in done.stderr
    assert not (tmp_path / "out.jsonl").read_bytes().endswith(b"\n")
    done = subprocess.run([*COMMAND, *words], check=False, timeout=60, **settings)  # type: ignore[call-overload]
    assert done.returncode == 0
    assert files(tmp_path / "out.jsonl") == [f"in/{n:04}.jpg" for n in range(20)]


def test_ids_are_made_from_everything_that_changes_an_answer() -> None:
    def one(name: str = "a.jpg", options: object = (), run: str = "run", **known: object) -> str:
        upload = Upload(image=b"", **known)  # type: ignore[arg-type]
        (entry,) = with_ids([Entry(name=name, upload=upload)], run=run, options=options)
        assert entry.upload.request_id is not None
        return entry.upload.request_id

    different = {
        one(),
        one(name="b.jpg"),
        one(name="\udcff.jpg"),
        one(run="other"),
        one(options=("strict",)),
        one(content_ref="x"),
        one(uploader_ref="x"),
        one(surface="x"),
        one(labels={"x": "x"}),
    }
    assert len(different) == 9
    assert one() == one()


def test_the_line_to_go_on_with() -> None:
    words = ["moderate", "my pictures", "--output", "a b.jsonl", "--bulk"]
    assert resuming(words, "a b.jsonl") == (
        "imagesieve moderate 'my pictures' --bulk --resume 'a b.jsonl'"
    )
    assert resuming(["moderate", "in", "--resume=x"], "x") == "imagesieve moderate in --resume x"
