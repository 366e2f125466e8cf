"""What the demo model understands: top-1 over names, AUC and threshold figures per category.

Scenes are composed from seeds that training never uses: everything random in scale, place,
angle, colour and backdrop, some grey. Training also covers, blurs and blackens some; top-1 is
given with these too. A model trained on one artist and measured on the other says how much of it
is meaning and how much is memory.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.policy import Category, Policy, Vectors
from imagesieve_server.core.scoring import logits_of
from imagesieve_server.demo_data import DEMO_POLICY_SOURCE
from imagesieve_server.extras import need
from imagesieve_server.offline.compile_policy import ensemble
from imagesieve_server.offline.demo_model import architecture, backdrops, emoji_art, scenes
from imagesieve_server.offline.demo_model.captions import TEMPLATES
from imagesieve_server.offline.demo_model.categories import CATEGORIES
from imagesieve_server.offline.measures.quality import auc
from imagesieve_server.policy_files import compiled
from imagesieve_server.policy_files.source import parse_policy

SEED = 1 << 40
"""Training's generators are seeded with far smaller numbers."""

SHARES = scenes.Shares(companion=0.0, silhouette=0.0, blur=0.0)
"""Of the scenes measured."""

_CHUNK = 256
_CROPS_EACH = 100

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class TorchEncoder:
    """A checkpoint folder as two functions from content to unit vectors."""

    def __init__(self, folder: Path) -> None:
        """Load it. Raises MissingExtra without torch and open_clip."""
        self._model, self._tokenizer = architecture.load_folder(folder)
        self.logit_scale = float(self._model.logit_scale.detach().exp())

    def texts(self, texts: Sequence[str]) -> Vectors:
        """float32 [N, D]."""
        with need("torch").no_grad():
            vectors = self._model.encode_text(self._tokenizer(list(texts)), normalize=True)
        return np.asarray(vectors.numpy(), dtype=np.float32)

    def pictures(self, pixels: Any) -> Vectors:
        """float32 [N, D] of uint8 [N, 3, 64, 64]."""
        torch = need("torch")
        with torch.no_grad():
            parts = [
                self._model.encode_image(architecture.normalised(part), normalize=True)
                for part in torch.split(pixels, _CHUNK)
            ]
        return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryFigures:
    """How well one category is told from everything else."""

    auc: float
    recall: float  # share of its own scenes at or above review_at
    false_alarms: float  # share of all other scenes at or above review_at
    false_alarms_photographs: float  # share of crops of photographs it never saw


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One model on one artist's scenes."""

    artist: str
    scenes: int
    top1: float  # share of scenes whose own name has the highest cosine of all names
    top1_hard: float  # the same for scenes as training has them
    top1_plain: float  # the same for the art alone, filling a white picture
    categories: Mapping[str, CategoryFigures]


def measure(
    *, folder: Path, cache: Path, artists: Sequence[str], policy_file: Path, copies: int = 3
) -> list[Figures]:
    """Figures of a checkpoint folder, one per artist, over ``copies`` scenes of each emoji."""
    encoder = TorchEncoder(folder)
    emoji_art.fetch(cache, artists)
    emoji = emoji_art.read_emoji(cache)
    policy = demo_policy(policy_file, encoder)
    names = _matrix(ensemble([e.name for e in emoji], TEMPLATES, encoder.texts))
    photographs = need("torch").from_numpy(held_out_crops())
    alarms = _logits(policy, encoder.pictures(photographs))
    figures = []
    for artist in artists:
        sprites = emoji_art.read_sprites(cache, artist, emoji)
        numbers, pixels = compose(sprites, copies)
        _, hard = compose(sprites, copies, scenes.Shares())
        vectors = encoder.pictures(pixels)
        own = [emoji[number].name for number in numbers]
        every = np.arange(len(emoji))
        figures.append(
            Figures(
                artist=artist,
                scenes=len(numbers),
                top1=_top1(vectors, names, numbers),
                top1_hard=_top1(encoder.pictures(hard), names, numbers),
                top1_plain=_top1(encoder.pictures(on_white(sprites)), names, every),
                categories=_by_category(policy, own, _logits(policy, vectors), alarms),
            )
        )
    return figures


def _top1(vectors: Vectors, names: Vectors, numbers: npt.NDArray[np.int64]) -> float:
    return float(np.mean((vectors @ names.T).argmax(axis=1) == numbers))


