"""What a probe gains over prompts, how many labels it needs, and how several views are trained.

    python tests/long/probe_curve.py --fit DIR --fresh DIR --n 3 --seed 1

Both folders are from `imagesieve-server model demo-scenes`, of different seeds: probes are learned
on the first and measured on the second, beside the demo policy's prompts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from imagesieve_server.core.views import ViewPlan
from imagesieve_server.demo_data import DEMO_BUNDLE, DEMO_POLICY
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.offline.labelled.labelled_set import (
    LabelledSet,
    image_logits,
    load_labelled,
)
from imagesieve_server.offline.measures.quality import auc
from imagesieve_server.offline.probes.folds import Examples, learn
from imagesieve_server.offline.probes.head import Bags, Head
from imagesieve_server.policy_files import compiled

SIZES = (5, 10, 20, 30, 50, 100, 200, 400)
ORDINARY = 5
"""Pictures that do not show the category, for each that does."""


def load(folder: Path, cache: Path, categories: list[str]) -> LabelledSet:
    """The scenes of a folder."""
    return load_labelled(
        labels=folder / "labels.csv",
        images=folder,
        bundle=load_bundle(DEMO_BUNDLE),
        plan=ViewPlan(),
        cache=cache,
        categories=categories,
        progress=lambda *_: None,
    )


def bags_of(labelled: LabelledSet, category: str) -> Bags:
    """Every picture of a category's answers."""
    return Bags(
        vectors=labelled.embeddings.astype(np.float64),
        picture_of=labelled.image_of,
        positive=labelled.labels[category] == 1,
    )


def learned(bags: Bags, seed: int) -> Head:
    """A probe, its strength chosen by folds."""
    return learn(Examples(bags=bags, groups=np.arange(len(bags))), seed=seed)[0]


def auc_of(head: Head, bags: Bags) -> float:
    """On pictures, by their highest view."""
    scores = head.of_pictures(bags)
    return auc(scores[bags.positive], scores[~bags.positive])


def by_category(
    fit: Mapping[str, Bags], fresh: Mapping[str, Bags], prompts: Mapping[str, float], seed: int
) -> None:
    """The first table: prompts, and three ways of training on several views."""
    print("category          prompts  view 0  all views alike  highest view  seconds")
    rows = []
    for name, bags in fit.items():
        starts = bags.starts
        first = Bags(
            vectors=bags.vectors[starts], picture_of=np.arange(len(bags)), positive=bags.positive
        )
        alike = Bags(
            vectors=bags.vectors,
            picture_of=np.arange(len(bags.vectors)),
            positive=bags.positive[bags.picture_of],
        )
        ways = [auc_of(learned(way, seed), fresh[name]) for way in (first, alike)]
        began = time.process_time()
        ways.append(auc_of(learned(bags, seed), fresh[name]))
        rows.append((prompts[name], *ways, time.process_time() - began))
        print(f"{name:16}" + "{:9.4f}{:8.4f}{:17.4f}{:14.4f}{:9.1f}".format(*rows[-1]), flush=True)
    mean = np.mean(rows, axis=0)
    print(f"{'mean':16}" + "{:9.4f}{:8.4f}{:17.4f}{:14.4f}{:9.1f}".format(*mean))


def curve(
    fit: Mapping[str, Bags], fresh: Mapping[str, Bags], prompts: Mapping[str, float],
    draws: int, seed: int,
) -> None:  # fmt: skip
    """The second table: how many pictures of a category it takes."""
    print(f"\npictures that show it ({ORDINARY} others for each), {draws} draws a category")
    print("    n  mean AUC  spread of draws  least  minus prompts  better than prompts")
    for size in SIZES:
        found, gains, spread = [], [], []
        for name, bags in fit.items():
            own = []
            for draw in range(draws):
                chance = np.random.default_rng((seed, draw))
                chosen = np.zeros(len(bags), dtype=bool)
                for kind, count in ((True, size), (False, ORDINARY * size)):
                    of_kind = np.flatnonzero(bags.positive == kind)
                    chosen[chance.choice(of_kind, count, replace=False)] = True
                own.append(auc_of(learned(bags.some(chosen), seed), fresh[name]))
            found += own
            gains += [one - prompts[name] for one in own]
            spread.append(np.std(own))
        better = np.mean(np.array(gains) > 0)
        print(
            f"{size:5}{np.mean(found):10.4f}{np.sqrt(np.mean(np.square(spread))):17.4f}"
            f"{min(found):7.3f}{np.mean(gains):15.4f}{better:21.0%}",
            flush=True,
        )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", type=Path, required=True)
    parser.add_argument("--fresh", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("imagesieve-data/evaluation-cache"))
    parser.add_argument("--n", type=int, default=3, help="draws of each size and category")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    policy = compiled.read(DEMO_POLICY).policy
    names = [category.id for category in policy.categories]
    sets = [load(folder, args.cache, names) for folder in (args.fit, args.fresh)]
    fit, fresh = ({name: bags_of(one, name) for name in names} for one in sets)
    logits = image_logits(policy, sets[1])
    prompts = {
        name: auc(logits[name][fresh[name].positive], logits[name][~fresh[name].positive])
        for name in names
    }
    by_category(fit, fresh, prompts, args.seed)
    curve(fit, fresh, prompts, args.n, args.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
