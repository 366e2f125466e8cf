"""From a trained checkpoint to the committed bundle: measure, write the model card, export.

    python -m imagesieve_server.offline.demo_model.release --run DIR --cache DIR --out BUNDLE
        [--unseen TRAINED_ON=DIR …]

``--run`` is what ``train`` wrote; each ``--unseen`` is a run on one artist, measured on the others.
Afterwards compile the demo policy: `imagesieve-server policy compile`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imagesieve_server.demo_data import DEMO_POLICY_SOURCE
from imagesieve_server.encoders.manifest import Precision, Storage
from imagesieve_server.offline.demo_model import backdrops, emoji_art, vocabulary
from imagesieve_server.offline.demo_model.categories import CATEGORIES
from imagesieve_server.offline.demo_model.measure import Figures, TorchEncoder, as_json, measure
from imagesieve_server.offline.demo_model.train import CHECKPOINT
from imagesieve_server.offline.export.export_model import ExportRequest, export_bundle
from imagesieve_server.offline.export.load import ModelSource
from imagesieve_server.offline.training.loop import LOG

NAME = "imagesieve demo (emoji, never fit for moderation)"
ARCHITECTURE = "emoji-clip-64"
LICENCE = "Apache-2.0; trained on art under Apache-2.0 and CC-BY-4.0, see MODEL_CARD.md"
ATTRIBUTION = (
    "Noto Emoji, copyright Google LLC, Apache License 2.0",
    "Twemoji, copyright Twitter, Inc. and other contributors, CC-BY-4.0, "
    "https://creativecommons.org/licenses/by/4.0/; scaled, turned, tinted and composed",
    "emojibase-data, copyright Miles Johnson, MIT",
    "photographs by way of scikit-image, public domain and CC0; see MODEL_CARD.md",
)

_CARD = Path(__file__).with_name("model_card.md")

Measured = tuple[str, Sequence[Figures]]
"""The artists a model was trained on, and its figures."""


def model_card(*, run: Path, logit_scale: float, seen: Measured, unseen: Sequence[Measured]) -> str:
    """The card's text. ``run`` holds the training log."""
    log: Mapping[str, Any] = json.loads((run / LOG).read_text())
    names = list(CATEGORIES)
    return _CARD.read_text(encoding="utf-8").format(
        context=vocabulary.CONTEXT_LENGTH,
        merges=vocabulary.MERGES,
        logit_scale=logit_scale,
        seed=log["seed"],
        steps=log["steps"],
        batch=log["batch"],
        artists=" and ".join(log["artists"]),
        photographs="\n".join(_photograph(p) for p in backdrops.TRAINING),
        size=f"{seen[1][0].scenes} scenes an artist.",
        category_heads=" | ".join(names),
        category_rules="|".join("---" for _ in names),
        rows="\n".join(_row(trained, one) for trained, all_ in [seen, *unseen] for one in all_),
        threshold_rows="\n".join(_threshold_rows(seen[1])),
    )


def _photograph(photograph: backdrops.Photograph) -> str:
    return f"  - {photograph.file}: {photograph.source}; {photograph.licence}"


def _row(trained: str, figures: Figures) -> str:
    aucs = [c.auc for c in figures.categories.values()]
    numbers = (figures.top1, figures.top1_hard, figures.top1_plain, *aucs, float(np.mean(aucs)))
    return " | ".join([f"| {figures.artist}", trained, *(f"{n:.3f}" for n in numbers)]) + " |"


def _threshold_rows(all_figures: Sequence[Figures]) -> list[str]:
    return [
        f"| {one.artist} | {name} | {c.recall:.2f} | {c.false_alarms:.4f} "
        f"| {c.false_alarms_photographs:.4f} |"
        for one in all_figures
        for name, c in one.categories.items()
    ]


def release(*, run: Path, cache: Path, out: Path, unseen: Mapping[str, Path], copies: int) -> None:
    """Measure, describe and export. Raises what the exporter raises."""
    folder = run / CHECKPOINT
    seen = _measured(folder, cache, emoji_art.ARTISTS, copies)
    others = [
        (trained, _measured(other / CHECKPOINT, cache, _other_artists(trained), copies))
        for trained, other in unseen.items()
    ]
    card = model_card(
        run=run,
        logit_scale=TorchEncoder(folder).logit_scale,
        seen=("both", seen),
        unseen=others,
    )
    figures = {"both": as_json(seen), **{trained: as_json(found) for trained, found in others}}
    texts = {
        "MODEL_CARD.md": card.encode(),
        "figures.json": (json.dumps(figures, indent=2) + "\n").encode(),
    }
    with tempfile.TemporaryDirectory() as scratch:
        # The manifest takes the folder's name for the architecture's.
        named = Path(scratch) / ARCHITECTURE
        named.symlink_to(folder.resolve())
        bundle = export_bundle(_request(named, out, texts), progress=print)
    print(f"wrote {out}, fingerprint {bundle.fingerprint}")


def _request(folder: Path, out: Path, texts: Mapping[str, bytes]) -> ExportRequest:
    return ExportRequest(
        source=ModelSource(architecture=str(folder), pretrained=str(folder)),
        out=out,
        precision=Precision.FP32,
        storage=Storage.FP16,  # half the size in the repository
        name=NAME,
        licence=LICENCE,
        attribution=ATTRIBUTION,
        extra_files=texts,
    )


def _measured(folder: Path, cache: Path, artists: Sequence[str], copies: int) -> Sequence[Figures]:
    return measure(
        folder=folder, cache=cache, artists=artists, policy_file=DEMO_POLICY_SOURCE, copies=copies
    )


def _other_artists(trained: str) -> tuple[str, ...]:
    return tuple(artist for artist in emoji_art.ARTISTS if artist != trained)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="what train wrote")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the npm packages")
    parser.add_argument("--out", type=Path, required=True, help="the bundle; must not exist")
    parser.add_argument("--unseen", action="append", default=[], metavar="ARTIST=DIR")
    parser.add_argument("--copies", type=int, default=2, help="scenes of each emoji")
    args = parser.parse_args()
    unseen = {artist: Path(run) for artist, _, run in (u.partition("=") for u in args.unseen)}
    release(run=args.run, cache=args.cache, out=args.out, unseen=unseen, copies=args.copies)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
