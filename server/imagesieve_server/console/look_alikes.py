"""The word beside an item that it is one of many that look alike.

Knows whom it may be told: of a blind item it is kept back, since samples belong to no group.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from imagesieve_server.console.shown import is_withheld
from imagesieve_server.core.errors import ImagesieveError
from imagesieve_server.core.ports import ReviewGroups
from imagesieve_server.core.review import Item

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAlikes:
    """The group that an item belongs to."""

    group_id: str
    members: int
    waiting: int


async def look_alikes_of(
    groups: ReviewGroups, item: Item, *, reader: str = ""
) -> LookAlikes | None:
    """None where there is nobody else in it, it must not be told to the account ``reader``, or
    the queue does not answer: the item stays reviewable."""
    if not item.group_id or is_withheld(item, reader=reader):
        return None
    try:
        found = await groups.summary(tenant=item.tenant, group_id=item.group_id)
    except ImagesieveError as error:
        log.warning("a group cannot be looked up: %s", error)
        return None
    members = sum(found.by_state.values())
    if members < 2:
        return None
    return LookAlikes(group_id=item.group_id, members=members, waiting=found.waiting)
