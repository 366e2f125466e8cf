"""A probe on one page: examples, held-out folds, the prompts beside it, the head, the evidence.

Nothing in the result depends on the day or the machine's clock: the same labels, pictures and
model give the same file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagesieve_server.core.policy import Method, Probe, Scale, Threshold
from imagesieve_server.core.scoring import Doubles, sigmoid
from imagesieve_server.offline.measures import bootstrap
from imagesieve_server.offline.measures.bootstrap import Measured, Resampling
from imagesieve_server.offline.measures.figures import Figure
from imagesieve_server.offline.measures.quality import (
    Measure,
    average_precision,
    recall_at_fpr,
    roc_auc,
)
from imagesieve_server.offline.probes.examples import Chosen
from imagesieve_server.offline.probes.folds import STRENGTHS, held_out_log_odds, learn
from imagesieve_server.offline.probes.head import Flags
from imagesieve_server.policy_files.probe_file import ProbeFile
from imagesieve_server.policy_files.source import CategorySource

MEASURES: Mapping[str, Measure] = {
    "auc": roc_auc,
    "average_precision": average_precision,
    "recall_at_fpr_01": recall_at_fpr(0.01),
}

_FALSE_ALARMS = 0.01
"""The most ordinary pictures flagged at the review_at that is written, as a share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A probe and what was measured."""

    head: Probe
    strength: float  # of the L2 penalty
    folds: int
    seed: int
    positives: int
    negatives: int
    unsaid: int
    probe: Mapping[str, Figure]  # on folds it did not see
    prompts: Mapping[str, Figure] | None  # of the category as it is, on the same pictures
    gain: Mapping[str, Figure] | None  # probe − prompts, paired
    review_at: Threshold  # no more ordinary pictures are flagged than by the prompts, or 1 %
    false_alarms: float  # which share of them that is
    recall: float  # of the category's pictures flagged there, on folds it did not see
    warnings: tuple[str, ...]

    def file(self, *, model_fingerprint: str, facts: Mapping[str, Any]) -> ProbeFile:
        """The file to write; ``facts`` say what it was learned from."""
        return ProbeFile(
            model_fingerprint=model_fingerprint,
            probe=self.head,
            evaluation={**facts, **self.as_json()},
        )

    def as_json(self) -> dict[str, Any]:
        """The evaluation that travels with the probe."""
        return {
            "positives": self.positives,
            "negatives": self.negatives,
            "unsaid": self.unsaid,
            "penalty": self.strength,
            "penalties_tried": list(STRENGTHS),
            "folds": self.folds,
            "seed": self.seed,
            "views": "the highest of a picture's views",
            "held_out": _rounded(self.probe),
            "prompts": _rounded(self.prompts),
            "gain": _rounded(self.gain),
            "warnings": list(self.warnings),
        }


def learn_probe(
    chosen: Chosen,
    category: CategorySource,
    prompts: Doubles | None,
    *,
    folds: int = 5,
    seed: int = 1,
    resampling: Resampling | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Learned:
    """Learn and measure. ``prompts`` is what the category says now of the same pictures [N]."""
    examples, positive = chosen.examples, chosen.examples.bags.positive
    say(f"learning on {folds} folds")
    held_out = held_out_log_odds(examples, folds=folds, seed=seed)
    say("learning on all")
    head, strength = learn(examples, seed=seed)
    variants = {"probe": held_out} if prompts is None else {"probe": held_out, "prompts": prompts}
    measured = bootstrap.measure(variants, positive, MEASURES, resampling or Resampling())
    rate = _false_alarms(category, prompts, positive)
    limit = _review_at(held_out[~positive], rate)
    return Learned(
        head=Probe(weights=head.weights.astype(np.float32), bias=head.bias),
        strength=strength,
        folds=folds,
        seed=seed,
        positives=chosen.positives,
        negatives=chosen.negatives,
        unsaid=chosen.unsaid,
        probe=_figures(measured["probe"]),
        prompts=_figures(measured["prompts"]) if prompts is not None else None,
        gain=_gain(measured) if prompts is not None else None,
        review_at=limit,
        false_alarms=float(np.mean(held_out[~positive] >= limit.value)),
        recall=float(np.mean(held_out[positive] >= limit.value)),
        warnings=chosen.warnings,
    )


def _figures(measured: Mapping[str, Measured]) -> dict[str, Figure]:
    return {name: one.figure() for name, one in measured.items()}


def _gain(measured: Mapping[str, Mapping[str, Measured]]) -> dict[str, Figure]:
    probe, prompts = measured["probe"], measured["prompts"]
    return {name: probe[name].minus(prompts[name]) for name in MEASURES}


def _false_alarms(category: CategorySource, prompts: Doubles | None, positive: Flags) -> float:
    """The share of ordinary pictures that may be flagged: what the prompts flag now, if less."""
    review = category.thresholds.review_at
    if prompts is None or review is None:
        return _FALSE_ALARMS
    ordinary = prompts[~positive]
    scores = ordinary if category.method is Method.COSINE else sigmoid(ordinary)
    flagged = np.mean((ordinary if review.scale is Scale.LOGIT else scores) >= review.value)
    return min(_FALSE_ALARMS, float(flagged) or _FALSE_ALARMS)


def _review_at(ordinary: Doubles, rate: float) -> Threshold:
    """The least log-odds, to two places, at which at most ``rate`` of the ordinary are flagged."""
    allowed = math.floor(rate * len(ordinary) + 1e-9)
    highest = np.sort(ordinary)[::-1]
    edge = float(highest[min(allowed, len(highest) - 1)])
    return Threshold(value=round(math.floor(edge * 100 + 1) / 100, 2), scale=Scale.LOGIT)


def _rounded(figures: Mapping[str, Figure] | None) -> dict[str, list[float]] | None:
    """Value, low and high ends of the 95 % interval."""
    if figures is None:
        return None
    return {n: [round(x, 4) for x in (f.value, f.low, f.high)] for n, f in figures.items()}
