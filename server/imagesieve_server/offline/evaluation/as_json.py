"""An evaluation as plain values for JSON. docs/reference/evaluation-json.md describes them.

Numbers that do not exist are null; no NaN, no infinity.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from imagesieve_server.core.policy import Threshold
from imagesieve_server.offline.evaluation.results import (
    AtThreshold,
    CategoryResult,
    Compared,
    Comparison,
    Evaluation,
    Gap,
    Mistake,
    Slices,
    VerdictResult,
)
from imagesieve_server.offline.measures.figures import CONFIDENCE, Figure
from imagesieve_server.offline.measures.quality import precision
from imagesieve_server.offline.measures.ranking import Ranking

FORMAT = 1
CURVE_POINTS = 101


def head(evaluation: Evaluation) -> dict[str, Any]:
    """What was measured on what, and how."""
    labelled = evaluation.labelled
    return {
        "kind": "imagesieve.evaluation",
        "format": FORMAT,
        "policy": {"name": evaluation.policy.name, "version": evaluation.policy.version},
        "model": {"name": evaluation.model, "fingerprint": labelled.model_fingerprint},
        "pictures": {
            "evaluated": len(labelled),
            "views": len(labelled.views),
            "left_out": [{"file": one.file, "reason": one.reason} for one in labelled.left_out],
        },
        "intervals": {
            "confidence": CONFIDENCE,
            "resamples": evaluation.resamples,
            "seed": evaluation.seed,
        },
        "notes": list(evaluation.notes),
    }


def figure(found: Figure | None) -> dict[str, float] | None:
    """A value with its interval."""
    if found is None:
        return None
    return {"value": found.value, "low": found.low, "high": found.high}


def verdicts(found: VerdictResult) -> dict[str, Any]:
    """What would happen to the pictures as a whole."""
    return {
        "counts": {verdict.value: number for verdict, number in found.counts.items()},
        "flagged": figure(found.flagged),
        "flagged_showing": figure(found.flagged_showing),
        "flagged_clean": figure(found.flagged_clean),
        "observed_only": figure(found.observed_only),
    }


def category(found: CategoryResult) -> dict[str, Any]:
    """One category."""
    return {
        "id": found.category.id,
        "title": found.category.title,
        "mode": found.category.mode.value,
        "severity": found.category.severity,
        "method": found.category.method.value,
        "positives": found.positives,
        "negatives": found.negatives,
        "unsaid": found.unsaid,
        "statement": found.statement,
        "figures": {name: figure(one) for name, one in found.figures.items()},
        "lacking": dict(found.lacking),
        "thresholds": [_at(one) for one in found.at],
        "mistakes": {
            "false_alarms": [_mistake(one) for one in found.false_alarms],
            "misses": [_mistake(one) for one in found.misses],
        },
        "curve": _curve(found),
    }


def _threshold(found: Threshold | None) -> dict[str, Any] | None:
    return None if found is None else {"value": found.value, "scale": found.scale.value}


def _at(found: AtThreshold) -> dict[str, Any]:
    return {
        "name": found.name,
        "threshold": _threshold(found.threshold),
        "hits": found.hits,
        "misses": found.misses,
        "false_alarms": found.false_alarms,
        "passed": found.passed,
        "recall": figure(found.recall),
        "false_positive_rate": figure(found.false_positive_rate),
        "precision": figure(found.precision),
    }


def _mistake(found: Mistake) -> dict[str, Any]:
    margin = found.margin if math.isfinite(found.margin) else None
    return {"file": found.file, "log_odds": found.log_odds, "margin": margin}


def _curve(found: CategoryResult) -> list[dict[str, float]]:
    """Points of both curves, evenly over the steps of recall; empty without figures."""
    if found.statement:
        return []
    ranking = Ranking(found.log_odds, found.positive)
    steps = ranking.steps()
    last = len(ranking.thresholds) - 1
    chosen = np.unique(np.linspace(0, last, CURVE_POINTS).round().astype(int)).tolist()
    share = precision(steps)[0]
    return [
        {
            "log_odds": float(ranking.thresholds[step]),
            "recall": float(steps.true[0, step] / steps.positives[0, 0]),
            "false_positive_rate": float(steps.false[0, step] / steps.negatives[0, 0]),
            "precision": float(share[step]),
        }
        for step in chosen
    ]


def slices(found: Slices) -> dict[str, Any]:
    """Every slice of every category."""
    return {
        "tests": found.tests,
        "level": found.level,
        "gaps": found.gaps(),
        "notes": list(found.notes),
        "tables": [
            {
                "column": table.column,
                "category": table.category,
                "rows": [
                    {
                        "value": row.value,
                        "positives": row.positives,
                        "negatives": row.negatives,
                        "recall": figure(row.recall),
                        "false_positive_rate": figure(row.false_positive_rate),
                        "recall_gap": _gap(row.recall_gap),
                        "false_positive_gap": _gap(row.false_positive_gap),
                    }
                    for row in table.rows
                ],
            }
            for table in found.tables
        ],
    }


def _gap(found: Gap | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"difference": found.difference, "p": found.p, "flagged": found.flagged}


def comparison(found: Comparison) -> dict[str, Any]:
    """One choice of the policy against its alternative."""
    return {
        "id": found.id,
        "question": found.question,
        "first": found.first,
        "second": found.second,
        "method": found.method,
        "mean": {name: _compared(one) for name, one in found.mean.items()},
        "categories": [
            {
                "id": row.category,
                "pictures": row.pictures,
                "measures": {name: _compared(one) for name, one in row.measures.items()},
                "note": row.note,
            }
            for row in found.rows
        ],
    }


def _compared(found: Compared) -> dict[str, Any]:
    return {
        "first": found.first,
        "second": found.second,
        "difference": figure(found.difference),
    }
