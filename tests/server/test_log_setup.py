"""What a line of the log tells, in both styles."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from imagesieve_server import log_setup


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, alembic = logging.getLogger(), logging.getLogger("alembic")
    before = root.handlers[:], root.level, alembic.level
    yield
    root.handlers[:], root.level, alembic.level = before


def told(style: str, *, process: str = "") -> str:
    """The log of one failure with its facts and what was raised."""
    stream = io.StringIO()
    log_setup.set_up(level="info", style=style, stream=stream, process=process)
    facts = {"problem": "no space left", "rows": 3, "content": b"\xff\xd8", "long": "x" * 5000}
    try:
        raise OSError("the disk")
    except OSError:
        logging.getLogger("a.part").error("evidence of %d", 7, exc_info=True, extra=facts)
    logging.getLogger("a.part").debug("not asked for")
    return stream.getvalue()


def test_a_line_of_json_carries_the_facts() -> None:
    (line,) = told("json").splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"]) == (
        "error",
        "a.part",
        "evidence of 7",
    )
    assert (entry["problem"], entry["rows"], entry["content"]) == ("no space left", 3, "<2 bytes>")
    assert len(entry["long"]) == 2000
    assert "OSError: the disk" in entry["exception"]


def test_a_line_of_text_carries_them_too() -> None:
    """Where the reason is among them, a line without them says only that something failed."""
    line, *below = told("text").splitlines()
    assert line.startswith("ERROR a.part: evidence of 7 problem='no space left' rows=3")
    assert "content='<2 bytes>'" in line
    assert len(line) < 2200
    assert below[-1] == "OSError: the disk"


@pytest.mark.parametrize("style", ["json", "text"])
def test_one_of_several_processes_is_named(style: str) -> None:
    assert "front-2" in told(style, process="front-2")
    assert "part" in told(style, process="front-2")
