"""``imagesieve-server model finetune``: arguments to settings, and the comparison as a table."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from imagesieve_server.offline.export.load import ModelSource
from imagesieve_server.offline.finetune.compare import Comparison, Kept
from imagesieve_server.offline.finetune.figures import Ability
from imagesieve_server.offline.finetune.finetune import finetune
from imagesieve_server.offline.finetune.settings import Settings

_MEASURES: tuple[tuple[str, Callable[[Ability], float | None]], ...] = (
    ("picture → caption, R@1", lambda a: a.picture_to_caption_1),
    ("picture → caption, R@5", lambda a: a.picture_to_caption_5),
    ("caption → picture, R@1", lambda a: a.caption_to_picture_1),
    ("caption → picture, R@5", lambda a: a.caption_to_picture_5),
    ("zero-shot accuracy", lambda a: a.zero_shot),
)


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "finetune",
        help="fine-tune a model's projections on pictures and captions (needs the extra 'export')",
        description="Contrastive fine-tuning of an open_clip model's projections, everything "
        "below them frozen: InfoNCE for a CLIP, the pairwise sigmoid loss for a SigLIP. Writes a "
        "checkpoint folder that `model export` takes, a mix of old and new weights. For one "
        "category a probe needs far fewer pictures and forgets nothing.",
    )
    _add_files(parser)
    _add_training(parser)
    parser.set_defaults(run=_run)


def _add_files(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--arch", required=True, help="open_clip's name, or a folder with open_clip_config.json")
    add(
        "--pretrained",
        required=True,
        metavar="TAG|PATH",
        help="published tag, checkpoint (.pt, .safetensors) or open_clip folder",
    )
    add(
        "--pairs",
        type=Path,
        required=True,
        metavar="FILE",
        help="CSV or JSON Lines with the columns file, caption and, if given, class",
    )
    add("--images", type=Path, required=True, metavar="DIR", help="folder of the pictures")
    add(
        "--keep",
        type=Path,
        metavar="FILE",
        help="pairs of what the model is to go on understanding: measured, never trained on",
    )
    add("--keep-images", type=Path, metavar="DIR", help="their folder (default: --images)")
    add("--out", type=Path, required=True, metavar="DIR", help="checkpoint folder; must not exist")
    add("--tokenizer", type=Path, metavar="FOLDER", help="its files, where not with the model")


def _add_training(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--mix",
        type=float,
        default=0.5,
        help="share of the new weights in what is written; the rest are the old ones "
        "(default: %(default)s)",
    )
    add("--image-only", action="store_true", help="leave the text projection as it is")
    add("--epochs", type=int, default=20, help="(default: %(default)s)")
    add("--batch", type=int, default=1024, help="pairs a step (default: %(default)s)")
    add("--rate", type=float, default=3e-4, help="peak learning rate (default: %(default)s)")
    add(
        "--held-out",
        type=float,
        default=0.1,
        help="share of the pictures that is not trained on but measured (default: %(default)s)",
    )
    add("--seed", type=int, default=0, help="of the split and the batches (default: %(default)s)")
    add("--threads", type=int, default=0, help="0 is every core")
    add("--resume", action="store_true", help="go on from the last saved state (DIR.work)")


def _run(args: argparse.Namespace) -> int:
    settings = Settings(
        source=ModelSource(architecture=args.arch, pretrained=args.pretrained),
        pairs=args.pairs,
        images=args.images,
        keep=args.keep,
        keep_images=args.keep_images,
        out=args.out,
        mix=args.mix,
        image_only=args.image_only,
        epochs=args.epochs,
        batch=args.batch,
        rate=args.rate,
        held_out=args.held_out,
        seed=args.seed,
        tokenizer=args.tokenizer,
        threads=args.threads,
        resume=args.resume,
    )
    result = finetune(settings, report=lambda line: print(line, flush=True))
    for line in _table(result.comparison):
        print(line)
    print(f"wrote {settings.out} (features and state are in {settings.work})")
    return 0


def _table(comparison: Comparison) -> Iterable[str]:
    for name, kept in comparison.sets.items():
        yield f"{name}: {kept.pictures} pictures, {kept.captions} captions"
        yield from _rows(kept, comparison.mix)
        yield f"  embeddings at the mix written against before: mean cosine {kept.unmoved:.3f}"
    yield (
        f"weights moved by {comparison.moved_image:.1%} (image) and "
        f"{comparison.moved_text:.1%} (text) of their norm"
    )


def _rows(kept: Kept, written: float) -> Iterable[str]:
    heads = [f"{mix:g}" + ("*" if mix == written else "") for mix in kept.by_mix]
    yield f"  {'share of new weights':24}" + "".join(f"{head:>8}" for head in heads)
    for title, of in _MEASURES:
        values = [of(found) for found in kept.by_mix.values()]
        known = [value for value in values if value is not None]
        if known:
            yield f"  {title:24}" + "".join(f"{value:8.3f}" for value in known)
