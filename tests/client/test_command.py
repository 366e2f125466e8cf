"""The ``imagesieve`` command as a user runs it: its output, its exit codes, its help."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.command_line import absolute_path
from imagesieve import (
    Client,
    DecodeInfo,
    HealthStatus,
    ImageFormatUnsupported,
    Item,
    ItemState,
    ModerationResult,
    Outcome,
    Overloaded,
    Policy,
    Reason,
    Verdict,
    View,
    ViewKind,
)
from imagesieve.command import main
from imagesieve.command_moderate import exit_code, in_order
from imagesieve.command_output import plain, printable
from imagesieve.command_uploads import collect
from imagesieve.command_verdicts import name_view
from imagesieve.results import Moderated, Upload
from imagesieve.testing import FakeServer, ReceivedRequest, allow, flag

COMMANDS = [
    "",
    "moderate",
    "review",
    "review claim",
    "review decide",
    "review release",
    "review extend",
    "review list",
    "review stats",
    "review show",
    "review requeue",
    "review reopen",
    "review erase",
    "review watch",
    "review groups",
    "review group",
    "review close-group",
    "review undo-close",
    "review quality",
    "review goldens",
    "review mark-golden",
    "review unmark-golden",
    "policy",
    "policy list",
    "policy show",
    "policy reload",
    "health",
    "completion",
]

Run = Callable[..., subprocess.CompletedProcess[str]]


def judge(request: ReceivedRequest) -> ModerationResult:
    """Answers by what the bytes say."""
    said = request.image.decode()
    if said == "broken":
        raise ImageFormatUnsupported("not an image")
    if said == "busy":
        raise Overloaded("busy")
    if said == "undecodable":
        return ModerationResult(
            request_id="",
            verdict=Verdict.REVIEW,
            reasons=(Reason(code="UNDECODABLE", detail="TRUNCATED"),),
            decode_info=DecodeInfo(),
        )
    if said in ("review", "block"):
        return flag("weapons", verdict=Verdict[said.upper()], score=0.81)
    return allow()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(judge) as server:
        yield server


@pytest.fixture
def run(server: FakeServer, tmp_path: Path) -> Run:
    """Runs the command in a folder of its own, against the fake server."""

    def run(
        *words: str, stdin: str = "", target: str = server.target, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "imagesieve.command", *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=tmp_path,
            env={**absolute_path(), "IMAGESIEVE_SERVER": target, **environment},
        )

    return run


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.jpg").write_text(text)


def test_a_table_of_verdicts(run: Run, tmp_path: Path) -> None:
    write(tmp_path, a="fine", b="review", c="block", d="undecodable", e="broken")
    done = run("moderate", ".", "--concurrency", "2")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == (
        ["FILE", "VERDICT", "CATEGORY", "SCORE", "THRESHOLD", "MARGIN", "VIEW", "MS", "NOTE"]
    )
    assert [line[:2] for line in lines[1:]] == [
        ["./a.jpg", "ALLOW"],
        ["./b.jpg", "REVIEW"],
        ["./c.jpg", "BLOCK"],
        ["./d.jpg", "REVIEW"],
        ["./e.jpg", "ERROR"],
    ]
    assert lines[2][2:7] == ["weapons", "0.810", "0.600", "+1.50", "still"]
    assert lines[4][-1] == "UNDECODABLE(TRUNCATED)"
    assert lines[5][2:] == ["IMAGE_FORMAT_UNSUPPORTED:", "not", "an", "image"]
    assert done.returncode == 4


def test_lines_of_json(run: Run, tmp_path: Path) -> None:
    write(tmp_path, a="review", b="broken")
    done = run("moderate", "a.jpg", "b.jpg", "absent.jpg", "--format", "jsonl")
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert (first["file"], first["verdict"]) == ("a.jpg", "REVIEW")
    assert first["scores"][0]["category"] == "weapons"
    assert first["scores"][0]["review_threshold"] == {"value": 0.6, "scale": "SCORE"}
    assert second == {
        "file": "b.jpg",
        "error": {"reason": "IMAGE_FORMAT_UNSUPPORTED", "message": "not an image"},
    }
    assert third["error"]["reason"] == "FILE_UNREADABLE"
    assert done.returncode == 4


@pytest.mark.parametrize(
    ("files", "options", "code"),
    [
        (["fine"], [], 0),
        (["fine", "review", "block"], [], 0),
        (["fine"], ["--fail-on", "review"], 0),
        (["review"], ["--fail-on", "review"], 3),
        (["block"], ["--fail-on", "review"], 3),
        (["review"], ["--fail-on", "block"], 0),
        (["block"], ["--fail-on", "block"], 3),
        (["broken"], [], 4),
        (["block", "broken"], ["--fail-on", "block"], 4),
    ],
)
def test_exit_codes(
    run: Run, tmp_path: Path, files: list[str], options: list[str], code: int
) -> None:
    write(tmp_path, **{f"n{number}": said for number, said in enumerate(files)})
    assert run("moderate", ".", *options).returncode == code


def test_an_unreachable_server_leaves_images_undecided(
    run: Run, tmp_path: Path, dead_target: str
) -> None:
    write(tmp_path, a="fine")
    done = run("moderate", "a.jpg", target=dead_target)
    cells = done.stdout.splitlines()[1].split()
    assert (cells[1], cells[3]) == ("UNDECIDED", "UNREACHABLE:")
    assert "refused" in done.stdout
    assert done.returncode == 4


def test_one_image_on_standard_input(run: Run, server: FakeServer) -> None:
    done = run("moderate", "-", "--policy", "strict", "--dry-run", stdin="block")
    assert done.stdout.splitlines()[1].split()[:3] == ["-", "BLOCK", "weapons"]
    (request,) = server.requests
    assert (request.image, request.policy, request.dry_run) == (b"block", "strict", True)
    assert server.queue.items == ()


def test_categories_are_sent(run: Run, server: FakeServer) -> None:
    run("moderate", "-", "--category", "weapons", "--category", "drugs", stdin="fine")
    assert server.requests[0].categories == ("weapons", "drugs")


def test_folders_are_searched_by_name_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.jpg", "sub/c.webp", ".git/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = collect(
        [str(tmp_path), str(tmp_path / "notes.txt"), "-"], paths_from=None, stdin=io.BytesIO()
    )
    inside = [os.path.join(tmp_path, name) for name in ("a.jpg", "b.PNG", "sub/c.webp")]
    assert [e.name for e in found.entries] == [*inside, str(tmp_path / "notes.txt"), "-"]
    assert found.skipped == 1


def test_an_empty_folder_is_wrong_usage(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    done = run("moderate", ".")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "1 files in folders" in done.stderr
    assert "no images found" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["moderate"],
        ["moderate", "a.jpg", "--output", "x", "--resume", "x"],
        ["review"],
        ["unknown"],
        ["moderate", "a.jpg", "--concurrency", "0"],
        ["moderate", "a.jpg", "--timeout", "-1"],
        ["moderate", "a.jpg", "--timeout", "inf"],
        ["moderate", "a.jpg", "--format", "xml"],
        ["review", "decide", "item-1", "token-1", "perhaps"],
        ["review", "list", "--state", "unknown"],
        ["review", "list", "--older-than", "8"],
        ["review", "list", "--newer-than", "-8h"],
    ],
)
def test_wrong_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage: imagesieve")


def test_a_token_from_the_environment_is_sent_and_never_in_the_clear(
    run: Run, server: FakeServer, tmp_path: Path
) -> None:
    assert run("moderate", "-", stdin="fine", IMAGESIEVE_TOKEN="s3cret").returncode == 0
    (tmp_path / "token").write_text("from-file\n")
    done = run("moderate", "-", "--token-file", "token", stdin="fine", IMAGESIEVE_TOKEN="s3cret")
    assert done.returncode == 0
    tokens = [request.metadata["authorization"] for request in server.requests]
    assert tokens == ["Bearer s3cret", "Bearer from-file"]
    done = run("health", target="sieve.example.com:1", IMAGESIEVE_TOKEN="s3cret")
    assert done.returncode == 2
    assert "unencrypted" in done.stderr
    assert "s3cret" not in done.stderr


def test_a_claim_names_its_item_or_what_has_no_category(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    def claim(*words: str) -> tuple[int, str, str]:
        code = main(["review", "claim", "--format", "jsonl", "--server", server.target, *words])
        out, err = capsys.readouterr()
        return code, json.loads(out)["item"]["item_id"] if out else "", err

    for name, category in (("i1", "weapons"), ("i2", "gore"), ("i3", "")):
        server.queue.add(
            Item(
                item_id=name,
                sha256="a" * 64,
                state=ItemState.READY,
                verdict=Verdict.REVIEW,
                category=category,
            )
        )
    assert claim("--item", "i2") == (0, "i2", "")
    code, _, err = claim("--item", "i2")
    assert (code, err) == (5, "imagesieve: that item is not ready in this tier\n")
    assert claim("--uncategorized") == (0, "i3", "")
    assert claim("--uncategorized")[0] == 5
    assert claim("--uncategorized", "--category", "weapons") == (0, "i1", "")


def test_a_flagged_image_goes_through_the_queue(
    run: Run, server: FakeServer, tmp_path: Path
) -> None:
    assert run("review", "claim").returncode == 5
    write(tmp_path, a="review")
    run("moderate", "a.jpg")

    listed = run("review", "list").stdout.splitlines()
    assert listed[0].split()[:4] == ["ITEM", "STATE", "VERDICT", "CATEGORY"]
    item_id = listed[1].split()[0]
    assert listed[1].split()[1:5] == ["READY", "REVIEW", "weapons", "0.810"]

    claimed = run("review", "claim", "--reviewer", "ana", "--image-to", "seen.jpg")
    fields = dict(line.split(maxsplit=1) for line in claimed.stdout.splitlines())
    assert fields["item_id"] == item_id
    assert (tmp_path / "seen.jpg").read_text() == "review"

    extended = run("review", "extend", item_id, fields["token"], "--lease", "900")
    assert extended.stdout.startswith("lease_until")

    decided = run(
        *("review", "decide", item_id, fields["token"], "reject"),
        *("--label", "gun", "--note", "a rifle", "--reviewer", "ana", "--format", "jsonl"),
    )
    decision = json.loads(decided.stdout)
    assert (decision["outcome"], decision["labels"]) == ("REJECT", ["gun"])
    assert (decision["note"], decision["reviewer"]) == ("a rifle", "ana")

    shown = json.loads(run("review", "show", item_id, "--format", "jsonl").stdout)
    assert shown["state"] == "DECIDED"
    assert shown["answer"]["verdict"] == "REVIEW"
    assert "image" not in shown
    assert json.loads(run("review", "stats", "--format", "jsonl").stdout)["leased"] == 0
    assert run("review", "list", "--newer-than", "8h").stdout.splitlines()[1:] == []
    assert run("review", "list").stdout.splitlines()[1:] == []
    assert len(run("review", "list", "--state", "decided").stdout.splitlines()) == 2


def test_the_reviewer_is_who_sits_at_the_keyboard(run: Run, server: FakeServer) -> None:
    with Client(server.target) as client:
        client.moderate(b"review")
    claimed = json.loads(run("review", "claim", "--format", "jsonl", LOGNAME="eve").stdout)
    item_id = claimed["item"]["item_id"]
    assert server.queue.get(item_id).claimed_by == "eve"
    run("review", "decide", item_id, claimed["token"], "approve", LOGNAME="eve")
    assert server.queue.get(item_id).decisions[0].reviewer == "eve"


def test_release_and_requeue(run: Run, server: FakeServer) -> None:
    with Client(server.target) as client:
        item_id = client.moderate(b"review").item_id
        lease = client.review.claim()
    assert lease is not None
    released = run("review", "release", item_id, lease.token, "--format", "jsonl")
    assert json.loads(released.stdout)["state"] == "READY"
    server.queue.park(item_id)
    assert "READY" in run("review", "requeue", item_id).stdout
    again = run("review", "release", item_id, lease.token)
    assert again.returncode == 4
    assert again.stderr.startswith("imagesieve: LEASE_LOST: ")


def test_a_listing_stops_at_its_limit(run: Run, server: FakeServer) -> None:
    for number in range(5):
        item = Item(item_id=f"n-{number}", sha256="", state=ItemState.READY, verdict=Verdict.REVIEW)
        server.queue.add(item)
    assert len(run("review", "list", "--limit", "3").stdout.splitlines()) == 4
    assert len(run("review", "list").stdout.splitlines()) == 6


def test_policies(run: Run, server: FakeServer) -> None:
    demo = Policy(name="demo", version="abc", is_default=True, source="name: demo\n")
    server.set_policies(demo, Policy(name="strict"), problems=["other: made for another model"])
    assert [line.split()[0] for line in run("policy", "list").stdout.splitlines()] == [
        "NAME",
        "demo",
        "strict",
    ]
    assert run("policy", "show").stdout == "name: demo\n"
    assert json.loads(run("policy", "show", "strict", "--format", "jsonl").stdout)["name"] == (
        "strict"
    )
    done = run("policy", "reload")
    assert done.returncode == 4
    assert "imagesieve: other: made for another model" in done.stderr
    assert run("policy", "show", "nope").returncode == 4


def test_health(run: Run, server: FakeServer, dead_target: str) -> None:
    done = run("health")
    assert (done.stdout, done.returncode) == ("status  SERVING\n", 0)
    server.set_health(HealthStatus.NOT_SERVING)
    assert run("health").returncode == 4
    done = run("health", target=dead_target)
    assert done.returncode == 4
    assert done.stderr.startswith("imagesieve: UNREACHABLE: ")
    assert dead_target in done.stderr


def test_a_reader_that_has_gone_is_no_crash(server: FakeServer) -> None:
    for number in range(200):
        server.queue.add(
            Item(
                item_id=f"n-{number}" * 100,
                sha256="",
                state=ItemState.READY,
                verdict=Verdict.REVIEW,
            )
        )
    words = [sys.executable, "-m", "imagesieve.command", "review", "list", "--limit", "200"]
    process = subprocess.Popen(
        [*words, "--server", server.target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=absolute_path(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=30) == 4
    assert said == b""


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words or "imagesieve")
def test_help(
    words: str,
    golden: Callable[[str, str], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same on every Python, in colourful terminals, and whatever the environment says."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("IMAGESIEVE_SERVER", "elsewhere:1")
    with pytest.raises(SystemExit) as left:
        main([*words.split(), "--help"])
    assert left.value.code == 0
    golden(f"help/{'-'.join(['imagesieve', *words.split()])}.txt", capsys.readouterr().out)


# --- the parts, without a process --------------------------------------------------------


def moderated(index: int) -> Moderated:
    return Moderated(index=index, upload=Upload(image=b""), error=OSError())


def test_outcomes_are_put_in_order() -> None:
    assert [o.index for o in in_order(map(moderated, [2, 0, 1, 4, 3]))] == [0, 1, 2, 3, 4]


def test_undecided_outweighs_flagged() -> None:
    assert exit_code([Verdict.BLOCK, Verdict.UNDECIDED], fail_on="block") == 4


def test_terminal_controls_are_not_passed_on() -> None:
    assert printable("a\x1b[31mb\n\u202ec\udcff") == "a?[31mb??c?"


def test_json_has_no_infinities_and_no_bytes() -> None:
    item = Item(
        item_id="i",
        sha256="",
        state=ItemState.READY,
        verdict=Verdict.REVIEW,
        score=float("nan"),
        image=b"x",
    )
    shown = plain(item)
    assert shown["score"] is None
    assert "image" not in shown


def test_views_are_named_so_that_a_person_finds_them() -> None:
    assert name_view(0, View()) == "still"
    assert name_view(2, View(kind=ViewKind.TILE)) == "tile 2"
    assert name_view(3, View(kind=ViewKind.FRAME, frame=17)) == "frame 17"


def test_decisions_are_watched_from_where_the_cursor_file_stands(
    run: Run, server: FakeServer, tmp_path: Path
) -> None:
    with Client(server.target) as client:
        for name in ("r-1", "r-2", "r-3"):
            client.moderate(b"review", request_id=name, content_ref=f"post/{name}")
            lease = client.review.claim(reviewer="ana")
            assert lease is not None
            client.review.decide(lease.item.item_id, lease.token, Outcome.REJECT)
    words = ("review", "watch", "--cursor-file", "cursor", "--from-oldest", "--format", "jsonl")
    first = run(*words, "--limit", "2")
    assert [json.loads(line)["request_id"] for line in first.stdout.splitlines()] == ["r-1", "r-2"]
    assert (tmp_path / "cursor").read_text() == "2\n"
    rest = run("review", "watch", "--cursor-file", "cursor", "--limit", "1")
    heading, line = rest.stdout.splitlines()
    assert heading.split() == ["DECIDED", "ITEM", "OUTCOME", "CAUSE", "REVIEWER", "CONTENT"]
    assert line.split()[-4:] == ["REJECT", "DECIDE", "ana", "post/r-3"]
    assert [path.name for path in tmp_path.iterdir()] == ["cursor"]
    assert (first.returncode, rest.returncode) == (0, 0)


def test_a_decision_is_contested_and_a_picture_erased(run: Run, server: FakeServer) -> None:
    with Client(server.target) as client:
        answer = client.moderate(b"review", request_id="r-1", uploader_ref="u/1")
        lease = client.review.claim(reviewer="ana")
        assert lease is not None
        client.review.decide(lease.item.item_id, lease.token, Outcome.REJECT)
    words = ("review", "reopen", answer.item_id, "--cause", "appeal", "--note", "a toy")
    reopened = run(*words, "--format", "jsonl")
    assert json.loads(reopened.stdout)["opening_note"] == "a toy"
    assert json.loads(reopened.stdout)["state"] == "READY"
    by_hash = run("review", "erase", answer.sha256, "--reason", "order 7", "--by", "law")
    heading, line = by_hash.stdout.splitlines()
    assert heading.split() == ["DECISION", "ITEM", "OUTCOME", "CAUSE", "DECIDED"]
    assert line.split()[1:4] == [answer.item_id, "REJECT", "LEGAL_DELETE"]
    by_item = run("review", "erase", answer.item_id, "--reason", "again")
    assert by_item.stdout == by_hash.stdout
    assert server.queue.get(answer.item_id).uploader_ref == ""
    assert run("review", "erase", "f" * 64, "--reason", "x").returncode == 4
    assert run("review", "reopen", answer.item_id, "--cause", "appeal").returncode == 4
