"""What fine-tuning gains and loses: a demo model of one artist, taught the other artist's art.

    python tests/long/finetune_demo.py --checkpoint DIR --cache DIR --seen google --n 20

``--checkpoint`` is the checkpoint folder of `imagesieve-server model train-demo --artists SEEN`.
Half of the other artist's emoji are trained on (``--n`` scenes of each), the other half measured,
then the halves change places: every emoji is measured by a model that was never shown it in that
art. What was kept is measured on the seen artist's scenes of the same emoji.
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from imagesieve_server.core.scoring import logits_of
from imagesieve_server.demo_data import DEMO_POLICY_SOURCE
from imagesieve_server.offline.compile_policy import ensemble
from imagesieve_server.offline.demo_model import architecture, backdrops, emoji_art, measure, scenes
from imagesieve_server.offline.demo_model.captions import TEMPLATES, CaptionWriter, concepts_of
from imagesieve_server.offline.demo_model.categories import CATEGORIES
from imagesieve_server.offline.demo_model.emoji_art import Emoji, Sprites
from imagesieve_server.offline.export.load import ModelSource
from imagesieve_server.offline.finetune.compare import Maps
from imagesieve_server.offline.finetune.finetune import finetune
from imagesieve_server.offline.finetune.projections import image_tower, text_tower
from imagesieve_server.offline.finetune.settings import Settings

MIXES = (0.0, 0.25, 0.5, 0.75, 1.0)
COPIES = 3
"""Scenes of each emoji that are measured."""


def halves(emoji: Sequence[Emoji], seed: int) -> np.ndarray:
    """Bool [N]: the first half; of each category's emoji too."""
    of = {name: category for category, names in CATEGORIES.items() for name in names}
    order = list(range(len(emoji)))
    random.Random(seed).shuffle(order)
    order.sort(key=lambda number: of.get(emoji[number].name, ""))
    first = np.zeros(len(emoji), dtype=bool)
    first[order[::2]] = True
    return first


