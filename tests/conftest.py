"""What every test may use: golden files, and markers that need something named."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from helpers.object_store import ObjectStore
    from helpers.postgres import PostgresServer

GOLDEN = Path(__file__).parent / "golden"
# How long an example takes says what else the machine does.
settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")

_DROPPED: pytest.StashKey[dict[str, int]] = pytest.StashKey()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What ``-n auto`` means: tests wait more than they compute."""
    return (os.cpu_count() or 1) + 1


def pytest_configure(config: pytest.Config) -> None:
    """A shell's background job ignores Ctrl-C, and so would every process that a test starts."""
    if config.getoption("--gpu") and not _has_gpu():
        raise pytest.UsageError("no GPU here, so `make test-gpu` has nothing to prove")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    add = parser.addoption
    add("--update-golden", action="store_true", help="rewrite tests/golden from what was produced")
    add("--all", action="store_true", help="also the heavy tests; any skip is a failure")
    add("--heavy", action="store_true", help="of --all, what a run without it did not prove")
    add("--no-skips", action="store_true", help="any skip is a failure, as with --all and --heavy")
    add("--gpu", action="store_true", help="only the tests marked gpu; fails without a GPU")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden(name, text)`` asserts that tests/golden/<name> holds exactly this text."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no golden file {name}; run pytest --update-golden"
        assert text == path.read_text(encoding="utf-8")

    return check


@pytest.fixture
def own_log() -> Iterator[None]:
    """For a server in this process: what it does to the root logger is undone."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real database server. Tests that use it carry the marker postgres."""
    from helpers.postgres import PostgresServer

    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """A real object store with S3's API. Tests that use it carry the marker s3."""
    from helpers.object_store import ObjectStore

    store = ObjectStore()
    yield store
    store.close()


@pytest.fixture(scope="session")
def hostile_folder() -> Path:
    """The folder of hostile files. Tests that use it carry the marker of the same name."""
    return Path(os.environ["IMAGESIEVE_HOSTILE_IMAGES"])


_HEAVY = (
    "torch", "evaluate", "embeddings", "network", "promtool", "wheel", "compiler", "browser",
    "postgres", "s3", "openvino",
)  # fmt: skip


def _has_gpu() -> bool:
    return Path("/dev/nvidiactl").exists()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what this run cannot do, and say so; nothing is skipped silently."""
    everything, only_gpu = _takes_heavy(config), config.getoption("--gpu")
    dropped: dict[str, list[pytest.Item]] = {}
    kept = []
    for item in items:
        reason = _why_not(item, everything=everything, only_gpu=only_gpu)
        if not reason and config.getoption("--heavy") and not _adds(item):
            reason = "part of `make test`, which has passed"
        (dropped.setdefault(reason, []) if reason else kept).append(item)
    items[:] = _long_files_first(kept) if hasattr(config, "workerinput") else kept
    config.hook.pytest_deselected(items=[item for group in dropped.values() for item in group])
    config.stash[_DROPPED] = {reason: len(group) for reason, group in dropped.items()}


def _why_not(item: pytest.Item, *, everything: bool, only_gpu: bool) -> str:
    """Why this test is not part of this run, or "" where it is."""
    marks = {mark.name for mark in item.iter_markers()}
    if only_gpu:
        return "" if "gpu" in marks else "not marked gpu"
    if "gpu" in marks and not _has_gpu():
        return "gpu: there is none"
    if "hostile_folder" in marks and not os.environ.get("IMAGESIEVE_HOSTILE_IMAGES"):
        return "hostile_folder: IMAGESIEVE_HOSTILE_IMAGES is unset"
    if "zsh_and_fish" in marks and not all(map(shutil.which, ("zsh", "fish"))):
        return "zsh_and_fish: one of them is not installed"
    heavy = _heavy(item)
    return f"{min(heavy)}: part of `make test-all`" if heavy and not everything else ""


def _heavy(item: pytest.Item) -> set[str]:
    return {mark.name for mark in item.iter_markers()}.intersection(_HEAVY)


def _adds(item: pytest.Item) -> bool:
    """Whether it may say something where every extra is installed that it did not say elsewhere."""
    return bool(_heavy(item)) or any(item.iter_markers("beside_extras"))


def _takes_heavy(config: pytest.Config) -> bool:
    return bool(config.getoption("--all") or config.getoption("--heavy"))


def _long_files_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """For parallel runs, which take files in this order and should not end with a long one alone.

    A file is as long as the time-out of its slowest test says, then as its tests are many.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)

    def length(tests: list[pytest.Item]) -> tuple[float, int]:
        limits = [mark.args[0] for test in tests for mark in test.iter_markers("timeout")]
        return max(limits, default=0.0), len(tests)

    return [item for tests in sorted(files.values(), key=length, reverse=True) for item in tests]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Each process of a parallel run drops the same tests; the one that reports is told."""
    node.config.stash[_DROPPED] = getattr(node, "workeroutput", {}).get("dropped", {})


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for reason, count in sorted(config.stash.get(_DROPPED, {}).items()):
        terminalreporter.write_line(f"not run here: {count} tests ({reason})")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With the heavy tests, and where asked for, a skip is a failure: what cannot run is deselected
    by name above."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["dropped"] = session.config.stash.get(_DROPPED, {})
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    strict = _takes_heavy(session.config) or session.config.getoption("--no-skips")
    if strict and skipped and exitstatus == 0:
        reporter.write_line(f"{len(skipped)} tests were skipped; here that is a failure")
        session.exitstatus = 1
