"""What a category's log-odds depend on, as a short digest.

A calibration is a statement about one distribution of log-odds: that of one model, of these
prompts, and of pictures looked at in this way. Where any of them changes, the digest does, and a
compile warns. The order of prompts changes nothing and is left out of it.
"""

from __future__ import annotations

import hashlib
import json

from imagesieve_server.core.policy import Method, Probe
from imagesieve_server.policy_files.source import CategorySource, PolicySource


def fitted_on(
    source: PolicySource,
    category: CategorySource,
    *,
    model_fingerprint: str,
    probe: Probe | None = None,
) -> str:
    """The digest, 12 hex digits. ``probe`` is the head of a category with that method."""
    facts: dict[str, object] = {
        "model": model_fingerprint,
        "method": category.method.value,
        "coverage": source.coverage.value,
        "max_views": source.max_views,
    }
    if probe is not None:
        facts["probe"] = [probe.weights.tolist(), probe.bias]
    else:
        facts["pooling"] = category.pooling.value
        facts["templates"] = sorted(source.templates)
        facts["prompts"] = sorted(category.prompts)
        facts["counter_prompts"] = sorted(category.counter_prompts)
    if category.method is Method.CONTRAST:
        facts["neutral"] = sorted(source.neutral)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def stale(
    source: PolicySource,
    category: CategorySource,
    *,
    model_fingerprint: str,
    probe: Probe | None = None,
) -> str:
    """A warning where the category's calibration was fitted on something else; "" otherwise."""
    written = category.calibration
    if written is None or not written.fitted_on:
        return ""
    now = fitted_on(source, category, model_fingerprint=model_fingerprint, probe=probe)
    if written.fitted_on == now:
        return ""
    return (
        f"category {category.id!r}: prompts, model or views have changed since its calibration "
        "was made, so its probabilities mean nothing now, and thresholds chosen then promise "
        "nothing; run `imagesieve-server calibrate` again or remove `calibration`"
    )
