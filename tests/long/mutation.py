"""Mutation testing of the core: which small changes to it does no test of tests/core notice?

    python tests/long/mutation.py [--modules scoring verdict …] [--stage FOLDER]

mutmut changes one thing at a time (an operator, a constant, an argument, a text) and runs the
tests that reach it, in one process. It knows a source folder named src only, so the tree is laid
out that way in a folder of its own, which --stage names and keeps. Every mutant that lives is
shown with its change, then a table for docs/reference/test-strength.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = Path("server/imagesieve_server/core")
COLUMNS = ("killed", "timed out", "survived", "no test reaches", "not judged")
OUTCOMES = {
    **dict.fromkeys((1, 3), "killed"),
    **dict.fromkeys((24, -24, 36, 152, 255), "timed out"),
    0: "survived",
    **dict.fromkeys((5, 33), "no test reaches"),
}
"""mutmut's exit codes; a test run that ended in any other way judged nothing."""


def stage(folder: Path) -> None:
    """Lay the tree out as mutmut wants it in a folder that is new or empty."""
    hidden = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "server", folder / "src", ignore=hidden, dirs_exist_ok=True)
    shutil.copytree(ROOT / "client", folder / "src", ignore=hidden, dirs_exist_ok=True)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=hidden)
    shutil.copy(ROOT / "pyproject.toml", folder)


def mutmut(folder: Path, *arguments: str) -> None:
    """Run mutmut in ``folder``. Raises CalledProcessError where it fails."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-m", "mutmut", *arguments]
    subprocess.run(command, cwd=folder, env=environment, check=True)


def outcomes(folder: Path, module: str) -> dict[str, str]:
    """What became of each mutant of a module."""
    kept = folder / "mutants/src/imagesieve_server/core" / f"{module}.py.meta"
    codes = json.loads(kept.read_text())["exit_code_by_key"]
    return {name: OUTCOMES.get(code, "not judged") for name, code in codes.items()}


def run(folder: Path, modules: list[str]) -> None:
    """Judge the modules and print what was found."""
    patterns = [f"imagesieve_server.core.{module}.*" for module in modules]
    mutmut(folder, "run", "--max-children", "1", *patterns)
    total: Counter[str] = Counter()
    table = [f"| module | mutants | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 2) + "|"]
    for module in modules:
        found = outcomes(folder, module)
        for name, outcome in found.items():
            if outcome in ("survived", "no test reaches"):
                mutmut(folder, "show", name)
        count = Counter(found.values())
        total += count
        table.append(_row(module, count))
    print("\n".join([*table, _row("all", total)]))


def _row(name: str, count: Counter[str]) -> str:
    figures = (count.total(), *(count[column] for column in COLUMNS))
    return f"| {name} | {' | '.join(map(str, figures))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modules", nargs="*", default=[])
    parser.add_argument("--stage", type=Path)
    options = parser.parse_args()
    modules = options.modules or sorted(p.stem for p in (ROOT / CORE).glob("[a-z]*.py"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.stage or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        stage(folder)
        run(folder, modules)


if __name__ == "__main__":
    main()
