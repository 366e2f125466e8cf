"""Do thresholds keep their promise on pictures they were not chosen on? And probabilities?

    python tests/benchmarks/threshold_promise.py --scenes DIR --cache DIR [--n N] [--seed S]

DIR holds ``fit`` and ``fresh``, two draws of ``imagesieve-server model demo-scenes``. The demo
model sees each scene once (kept in --cache). Then N times per goal and category some scenes are
drawn and a threshold is chosen on them:

exact   drawn with replacement from all scenes, so what the threshold does to the stream they come
        from is known exactly: its rate over all scenes
fresh   drawn without replacement, and checked on the scenes that were not drawn, whose own chance
        adds a little to it
naive   the same with the quantile of the drawn scenes in place of the bound

Last, thresholds and probabilities from all of ``fit`` meet all of ``fresh``. A share of trials
below the confidence by more than three standard errors, or a calibration error above .02, ends
with 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from imagesieve_server.core.policy import Mode, Policy
from imagesieve_server.core.views import ViewPlan
from imagesieve_server.demo_data import DEMO_BUNDLE, DEMO_POLICY_SOURCE
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.offline.calibration import choosing
from imagesieve_server.offline.calibration.promise import Aim, Goal, at_allowed, choose, flagged
from imagesieve_server.offline.calibration.reliability import Reliability, reliability
from imagesieve_server.offline.calibration.review_load import choose_for_load
from imagesieve_server.offline.calibration.sample import Sample, sample_of
from imagesieve_server.offline.calibration.summary import method_name, percent
from imagesieve_server.offline.compile_policy import compile_in_memory
from imagesieve_server.offline.labelled.labelled_set import load_labelled

CONFIDENCE = 0.95
DELTA = 1 - CONFIDENCE
LABELLED = 2000  # pictures of an exact draw
GOALS = (
    *(Aim(goal=Goal.MAX_FPR, rate=rate) for rate in (0.005, 0.01, 0.05)),
    *(Aim(goal=Goal.MIN_RECALL, rate=rate) for rate in (0.5, 0.8)),
)
LOADS = (0.1, 0.3)

Chooser = Callable[[np.ndarray, np.ndarray, Aim], float]


@dataclasses.dataclass(slots=True)
class Kept:
    """Trials of one goal, over all categories."""

    trials: int = 0
    kept: int = 0
    rates: float = 0.0

    def count(self, rate: float, kept: bool) -> None:
        self.trials += 1
        self.kept += kept
        self.rates += rate

    @property
    def share(self) -> float:
        return self.kept / self.trials


def main() -> int:
    args = _arguments()
    policy, (fit, fresh) = _seen(args.scenes, args.cache)
    rng = np.random.default_rng(args.seed)
    print(f"{len(fit)} + {len(fresh)} scenes, {args.n} trials per goal and category, "
          f"seed {args.seed}, confidence {CONFIDENCE:g}\n")  # fmt: skip
    rows = [*_rates(policy, fit, fresh, args.n, rng), *_loads(policy, fit, fresh, args.n, rng)]
    _print(("Goal", "exact", "mean rate", "fresh", "naive, exact", "naive, fresh"), rows)
    print()
    _print(("Category", *(row[0] for row in rows[: len(GOALS)])), [*_whole(policy, fit, fresh)])
    print()
    worst = _probabilities(policy, fit, fresh)
    broken = [row[0] for row in rows if _below(row[1], args.n)]
    print(f"\nlargest calibration error on fresh scenes: {worst:.4f}")
    if broken:
        print(f"broken too often: {', '.join(broken)}")
    return 1 if broken or worst > 0.02 else 0


class Pool:
    """All scenes of one category, so that a threshold's rate is found without counting."""

    def __init__(self, fit: Sample, fresh: Sample, category: str) -> None:
        self.scores = np.concatenate([fit.pictures[category], fresh.pictures[category]])
        self.labels = np.concatenate([fit.labels[category], fresh.labels[category]])
        self._sorted = {label: np.sort(self.scores[self.labels == label]) for label in (0, 1)}

    def rate(self, threshold: float, label: int) -> float:
        """The share of all scenes of this label that it flags."""
        return self._flagged(threshold, label) / len(self._sorted[label])

    def rate_of_others(self, threshold: float, label: int, drawn: np.ndarray) -> float:
        """The same without those drawn."""
        about = self.scores[drawn][self.labels[drawn] == label]
        flags = self._flagged(threshold, label) - int(flagged(about, threshold).sum())
        return flags / (len(self._sorted[label]) - len(about))

    def _flagged(self, threshold: float, label: int) -> int:
        found = self._sorted[label]
        return len(found) - int(np.searchsorted(found, threshold, side="left"))


def _rates(
    policy: Policy, fit: Sample, fresh: Sample, n: int, rng: np.random.Generator
) -> Iterator[tuple[str, ...]]:
    pools = [Pool(fit, fresh, category.id) for category in policy.categories]
    for aim in GOALS:
        exact, naive, others, naive_others = Kept(), Kept(), Kept(), Kept()
        for pool in pools:
            total, label = len(pool.scores), aim.counts
            for _ in range(n):
                drawn = rng.integers(total, size=LABELLED)
                for chooser, kept in ((_bound, exact), (_quantile, naive)):
                    limit = chooser(pool.scores[drawn], pool.labels[drawn], aim)
                    _count(kept, pool.rate(limit, label), aim)
                drawn = rng.choice(total, size=LABELLED, replace=False, shuffle=False)
                for chooser, kept in ((_bound, others), (_quantile, naive_others)):
                    limit = chooser(pool.scores[drawn], pool.labels[drawn], aim)
                    _count(kept, pool.rate_of_others(limit, label, drawn), aim)
        name = f"{'fpr at most' if aim.goal is Goal.MAX_FPR else 'recall at least'} {aim.rate:g}"
        yield _row(name, exact, others, naive, naive_others)


