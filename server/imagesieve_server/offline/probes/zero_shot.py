"""What a category's prompts say of pictures, without compiling the whole policy.

The rest of a policy may name a probe that is yet to be learned.
"""

from __future__ import annotations

import numpy as np

from imagesieve_server.core.policy import Category, Method, Policy, PromptGroup
from imagesieve_server.core.scoring import Doubles, logits_of
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.offline.compile_policy import EncodeTexts, ensemble
from imagesieve_server.offline.probes.head import Bags
from imagesieve_server.policy_files.source import CategorySource, PolicySource


def prompt_log_odds(
    source: PolicySource,
    category: CategorySource,
    bags: Bags,
    *,
    bundle: Bundle,
    encode_texts: EncodeTexts,
) -> Doubles | None:
    """The category's log-odds [N] (its cosine with method cosine) as the policy has it now.

    None where it has no prompts because it has a probe already.
    """
    if category.method is Method.PROBE:
        return None
    texts = (*source.neutral, *category.prompts, *category.counter_prompts)
    vectors = ensemble(tuple(dict.fromkeys(texts)), source.templates, encode_texts)

    def group(names: tuple[str, ...]) -> PromptGroup:
        if not names:
            return PromptGroup(texts=(), vectors=np.zeros((0, 0), dtype=np.float32))
        return PromptGroup(texts=names, vectors=np.stack([vectors[name] for name in names]))

    built = Category(
        id=category.id,
        title=category.title,
        severity=category.severity,
        mode=category.mode,
        method=category.method,
        pooling=category.pooling,
        prompts=group(category.prompts),
        counter_prompts=group(category.counter_prompts),
        thresholds=category.thresholds,
    )
    policy = Policy(
        name=source.name,
        version="",
        model_fingerprint=bundle.fingerprint,
        logit_scale=float(bundle.manifest.logit_scale),
        logit_bias=float(bundle.manifest.logit_bias),
        neutral=group(source.neutral),
        categories=(built,),
    )
    views = logits_of(policy, built, bags.vectors)[1]
    return np.asarray(np.maximum.reduceat(views, bags.starts), dtype=np.float64)
