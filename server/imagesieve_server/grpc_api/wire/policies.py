"""Policies in force to messages."""

from __future__ import annotations

from imagesieve.v1 import policy_pb2
from imagesieve_server.core.policy import Category, Policy
from imagesieve_server.grpc_api.wire import enums
from imagesieve_server.grpc_api.wire.moderation import threshold_of


def policy_of(policy: Policy, *, is_default: bool, with_source: bool) -> policy_pb2.Policy:
    """A policy as a message, with the text people wrote only where asked for."""
    return policy_pb2.Policy(
        name=policy.name,
        version=policy.version,
        model_version=policy.model_fingerprint,
        categories=[_category(category) for category in policy.categories],
        on_undecodable=policy.on_undecodable,
        on_partial_coverage=policy.on_partial_coverage,
        on_unavailable=policy.on_unavailable,
        coverage=policy.coverage,
        is_default=is_default,
        source=policy.source if with_source else "",
    )


def _category(category: Category) -> policy_pb2.PolicyCategory:
    return policy_pb2.PolicyCategory(
        id=category.id,
        title=category.title,
        severity=category.severity,
        mode=enums.MODES[category.mode],
        method=category.method,
        review_threshold=threshold_of(category.thresholds.review_at),
        block_threshold=threshold_of(category.thresholds.block_at),
    )
