"""What one training run is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imagesieve_server.offline.demo_model import emoji_art

STEPS = 3200
THREADS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One training run."""

    cache: Path  # where the npm packages lie or are fetched to
    out: Path
    artists: tuple[str, ...] = emoji_art.ARTISTS
    steps: int = STEPS
    batch: int = 256
    seed: int = 0
    rate: float = 5e-3  # peak learning rate
    weight_decay: float = 0.1
    warm_up: int = 100  # steps
    bare: float = 0.10  # share of backdrops with nothing on them
    threads: int = THREADS
    names_every: int = 10  # steps between two encodings of all names
    save_every: int = 200  # steps, a multiple of names_every
    stop_after: int | None = None  # steps; the schedule stays that of ``steps``
    resume: bool = False
