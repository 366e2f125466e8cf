"""What one fine-tuning is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imagesieve_server.core.errors import ConfigError
from imagesieve_server.offline.export.load import ModelSource

ENOUGH_PAIRS = 50_000
"""Below, a warning: a model then tends to lose more of what it knew than it gains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One fine-tuning. Raises ConfigError for values that cannot be meant."""

    source: ModelSource
    pairs: Path  # file of pictures and captions
    images: Path  # folder of the pictures
    out: Path  # the checkpoint folder; must not exist
    keep: Path | None = None  # pairs of what the model should not forget; measured, never trained
    keep_images: Path | None = None  # default: images
    tokenizer: Path | None = None  # folder with tokenizer files, where not with the model
    image_only: bool = False  # leave the text projection as it is
    epochs: int = 20
    batch: int = 1024  # pairs
    rate: float = 3e-4  # peak learning rate
    held_out: float = 0.1  # share of the pictures
    mix: float = 0.5  # of the new weights in what is written
    seed: int = 0
    threads: int = 0  # 0: every core
    resume: bool = False

    def __post_init__(self) -> None:
        for name, sound, rule in (
            ("--epochs", self.epochs >= 1, "at least 1"),
            ("--batch", self.batch >= 2, "at least 2: a pair is told from the others"),
            ("--rate", 0.0 < self.rate <= 1.0, "above 0 and at most 1"),
            ("--held-out", 0.0 < self.held_out <= 0.5, "above 0 and at most 0.5"),
            ("--mix", 0.0 <= self.mix <= 1.0, "between 0 (the old weights) and 1 (the new ones)"),
            ("--threads", self.threads >= 0, "0 (every core) or more"),
        ):
            if not sound:
                raise ConfigError(f"{name} must be {rule}")
        if self.out.exists():
            raise ConfigError(f"--out: {self.out} exists already; checkpoints are never changed")

    @property
    def work(self) -> Path:
        """Where features and the state lie until the checkpoint is written, and after."""
        return self.out.with_name(f"{self.out.name}.work")