def write_pairs(
    folder: Path, emoji: Sequence[Emoji], sprites: Sprites, numbers: np.ndarray, n: int, seed: int
) -> Path:
    """``n`` scenes of each emoji of ``numbers`` with training's captions; the file of pairs."""
    folder.mkdir()
    crops = backdrops.cut_crops(backdrops.TRAINING, side=scenes.SIDE, each=100, seed=seed)
    repeated = torch.from_numpy(numbers).repeat(n)
    generator = torch.Generator().manual_seed(seed)
    pixels = scenes.SceneMaker(sprites, crops).render(repeated, generator)
    writer = CaptionWriter(concepts_of(emoji, backdrops.TRAINING))
    chance = random.Random(seed)
    with (folder / "pairs.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "caption"])
        for row, (number, picture) in enumerate(zip(repeated.tolist(), pixels, strict=True)):
            image = Image.fromarray(picture.permute(1, 2, 0).numpy())
            image.save(folder / f"{row}.png", compress_level=1)
            table.writerow([f"{row}.png", writer.write(number, chance)[0]])
    return folder / "pairs.csv"


class Seen:
    """The scenes that are measured and all texts, as far as the last maps, computed once."""

    def __init__(
        self, checkpoint: Path, emoji: Sequence[Emoji], art: Mapping[str, Sprites]
    ) -> None:
        self._model, self._tokenizer = architecture.load_folder(checkpoint)
        self.logit_scale = float(self._model.logit_scale.detach().exp())
        self._image, self._text = image_tower(self._model), text_tower(self._model)
        self.emoji, self._texts = emoji, dict[str, Any]()
        self.scenes = {}
        for artist, sprites in art.items():
            self.numbers, pixels = measure.compose(sprites, COPIES)
            parts = torch.split(pixels, 256)
            found = [self._image.take_apart(architecture.normalised(part))[0] for part in parts]
            self.scenes[artist] = torch.cat(found)

    def maps(self, tuned: Path | None = None) -> Maps:
        """The two maps of the checkpoint, or of one tuned from it."""
        model = architecture.load_folder(tuned)[0] if tuned else self._model
        return Maps(image=image_tower(model).map(), text=text_tower(model).map())

    def texts(self, maps: Maps, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors."""
        missing = [text for text in texts if text not in self._texts]
        if missing:
            features, _ = self._text.take_apart(self._tokenizer(missing))
            self._texts.update(zip(missing, features, strict=True))
        return maps.text.of(torch.stack([self._texts[text] for text in texts]), None).numpy()

    def figures(self, artist: str, maps: Maps, chosen: np.ndarray) -> dict[str, float]:
        """Top-1 over every name and AUC by category, over scenes of the chosen emoji."""

        def encode(texts: Sequence[str]) -> np.ndarray:
            return self.texts(maps, texts)

        encoder = SimpleNamespace(texts=encode, logit_scale=self.logit_scale)
        policy = measure.demo_policy(DEMO_POLICY_SOURCE, encoder)
        names = ensemble([e.name for e in self.emoji], TEMPLATES, encode)
        rows = np.flatnonzero(chosen[self.numbers])
        numbers = self.numbers[rows]
        vectors = maps.image.of(self.scenes[artist][torch.from_numpy(rows)], None).numpy()
        best = (vectors @ np.stack(list(names.values())).T).argmax(axis=1)
        found = {"top-1": float(np.mean(best == numbers))}
        own = np.array([self.emoji[number].name for number in numbers])
        for category in policy.categories:
            values = logits_of(policy, category, vectors.astype(np.float64))[1]
            member = np.isin(own, CATEGORIES[category.id])
            found[category.id] = measure.auc(values[member], values[~member])
        found["mean AUC"] = float(np.mean([found[c.id] for c in policy.categories]))
        return found


def run(args: argparse.Namespace, scratch: Path) -> None:
    """Both halves, then the table."""
    unseen = next(artist for artist in emoji_art.ARTISTS if artist != args.seen)
    emoji_art.fetch(args.cache)
    emoji = emoji_art.read_emoji(args.cache)
    art = {a: emoji_art.read_sprites(args.cache, a, emoji) for a in emoji_art.ARTISTS}
    seen = Seen(args.checkpoint, emoji, art)
    first = halves(emoji, args.seed)
    table: dict[tuple[str, float], list[dict[str, float]]] = {}
    seconds = []
    for half, chosen in enumerate((first, ~first)):
        trained = np.flatnonzero(~chosen)
        pairs = write_pairs(
            scratch / f"pairs-{half}", emoji, art[unseen], trained, args.n, args.seed
        )
        keep = write_pairs(
            scratch / f"keep-{half}", emoji, art[args.seen], np.flatnonzero(chosen), 1, args.seed
        )
        began = time.monotonic()
        tuned = scratch / f"tuned-{half}"
        source = ModelSource(architecture=str(args.checkpoint), pretrained=str(args.checkpoint))
        done = finetune(
            Settings(
                source=source, pairs=pairs, images=pairs.parent, keep=keep, out=tuned, mix=1.0,
                keep_images=keep.parent, epochs=args.epochs, rate=args.rate, batch=args.batch,
                seed=args.seed, threads=args.threads, image_only=args.image_only,
            ),
            report=lambda line: print(line, flush=True),
        )  # fmt: skip
        seconds.append((time.monotonic() - began, done.facts["seconds"]))
        for mix in MIXES:
            maps = seen.maps().mixed(seen.maps(tuned), mix)
            for what, (artist, asked) in {
                f"{unseen}, emoji it was taught": (unseen, ~chosen),
                f"{unseen}, emoji never shown": (unseen, chosen),
                f"{args.seen}, kept": (args.seen, chosen),
            }.items():
                found = seen.figures(artist, maps, asked)
                table.setdefault((what, mix), []).append(found)
    for what in dict.fromkeys(what for what, _ in table):
        print(f"\n{what}")
        print("  new weights" + "".join(f"{mix:>8.2f}" for mix in MIXES))
        for row in table[what, 0.0][0]:
            values = [np.mean([half[row] for half in table[what, mix]]) for mix in MIXES]
            print(f"  {row:16}" + "".join(f"{value:8.3f}" for value in values))
    for whole, training in seconds:
        print(f"{whole:.0f} s a fine-tuning, of which the steps took {training:.1f} s")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the npm packages")
    parser.add_argument("--seen", choices=emoji_art.ARTISTS, default="google")
    parser.add_argument("--n", type=int, default=20, help="training scenes of each emoji")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--image-only", action="store_true")
    with TemporaryDirectory(prefix="imagesieve-finetune-demo-") as scratch:
        run(parser.parse_args(), Path(scratch))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
