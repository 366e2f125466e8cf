"""What of an item's decisions may be seen while people still decide on it.

A second opinion is one only if it is formed without the first. So the words spoken in the
present round stay out of sight while the item is open; who decides in a higher tier settles a
difference and sees both. Earlier rounds are history, which an appeal needs.
"""

from __future__ import annotations

from imagesieve_server.core.review import OPEN, DecisionRecord, Item


def words_shown(item: Item, *, settles: bool) -> tuple[DecisionRecord, ...]:
    """The decisions that may be shown to somebody who decides; ``settles``: in higher tiers."""
    if item.state not in OPEN or (settles and item.tier > 1):
        return item.decisions
    return tuple(record for record in item.decisions if record.round < item.round)


def is_told_of_others(item: Item, *, settles: bool) -> bool:
    """Whether it may be known that the item needs, or needed, more than one reviewer: a person
    who knows that a word will be checked speaks another one."""
    return item.state not in OPEN or (settles and item.tier > 1)


def is_hidden(item: Item, *, reviewer: str, leads: bool) -> bool:
    """Whether somebody who decides must not come upon the item: an item that is golden, whose
    decision is the answer to its copies, and copies made for others. One's own is there as any
    item is, also when it was given back. Leads see all."""
    if leads:
        return False
    return item.golden or (item.golden_of != "" and item.golden_for != reviewer)
