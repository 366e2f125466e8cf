"""A policy with each of its templates alone, to see what averaging over them is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from imagesieve_server.core.policy import Policy, PromptGroup, Vectors
from imagesieve_server.offline.compile_policy import EncodeTexts, ensemble
from imagesieve_server.policy_files.compiled import CompiledPolicy


def single_templates(found: CompiledPolicy, encode_texts: EncodeTexts) -> dict[str, Policy]:
    """Template → the policy whose prompts stand in that one alone."""
    return {
        template: with_vectors(
            found.policy, ensemble(list(found.vectors), [template], encode_texts)
        )
        for template in found.templates
    }


def with_vectors(policy: Policy, vectors: Mapping[str, Vectors]) -> Policy:
    """The policy with other vectors for its prompts, by text."""

    def group(old: PromptGroup) -> PromptGroup:
        if not len(old):
            return old
        return replace(old, vectors=np.stack([vectors[text] for text in old.texts]))

    return replace(
        policy,
        neutral=group(policy.neutral),
        categories=tuple(
            replace(
                category,
                prompts=group(category.prompts),
                counter_prompts=group(category.counter_prompts),
            )
            for category in policy.categories
        ),
    )