def _loads(
    policy: Policy, fit: Sample, fresh: Sample, n: int, rng: np.random.Generator
) -> Iterator[tuple[str, ...]]:
    names = [category.id for category in policy.categories if category.mode is Mode.ENFORCE]
    both = {name: np.concatenate([fit.pictures[name], fresh.pictures[name]]) for name in names}
    total = len(fit) + len(fresh)
    for share in LOADS:
        exact, naive, others, naive_others = Kept(), Kept(), Kept(), Kept()
        for trial in range(n):
            again = rng.integers(total, size=LABELLED)
            once = rng.choice(total, size=LABELLED, replace=False, shuffle=False)
            for naively, kept, kept_others in (
                (False, exact, others), (True, naive, naive_others),
            ):  # fmt: skip
                flags = _flags(both, again, share, trial, naively)
                kept.count(rate := float(flags.mean()), rate <= share)
                flags = _flags(both, once, share, trial, naively)
                rate = (flags.sum() - flags[once].sum()) / (total - LABELLED)
                kept_others.count(rate, rate <= share)
        yield _row(f"reviews at most {share:g}", exact, others, naive, naive_others)


def _flags(
    scores: dict[str, np.ndarray], drawn: np.ndarray, share: float, seed: int, naively: bool
) -> np.ndarray:
    """Every scene's flag by thresholds chosen on those drawn; naively those that flag just the
    share of the counted half."""
    limits = choose_for_load(
        {name: values[drawn] for name, values in scores.items()},
        flagged_anyway=np.zeros(len(drawn), dtype=np.bool_),
        share=share,
        delta=0.4999 if naively else DELTA,
        seed=seed,
    ).log_odds
    return np.any([flagged(scores[name], limit) for name, limit in limits.items()], axis=0)


def _bound(scores: np.ndarray, labels: np.ndarray, aim: Aim) -> float:
    return choose(scores, labels, aim).log_odds


def _quantile(scores: np.ndarray, labels: np.ndarray, aim: Aim) -> float:
    """As many mistakes among the drawn scenes as the rate allows."""
    about = scores[labels == aim.counts]
    return at_allowed(about, math.floor(len(about) * aim.tolerated), aim).log_odds


def _count(kept: Kept, rate: float, aim: Aim) -> None:
    kept.count(rate, rate <= aim.rate if aim.goal is Goal.MAX_FPR else rate >= aim.rate)


def _whole(policy: Policy, fit: Sample, fresh: Sample) -> Iterator[tuple[str, ...]]:
    """Chosen on all of ``fit``, checked on all of ``fresh``: a row per category."""
    for category in policy.categories:
        row = [category.id]
        for aim in GOALS:
            limit = _bound(fit.pictures[category.id], fit.labels[category.id], aim)
            about = fresh.labels[category.id] == aim.counts
            row.append(percent(float(flagged(fresh.pictures[category.id][about], limit).mean())))
        yield tuple(row)


def _row(name: str, *kept: Kept) -> tuple[str, ...]:
    exact, *others = (f"{100 * each.share:.1f} %" for each in kept)
    return (name, exact, percent(kept[0].rates / kept[0].trials), *others)


def _below(share: str, n: int) -> bool:
    noise = 3 * math.sqrt(CONFIDENCE * DELTA / n)  # one category's trials at the least
    return float(share.removesuffix(" %")) / 100 < CONFIDENCE - noise


def _probabilities(policy: Policy, fit: Sample, fresh: Sample) -> float:
    """Fitted on ``fit``, measured on ``fresh``; returns the largest error after calibration."""
    rows, worst = [], 0.0
    for category in policy.categories:
        calibrated = choosing.calibrate(fit, category)
        assert calibrated.fitted is not None
        scores, labels = fresh.pictures[category.id], fresh.labels[category.id]
        before = reliability(1 / (1 + np.exp(-scores)), labels)
        after = reliability(calibrated.fitted.calibration.probabilities_of(scores), labels)
        worst = max(worst, after.ece)
        rows.append((category.id, method_name(calibrated), *_figures(before), *_figures(after)))
    _print(
        ("Category", "method", "ECE before", "by chance", "log loss", "ECE after", "by chance",
         "log loss"),
        rows,
    )  # fmt: skip
    return worst


def _figures(found: Reliability) -> tuple[str, ...]:
    return (f"{found.ece:.4f}", f"{found.chance:.4f}", f"{found.log_loss:.4f}")


def _seen(scenes: Path, cache: Path) -> tuple[Policy, tuple[Sample, Sample]]:
    bundle = load_bundle(DEMO_BUNDLE)
    encode = OnnxTextEncoder(bundle=bundle).encode
    policy = compile_in_memory(
        source_path=DEMO_POLICY_SOURCE, bundle=bundle, encode_texts=encode
    ).policy

    def seen(name: str) -> Sample:
        labelled = load_labelled(
            labels=scenes / name / "labels.csv",
            images=scenes / name,
            bundle=bundle,
            plan=ViewPlan(coverage=policy.coverage, max_views=policy.max_views),
            cache=cache,
            categories=[category.id for category in policy.categories],
            progress=lambda done, of: None,
        )
        return sample_of(policy, labelled)

    return policy, (seen("fit"), seen("fresh"))


def _print(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    print("| " + " | ".join(head) + " |\n| " + " | ".join("---" for _ in head) + " |")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
