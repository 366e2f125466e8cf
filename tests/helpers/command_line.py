"""Runs the ``imagesieve`` command of this tree in a process of its own, in any folder."""

from __future__ import annotations

import os
import sys

COMMAND = [sys.executable, "-m", "imagesieve.command"]


def absolute_path() -> dict[str, str]:
    """The environment without settings of ours, its PYTHONPATH good in any folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("IMAGESIEVE_")}
    return kept | {"PYTHONPATH": os.pathsep.join(os.path.abspath(p) for p in sys.path if p)}
