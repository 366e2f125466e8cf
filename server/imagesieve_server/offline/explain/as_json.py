"""An explanation as JSON values, for other programs."""

from __future__ import annotations

import math
from typing import Any

from imagesieve_server.core.explaining import CategoryExplanation, GroupPull
from imagesieve_server.core.policy import Threshold
from imagesieve_server.core.views import View
from imagesieve_server.core.what_if import WhatIf
from imagesieve_server.offline.explain.looking import Report


def as_json(report: Report) -> dict[str, Any]:
    """Everything that text and picture say. Numbers that are not finite become null."""
    image, explanation = report.image, report.explanation
    return {
        "file": report.file,
        "sha256": report.sha256,
        "policy": report.policy.name,
        "policy_version": report.policy.version,
        "model": report.model.name,
        "model_version": report.model.fingerprint,
        "logit_scale": report.policy.logit_scale,
        "logit_bias": report.policy.logit_bias,
        "verdict": report.judgement.verdict.value,
        "reasons": [
            {"code": reason.code.value, "category": reason.category, "detail": reason.detail}
            for reason in report.judgement.reasons
        ],
        "coverage": None if image is None else image.coverage,
        "views": [] if image is None else [_view(view) for view in image.views],
        "categories": (
            [] if explanation is None else [_category(found) for found in explanation.categories]
        ),
    }


def _view(view: View) -> dict[str, Any]:
    return {
        "kind": view.kind.value,
        "box": list(view.box),
        "frame": view.frame,
        "background": view.background.value,
    }


def _category(found: CategoryExplanation) -> dict[str, Any]:
    score, terms = found.score, found.terms
    return {
        "id": score.category,
        "title": found.category.title,
        "method": found.category.method.value,
        "pooling": found.category.pooling.value,
        "severity": score.severity,
        "mode": score.mode.value,
        "band": score.band.value,
        "score": _number(score.score),
        "log_odds": _number(score.log_odds),
        "probability": _number(score.probability),
        "neutral_score": _number(score.neutral_score),
        "review_at": _threshold(score.threshold),
        "block_at": _threshold(score.block_threshold),
        "distance": _number(score.margin),
        "view": score.view,
        "log_odds_by_view": [None if v is None else _number(v) for v in found.by_view],
        "at_the_view": {
            "score": _number(terms.score),
            "log_odds": _number(terms.log_odds),
            "prompts": _group(terms.prompts),
            "neutral": _group(terms.neutral),
            "counter_prompts": _group(terms.counter),
            "against": _number(terms.against),
            "projection": _number(terms.projection),
        },
        "what_if": [_what_if(change) for change in found.what_if],
    }


def _group(group: GroupPull | None) -> dict[str, Any] | None:
    if group is None:
        return None
    prompts = [{"text": pull.text, "cosine": _number(pull.cosine)} for pull in group.prompts]
    return {"pooled": _number(group.pooled), "prompts": prompts}


def _what_if(found: WhatIf) -> dict[str, Any]:
    return {
        "change": found.change.value,
        "prompt": found.prompt,
        "review_at": _threshold(found.threshold),
        "score": _number(found.score.score),
        "log_odds": _number(found.score.log_odds),
        "band": found.score.band.value,
        "verdict": found.verdict.value,
    }


def _threshold(threshold: Threshold | None) -> dict[str, Any] | None:
    return None if threshold is None else {threshold.scale.value: threshold.value}


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
