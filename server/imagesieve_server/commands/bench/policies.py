"""The policies of the servers that are measured: as many prompts as a real one has, and no flags.

Every image is compared with all prompts, so a policy of a few words would measure less than is
served. The starters fit that: each category is observed, which scores it and flags nothing, so
that no review queue is measured by accident.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from imagesieve_server.core.views import Coverage, Embeddings
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.manifest import Activation
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.offline.compile_policy import compile_policy
from imagesieve_server.starter_policies import STARTERS


def write_policies(folder: Path, bundle: Bundle) -> Path:
    """The starter for the bundle's kind of model, one compiled for each coverage and named after
    it; the folder they are in. Takes as long as the bundle takes for some 250 texts."""
    policies = folder / f"policies-{bundle.fingerprint[:12]}"
    if policies.exists():
        return policies
    policies.mkdir()
    encoder = OnnxTextEncoder(bundle=bundle)

    @functools.cache  # all coverages have the same prompts
    def encoded(texts: tuple[str, ...]) -> Embeddings:
        return encoder.encode(texts)

    for coverage in Coverage:
        source = folder / f"{coverage.value}.yaml"
        source.write_text(
            json.dumps(measured(bundle.manifest.activation, coverage)), encoding="utf-8"
        )
        compile_policy(
            source_path=source,
            bundle=bundle,
            encode_texts=lambda texts: encoded(tuple(texts)),
            out=policies / f"{coverage.value}.policy.npz",
        )
    return policies


def measured(activation: Activation, coverage: Coverage) -> dict[str, Any]:
    """The starter's YAML, which is JSON as well. In one template: how often a prompt was worded
    is in its vector, and no image pays for it."""
    clip, siglip = STARTERS
    starter = clip if activation is Activation.SOFTMAX else siglip
    found = YAML(typ="safe", pure=True).load(starter.read_text(encoding="utf-8"))
    return {
        **found,
        "name": coverage.value,
        "coverage": coverage.value,
        "templates": ["{}"],
        "on_partial_coverage": "report",  # of `centre` every picture that is not square
    }
