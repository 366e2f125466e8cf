"""``imagesieve-server policy starters``: policies to begin with on a pretrained model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from imagesieve_server.core.errors import ConfigError
from imagesieve_server.core.policy import Method
from imagesieve_server.offline.compile_policy import read_source
from imagesieve_server.policy_files.source import PolicySource
from imagesieve_server.starter_policies import STARTERS

_MODELS = {Method.CONTRAST: "CLIP (softmax)", Method.SIGMOID: "SigLIP (sigmoid)"}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "starters",
        help="list the starter policies, or write them to a folder",
        description="Policies to copy and edit on a pretrained model. They are uncalibrated, "
        "observe only and never block. Without --write nothing is written.",
    )
    parser.add_argument(
        "--write",
        type=Path,
        metavar="DIR",
        help="write the files there; an existing file is left alone and is an error",
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if args.write is not None:
        _write(args.write)
        return 0
    for path in STARTERS:
        source = read_source(path)
        print(f"{path.stem}: for {_model_of(source)}")
        print(f"  {source.description}")
        for category in source.categories:
            print(
                f"  {category.id:<13} severity {category.severity}, {category.mode.value}, "
                f"{len(category.prompts)} prompts, {len(category.counter_prompts)} counter-prompts"
            )
    print("write them to a folder with --write DIR, then edit and compile them for your model")
    return 0


def _model_of(source: PolicySource) -> str:
    return " and ".join(sorted({_MODELS[category.method] for category in source.categories}))


def _write(folder: Path) -> None:
    """Write every starter, or none where one is there already. Raises ConfigError."""
    targets = [(path, folder / path.name) for path in STARTERS]
    for _, target in targets:
        if target.exists():
            raise ConfigError(f"{target}: is there already; nothing was written")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, target in targets:
            with target.open("x", encoding="utf-8") as file:
                file.write(path.read_text(encoding="utf-8"))
            print(f"{target}: uncalibrated, in mode observe: edit, compile, measure, then enforce")
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: {error.strerror}") from None
