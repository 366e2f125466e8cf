"""What keeps the code readable and the client light, checked on the source and in processes."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "client" / "imagesieve"
SERVER = ROOT / "server" / "imagesieve_server"
MODULES = [
    path
    for folder in (CLIENT, SERVER)
    for path in sorted(folder.rglob("*.py"))
    if CLIENT / "v1" not in path.parents
]
MAX_FUNCTION_LINES = 50
MAX_MODULE_LINES = 350
LONG_TABLES = {"v0001_initial.py": "a schema is one table after the other"}
"""Modules whose functions may be longer, each with its reason."""
LONG_LISTS = {"server/imagesieve_server/core/errors.py"}
"""Modules that may be longer: one entry after the other, which belong in one place."""

SERVING = (
    "assembly", "grpc_api.server", "pipeline", "images.decoder_pool", "encoders.onnx",
    "encoders.text", "policy_files.reload", "review_queue.writer", "review_queue.sqlite",
    "review_queue.postgres", "evidence_place",
    "metrics.recorder", "commands.serve", "commands.policy", "commands.queue", "commands.doctor",
    "commands.caller",
)  # fmt: skip


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _loaded_after(imports: str) -> set[str]:
    """Top-level packages that a fresh process has loaded after these imports."""
    code = f"{imports}\nimport sys\nprint(*sorted({{n.partition('.')[0] for n in sys.modules}}))"
    paths = os.pathsep.join((str(CLIENT.parent), str(SERVER.parent)))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.beside_extras
def test_the_client_loads_nothing_of_the_server() -> None:
    loaded = _loaded_after("import imagesieve, imagesieve.testing, imagesieve.command")
    heavy = {"imagesieve_server", "numpy", "PIL", "onnxruntime", "sqlalchemy", "torch"}
    assert loaded & heavy == set()


@pytest.mark.beside_extras
def test_serving_loads_no_model_making_library() -> None:
    imports = "\n".join(f"import imagesieve_server.{name}" for name in SERVING)
    assert _loaded_after(imports) & {"torch", "torchvision", "open_clip", "onnx"} == set()


def test_importing_the_server_does_not_set_up_logging_or_metrics() -> None:
    imports = "\n".join(f"import imagesieve_server.{name}" for name in SERVING)
    check = (
        "import logging, prometheus_client\n"
        "assert logging.getLogger().handlers == [], 'logging was set up'\n"
        "names = prometheus_client.REGISTRY._names_to_collectors\n"
        "assert not [n for n in names if n.startswith(('imagesieve', 'grpc'))], 'global metrics'"
    )
    _loaded_after(f"{imports}\n{check}")


def test_every_module_says_what_it_is_and_stays_short() -> None:
    assert [_name(path) for path in MODULES if not ast.get_docstring(_tree(path))] == []
    lengths = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    long = {name: n for name, n in lengths.items() if n > MAX_MODULE_LINES}
    assert set(long) <= LONG_LISTS, long


def test_contributing_says_where_each_part_of_the_server_is() -> None:
    said = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    places = {
        path.name if path.is_file() else f"{path.name}/"
        for path in SERVER.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__.py", "__main__.py"}
    assert sorted(place for place in places if f"`{place}`" not in said) == []


def test_functions_stay_short() -> None:
    long = {
        f"{_name(path)}:{function.name}": length
        for path in MODULES
        for function in _functions(_tree(path))
        if (length := (function.end_lineno or 0) - function.lineno + 1) > MAX_FUNCTION_LINES
    }
    excused = {name for name in long if Path(name.partition(":")[0]).name in LONG_TABLES}
    assert set(long) - excused == set(), long
    assert {Path(name.partition(":")[0]).name for name in excused} == set(LONG_TABLES)


def test_only_commands_print() -> None:
    printing = [
        f"{_name(path)}:{node.lineno}"
        for path in MODULES
        if not {"commands", "offline"} & set(path.relative_to(ROOT).parts)
        and path != CLIENT / "command.py"
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert printing == []


def test_torch_is_imported_under_offline_only() -> None:
    wrong = [
        f"{_name(path)}: {name}"
        for path in MODULES
        if "offline" not in path.relative_to(ROOT).parts
        for name in _imported(_tree(path))
        if name.partition(".")[0] in ("torch", "torchvision", "open_clip", "onnx")
    ]
    assert wrong == []


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
