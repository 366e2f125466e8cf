"""Bundles of a model with seeded random weights, exported once and kept: they cost what trained
weights cost, and need no download."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path("imagesieve-data/bench")
ARCH = "ViT-B-32"


def exported(precision: str, *, arch: str = ARCH, folder: Path = FOLDER) -> Path:
    """The bundle's folder. The export needs the extra ``export`` and about two minutes."""
    bundle = folder / f"{arch}-{precision}"
    if not bundle.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable, "-m", "imagesieve_server", "model", "export", "--arch", arch,
            "--pretrained", "none", "--precision", precision, "--out", str(bundle),
        ]  # fmt: skip
        subprocess.run(command, check=True)
    return bundle
