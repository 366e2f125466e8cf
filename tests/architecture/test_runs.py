"""Which tests each kind of run takes, and in which order: tests/conftest.py over made-up tests."""

from __future__ import annotations

import dataclasses
import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

CONFTEST = runpy.run_path(str(Path(__file__).parents[1] / "conftest.py"))
SELECT = CONFTEST["pytest_collection_modifyitems"]
FINISH = CONFTEST["pytest_sessionfinish"]


@dataclasses.dataclass(frozen=True)
class Made:
    """As much of a collected test as is looked at."""

    path: Path
    marks: tuple[pytest.Mark, ...]

    def iter_markers(self, name: str | None = None) -> Iterator[pytest.Mark]:
        return (mark for mark in self.marks if name in (None, mark.name))


def made(file: str, *names: str, timeout: float = 0.0) -> Made:
    marks = [getattr(pytest.mark, name).mark for name in names]
    marks += [pytest.mark.timeout(timeout).mark] if timeout else []
    return Made(path=Path(file), marks=tuple(marks))


LIGHT = [made("few"), made("slow", timeout=600), *[made("many") for _ in range(3)]]
BOTH = [made("shape", "beside_extras")]
HEAVY = [made("few", "torch"), made("slowest", "postgres", "s3", timeout=900)]


def taken(*options: str, parallel: bool = False) -> list[Made]:
    told: list[Made] = []
    config: Any = SimpleNamespace(
        getoption=options.__contains__,
        stash={},
        hook=SimpleNamespace(pytest_deselected=lambda items: told.extend(items)),
    )
    if parallel:
        config.workerinput = {}
    tests = LIGHT + BOTH + HEAVY
    SELECT(config, tests)
    assert len(tests) + len(told) == len(LIGHT + BOTH + HEAVY), "what is left out is told"
    return tests


def test_two_runs_of_ci_take_everything_and_twice_only_what_extras_may_change() -> None:
    assert taken() == LIGHT + BOTH
    assert taken("--heavy") == BOTH + HEAVY
    assert taken("--all") == LIGHT + BOTH + HEAVY


@pytest.mark.parametrize(
    ("option", "fails"), [("", False), ("--no-skips", True), ("--heavy", True), ("--all", True)]
)
def test_a_test_that_skips_itself_fails_either_run_of_ci(option: str, fails: bool) -> None:
    """Else a light one that skips where extras are missing would run nowhere."""
    reporter = SimpleNamespace(stats={"skipped": ["one"]}, write_line=print)
    config = SimpleNamespace(
        getoption=(option,).__contains__,
        stash={},
        pluginmanager=SimpleNamespace(get_plugin=lambda name: reporter),
    )
    session = SimpleNamespace(config=config, exitstatus=0)
    FINISH(session, 0)
    assert bool(session.exitstatus) is fails


def test_a_parallel_run_starts_long_files_first_and_keeps_each_together() -> None:
    files = [found.path.name for found in taken("--all", parallel=True)]
    assert files == ["slowest", "slow", "many", "many", "many", "few", "few", "shape"]
