"""Which GPUs this machine shows, and by which driver: what NVIDIA's kernel module says of them.

Knows the files below /proc; needs no library, and so also tells where none loads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc/driver/nvidia")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """What the driver shows."""

    models: tuple[str, ...]  # one entry a GPU, such as "NVIDIA H200"
    driver: str  # its version, such as "580.65.06"

    def __str__(self) -> str:
        return f"{', '.join(self.models) or 'none'}, driver {self.driver}"


def find_gpus(proc: Path = PROC) -> Gpus | None:
    """None where no driver of NVIDIA's is loaded."""
    try:
        version = (proc / "version").read_text(encoding="utf-8")
    except OSError:
        return None
    numbers = [word for word in version.split() if word[0].isdigit() and "." in word]
    models = tuple(_model(path) for path in sorted((proc / "gpus").glob("*/information")))
    return Gpus(models=models, driver=numbers[0] if numbers else "unknown")


def _model(path: Path) -> str:
    try:
        information = path.read_text(encoding="utf-8")
    except OSError:  # a container may hide some of the files that it lists
        return "unknown"
    lines = (line.partition(":") for line in information.splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == "Model"), "unknown")
