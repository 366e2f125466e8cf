"""``imagesieve review`` on groups of look-alikes, against the fake server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from imagesieve import Client, ItemState, Verdict
from imagesieve.command import main
from imagesieve.review_results import Item
from imagesieve.testing import FakeServer

Run = Callable[..., tuple[int, str, str]]  # exit code, standard output and error


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as made:
        for number in range(3):
            made._state.queue.add(
                Item(
                    item_id=f"i{number}",
                    sha256="a" * 64,
                    state=ItemState.READY,
                    verdict=Verdict.REVIEW,
                    group_id="g",
                    category="weapons",
                )
            )
        yield made


@pytest.fixture
def run(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(["review", *words, "--server", server.target])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def states(server: FakeServer) -> set[str]:
    with Client(server.target) as client:
        return {str(client.review.get(f"i{number}").state) for number in range(3)}


def shown(run: Run) -> tuple[str, ...]:
    """The words that close the group as it is now."""
    _, out, _ = run("group", "g", "--format", "jsonl")
    group = json.loads(out)
    return ("--snapshot", group["snapshot"], "--count", str(group["closable"]))


def test_a_group_is_looked_at_closed_and_taken_back(run: Run, server: FakeServer) -> None:
    _, out, _ = run("groups")
    heading, line = out.splitlines()
    assert heading.split()[:3] == ["GROUP", "READY", "LEASED"]
    assert line.split()[:2] == ["g", "3"]
    _, out, _ = run("group", "g", "--members", "--limit", "2")
    assert [line.split()[0] for line in out.splitlines()] == ["ITEM", "i0", "i1"]

    _, out, _ = run("group", "g")
    assert "closable" in out
    assert "CLOSE" not in out
    words = ("close-group", "g", "reject", *shown(run), "--label", "weapons", "--by", "lea")
    _, out, _ = run(*words, "--format", "jsonl")
    close = json.loads(out)
    assert (close["closed"], close["outcome"], close["closed_by"]) == (3, "REJECT", "lea")
    assert close["labels"] == ["weapons"]
    assert states(server) == {"DECIDED"}

    _, out, _ = run("group", "g")
    assert out.splitlines()[-1].split()[:3] == [close["close_id"], "REJECT", "CLOSED"]
    _, out, _ = run("undo-close", close["close_id"], "--note", "a toy", "--format", "jsonl")
    assert json.loads(out)["reopened"] == 3
    assert states(server) == {"READY"}


def test_a_group_that_is_not_as_it_was_shown_is_left_alone(run: Run, server: FakeServer) -> None:
    words = ("close-group", "g", "approve", *shown(run), "--by", "lea")
    _, out, _ = run(*words, "--format", "jsonl")
    run("undo-close", json.loads(out)["close_id"])
    code, _, err = run(*words)
    assert code == 4
    assert "GROUP_CHANGED" in err
    assert states(server) == {"READY"}


@pytest.mark.parametrize(
    "words",
    [
        ("close-group", "g", "reject"),
        ("close-group", "g", "reject", "--snapshot", "x"),
        ("close-group", "g", "escalate", "--snapshot", "x", "--count", "3"),
    ],
)
def test_what_was_shown_must_be_named(run: Run, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as left:
        run(*words)
    assert left.value.code == 2
