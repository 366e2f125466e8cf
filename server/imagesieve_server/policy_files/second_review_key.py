"""The policy file's key ``second_review``: how many items two people review, blind."""

from __future__ import annotations

from collections.abc import Sequence

from imagesieve_server.core.second_review import SecondReview
from imagesieve_server.policy_files.yaml_reader import Node

_KEYS = ("share", "per_category")
_CATEGORY_KEYS = ("id", "share")


def read_second_review(top: Node, known: Sequence[str]) -> SecondReview | None:
    """None without the key; ``known`` are the policy's categories. Raises PolicyError."""
    if not top.has("second_review"):
        return None
    node = top.child("second_review")
    node.only(_KEYS)
    categories: dict[str, float] = {}
    for entry in node.children("per_category") if node.has("per_category") else ():
        entry.only(_CATEGORY_KEYS)
        category = entry.text("id")
        if category not in known:
            raise entry.error("id", f"the policy has no category {category!r}")
        if category in categories:
            raise entry.error("id", f"category {category!r} stands twice")
        categories[category] = _share(entry)
    return SecondReview(share=_share(node), categories=tuple(categories.items()))


def _share(node: Node) -> float:
    """A probability; 0 is "never", which a category may want."""
    share = node.number("share")
    if not 0.0 <= share <= 1.0:
        raise node.error("share", f"must lie between 0 and 1, not {share:g}")
    return share
