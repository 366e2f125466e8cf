"""The ``imagesieve-server`` command: one module per group of subcommands.

This module imports nothing heavy, so that without extras it can still say what to install.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from imagesieve_server.core.errors import ImagesieveError

_MODULES = (
    "serve", "demo", "model", "policy", "evaluate", "calibrate", "queue", "caller",
    "console", "doctor", "bench",
)  # fmt: skip

_NEEDED = ("numpy", "PIL", "onnxruntime", "sqlalchemy", "prometheus_client", "ruamel.yaml")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand. Returns 0 on success, 1 on a named failure, 2 for wrong usage."""
    missing = [name for name in _NEEDED if not _installed(name)]
    if missing:
        print(
            f"imagesieve-server needs {', '.join(missing)}; install the server with one of\n"
            "  pip install 'imagesieve[cpu]'\n"
            "  pip install 'imagesieve[gpu]'   (NVIDIA, CUDA 13)",
            file=sys.stderr,
        )
        return 1
    try:
        args = build_parser().parse_args(argv)
        return int(args.run(args))
    except ImagesieveError as error:
        print(f"imagesieve-server: {error.for_operators}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; each module adds its own subcommands."""
    parser = argparse.ArgumentParser(
        prog="imagesieve-server",
        description="First-pass filter for image moderation: the server and its tools.",
    )
    parser.add_argument(
        "--version", action="version", version=f"imagesieve-server {metadata.version('imagesieve')}"
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in _MODULES:
        importlib.import_module(f"imagesieve_server.commands.{name}").add_parser(subparsers)
    return parser


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
