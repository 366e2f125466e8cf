"""What every command takes that looks at labelled pictures, and how it gets them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from imagesieve_server.core.views import ViewPlan
from imagesieve_server.demo_data import DEMO_BUNDLE
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.runtime import Provider
from imagesieve_server.offline.labelled.labelled_set import LabelledSet, load_labelled

CACHE = Path("imagesieve-data/evaluation-cache")


def add_picture_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """The arguments that name a model and labelled pictures."""
    add = parser.add_argument
    add("--model", type=Path, default=DEMO_BUNDLE, metavar="DIR", help="bundle (default: demo)")
    add(
        "--labels", type=Path, required=required, metavar="FILE",
        help="what people said of the pictures: CSV, or JSON Lines (.jsonl)",
    )  # fmt: skip
    add("--images", type=Path, required=required, metavar="DIR", help="folder of the pictures")
    cache = parser.add_mutually_exclusive_group()
    cache.add_argument(
        "--cache", type=Path, default=CACHE, metavar="DIR",
        help="where embeddings are kept (default: %(default)s)",
    )  # fmt: skip
    cache.add_argument("--no-cache", action="store_true", help="keep no embeddings")
    add("--provider", type=Provider, choices=list(Provider), default=Provider.AUTO)


def load_pictures(
    args: argparse.Namespace,
    *,
    bundle: Bundle,
    plan: ViewPlan,
    categories: Sequence[str],
    progress: Callable[[int, int], None],
) -> LabelledSet:
    """The pictures that the arguments name. Raises what ``load_labelled`` raises."""
    return load_labelled(
        labels=args.labels,
        images=args.images,
        bundle=bundle,
        plan=plan,
        cache=None if args.no_cache else args.cache,
        categories=categories,
        progress=progress,
        provider=args.provider,
    )
