"""Before and after, and between: what was gained, what was kept, how far the maps moved.

The old and the new weights are mixed in several shares, so that a person sees what each would
cost (WiSE-FT, arXiv:2109.01903, found half of each to keep most of both).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from imagesieve_server.extras import need
from imagesieve_server.offline.finetune.features import Features, Numbers
from imagesieve_server.offline.finetune.figures import Ability, Gallery, ability, turned_by
from imagesieve_server.offline.finetune.learner import embed, mixed
from imagesieve_server.offline.finetune.material import Material
from imagesieve_server.offline.finetune.projections import Map

MIXES = (0.0, 0.25, 0.5, 0.75, 1.0)
MOST = 5_000
"""Pictures of a gallery; a share of a million would only be slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """The two maps of a model."""

    image: Map
    text: Map

    def mixed(self, new: Maps, share: float) -> Maps:
        """These and ``share`` of the new ones."""
        return Maps(
            image=mixed(self.image, new.image, share), text=mixed(self.text, new.text, share)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One set of pairs under each mix."""

    pictures: int
    captions: int
    by_mix: Mapping[float, Ability]
    unmoved: float  # mean cosine of pictures' embeddings before and at the mix that is written


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that was measured."""

    mix: float  # what is written
    sets: Mapping[str, Kept]
    moved_image: float  # ‖W − W₀‖ ÷ ‖W₀‖ of what is written
    moved_text: float

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "mix": self.mix,
            "moved_image": round(self.moved_image, 6),
            "moved_text": round(self.moved_text, 6),
            "sets": {
                name: {
                    "pictures": kept.pictures,
                    "captions": kept.captions,
                    "unmoved": round(kept.unmoved, 6),
                    "by_mix": {f"{mix:g}": asdict(found) for mix, found in kept.by_mix.items()},
                }
                for name, kept in self.sets.items()
            },
        }


def compare(
    old: Maps, new: Maps, *, mix: float, sets: Mapping[str, tuple[Material, Numbers]]
) -> Comparison:
    """Measure every mix; a set is material and the pictures of it that are asked for."""
    written = old.mixed(new, mix)
    return Comparison(
        mix=mix,
        sets={name: _kept(old, new, mix, *chosen) for name, chosen in sets.items()},
        moved_image=_moved(old.image, written.image),
        moved_text=_moved(old.text, written.text),
    )


def _kept(old: Maps, new: Maps, mix: float, material: Material, pictures: Numbers) -> Kept:
    pictures = pictures[:MOST]
    by_mix, embedded = {}, {}
    for share in sorted({*MIXES, mix}):
        gallery = _gallery(material, pictures, old.mixed(new, share))
        by_mix[share], embedded[share] = ability(gallery), gallery.pictures
    return Kept(
        pictures=len(gallery.pictures),
        captions=len(gallery.captions),
        by_mix=by_mix,
        unmoved=turned_by(embedded[0.0], embedded[mix]),
    )


def _gallery(material: Material, pictures: Numbers, maps: Maps) -> Gallery:
    """The chosen pictures, their captions, and every class."""
    pairs = material.pairs
    asked = np.isin(pairs.picture_of, pictures)
    captions, caption_of = np.unique(pairs.caption_of[asked], return_inverse=True)
    shown, picture_of = np.unique(pairs.picture_of[asked], return_inverse=True)
    classes = None
    if material.classes is not None and (pairs.class_of[shown] >= 0).all():
        classes = embed(maps.text, material.classes)
    return Gallery(
        pictures=embed(maps.image, _some(material.pictures, shown)),
        captions=embed(maps.text, _some(material.captions, captions)),
        picture_of=picture_of,
        caption_of=caption_of,
        classes=classes,
        class_of=pairs.class_of[shown],
    )


def _some(features: Features, numbers: Numbers) -> Features:
    inputs, base = features.rows(numbers)
    return Features(inputs=inputs, base=base)


def _moved(old: Map, new: Map) -> float:
    norm = need("torch").linalg.norm
    return float(norm(new.weight - old.weight) / norm(old.weight))
