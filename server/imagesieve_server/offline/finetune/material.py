"""Pairs with their features: what is learned from and what is measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imagesieve_server.offline.export.load import LoadedModel
from imagesieve_server.offline.finetune.features import Compute, Features, computed_once
from imagesieve_server.offline.finetune.pairs import Pairs
from imagesieve_server.offline.finetune.towers import Towers

CLASS_TEMPLATE = "a photo of {}"

_REPORT_EVERY = 1024  # things


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Pairs, seen by a model as far as its last maps."""

    pairs: Pairs
    pictures: Features  # of the I pictures
    captions: Features  # of the C captions
    classes: Features | None  # of the classes in CLASS_TEMPLATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Gatherer:
    """Computes features that a run's folder does not hold yet."""

    loaded: LoadedModel
    towers: Towers
    folder: Path
    report: Callable[[str], None]

    def gather(self, name: str, pairs: Pairs) -> Material:
        """Features of all of ``pairs``. Raises LabelsError for an undecodable picture."""
        pictures, captions, towers = pairs.pictures, pairs.captions, self.towers
        classes = [CLASS_TEMPLATE.format(one) for one in pairs.classes]
        hashes = [picture.sha256 for picture in pictures]
        return Material(
            pairs=pairs,
            pictures=self._features(
                f"{name}-pictures", hashes, lambda a, b: towers.of_pictures(pictures[a:b])
            ),
            captions=self._features(
                f"{name}-captions", captions, lambda a, b: towers.of_texts(captions[a:b])
            ),
            classes=self._features(
                f"{name}-classes", classes, lambda a, b: towers.of_texts(classes[a:b])
            )
            if classes
            else None,
        )

    def _features(self, name: str, things: Sequence[str], compute: Compute) -> Features:
        def progress(done: int) -> None:
            if done == len(things) or done % _REPORT_EVERY == 0:
                self.report(f"{name}: {done} of {len(things)}")

        return computed_once(
            self.folder,
            name,
            key={"model": self._model(), "things": list(things)},
            count=len(things),
            compute=compute,
            progress=progress,
        )

    def _model(self) -> dict[str, Any]:
        """What features depend on beside the things themselves."""
        return {
            "architecture": self.loaded.config,
            "weights": asdict(self.loaded.pretrained),
            "preprocessing": asdict(self.loaded.preprocessing),
            "maps": [self.towers.image.place, self.towers.text.place],
        }