def compose(
    sprites: emoji_art.Sprites, copies: int, shares: scenes.Shares = SHARES
) -> tuple[npt.NDArray[np.int64], Any]:
    """(sprite numbers [N], pictures uint8 [N, 3, 64, 64]): each sprite ``copies`` times."""
    torch = need("torch")
    crops = backdrops.cut_crops(backdrops.TRAINING, side=scenes.SIDE, each=_CROPS_EACH, seed=SEED)
    numbers = torch.arange(len(sprites)).repeat(copies)
    generator = torch.Generator().manual_seed(SEED)
    return numbers.numpy(), scenes.SceneMaker(sprites, crops, shares).render(numbers, generator)


def on_white(sprites: emoji_art.Sprites) -> Any:
    """Premultiplied sprites uint8 [N, 4, 64, 64] as pictures uint8 [N, 3, 64, 64]."""
    return need("torch").from_numpy(sprites[:, :3] + (255 - sprites[:, 3:]))


def held_out_crops() -> backdrops.Crops:
    """Crops of photographs that training never shows, uint8 [N, 3, 64, 64]."""
    held_out = [photograph for photograph in backdrops.PHOTOGRAPHS if photograph.held_out]
    return backdrops.cut_crops(held_out, side=scenes.SIDE, each=_CROPS_EACH, seed=SEED)


def demo_policy(file: Path, encoder: TorchEncoder) -> Policy:
    """The policy compiled in memory for a checkpoint. Raises PolicyError."""
    source = parse_policy(file.read_text(encoding="utf-8"), file=str(file))
    data = compiled.build(
        source=source,
        file=str(file),
        model_fingerprint="0" * 64,
        logit_scale=encoder.logit_scale,
        logit_bias=0.0,
        vectors=ensemble(source.prompt_texts(), source.templates, encoder.texts),
    )
    return compiled.parse(data, file=str(file)).policy


def _logits(policy: Policy, vectors: Vectors) -> dict[str, Doubles]:
    doubles = vectors.astype(np.float64)
    return {c.id: logits_of(policy, c, doubles)[1] for c in policy.categories}


def _by_category(
    policy: Policy,
    own: Sequence[str],
    logits: Mapping[str, Doubles],
    photographs: Mapping[str, Doubles],
) -> dict[str, CategoryFigures]:
    found = {}
    for category in policy.categories:
        members: Flags = np.isin(np.asarray(own), CATEGORIES[category.id])
        limit, values = _limit(category), logits[category.id]
        found[category.id] = CategoryFigures(
            auc=auc(values[members], values[~members]),
            recall=float(np.mean(values[members] >= limit)),
            false_alarms=float(np.mean(values[~members] >= limit)),
            false_alarms_photographs=float(np.mean(photographs[category.id] >= limit)),
        )
    return found


def _limit(category: Category) -> float:
    review = category.thresholds.review_at
    return np.inf if review is None else review.log_odds()


def _matrix(vectors: Mapping[str, Vectors]) -> Vectors:
    return np.stack(list(vectors.values()))


def table(figures: Sequence[Figures]) -> str:
    """The figures for people."""
    lines = []
    for one in figures:
        lines.append(
            f"{one.artist}: top-1 {one.top1:.3f} over {one.scenes} scenes, "
            f"{one.top1_hard:.3f} on hard ones, {one.top1_plain:.3f} on plain art"
        )
        lines.append("  category           AUC   recall  false alarms  on photographs")
        for name, c in one.categories.items():
            lines.append(
                f"  {name:16} {c.auc:6.3f} {c.recall:7.2f} {c.false_alarms:12.4f} "
                f"{c.false_alarms_photographs:14.4f}"
            )
        lines.append(f"  mean AUC {np.mean([c.auc for c in one.categories.values()]):.3f}")
    return "\n".join(lines)


def as_json(figures: Sequence[Figures]) -> Any:
    """The figures for programs."""
    rounded = {
        one.artist: {
            "scenes": one.scenes,
            "top1": round(one.top1, 4),
            "top1_hard": round(one.top1_hard, 4),
            "top1_plain": round(one.top1_plain, 4),
            "categories": {
                name: {field: round(getattr(c, field), 4) for field in CategoryFigures.__slots__}
                for name, c in one.categories.items()
            },
        }
        for one in figures
    }
    return rounded


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a checkpoint folder")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the npm packages")
    parser.add_argument("--artists", default=",".join(emoji_art.ARTISTS), help="comma-separated")
    parser.add_argument("--policy", type=Path, default=DEMO_POLICY_SOURCE)
    parser.add_argument("--copies", type=int, default=3, help="scenes of each emoji")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    figures = measure(
        folder=args.model,
        cache=args.cache,
        artists=args.artists.split(","),
        policy_file=args.policy,
        copies=args.copies,
    )
    print(table(figures))
    if args.json:
        args.json.write_text(json.dumps(as_json(figures), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
