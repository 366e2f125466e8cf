"""Compiled policies of one category, and the model they are for."""

from __future__ import annotations

import numpy as np

from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.core.views import Preprocessing
from imagesieve_server.policy_files import compiled
from imagesieve_server.policy_files.source import parse_policy

SPEC = EncoderSpec(
    fingerprint="f" * 64,
    name="tiny",
    embedding_size=3,
    preprocessing=Preprocessing(size=8),
    logit_scale=100.0,
    logit_bias=0.0,
    precision="fp32",
    provider="CPUExecutionProvider",
)

_YAML = """\
name: {name}
neutral: [a cat]
coverage: {coverage}
categories:
  - {{id: weapons, severity: {severity}, prompts: [a gun, a sword], review_at: {review_at}}}
on_unavailable: {unavailable}
"""


def artefact(
    name: str = "demo",
    *,
    review_at: float = 0.6,
    coverage: str = "tiles",
    unavailable: str = "hold",
    severity: int = 3,
    fingerprint: str = SPEC.fingerprint,
) -> bytes:
    """The bytes of a ``.policy.npz`` file; its prompts are the axes of three dimensions."""
    text = _YAML.format(
        name=name,
        review_at=review_at,
        coverage=coverage,
        unavailable=unavailable,
        severity=severity,
    )
    source = parse_policy(text, file=f"{name}.yaml")
    return compiled.build(
        source=source,
        file=f"/somewhere/{name}.yaml",
        model_fingerprint=fingerprint,
        logit_scale=100.0,
        logit_bias=0.0,
        vectors=dict(zip(source.prompt_texts(), np.eye(3, dtype=np.float32), strict=True)),
    )
