"""Which group a flag belongs to when it arrives, and what past items look like one.

Knows hashes and the index they are found by. A flag joins the group whose seed it looks like
most, or becomes the seed of its own; it is never compared with other members, so that no chain
of small steps leads away from the seed. Audit samples are filed to be found, and belong to no
group: each is to be looked at for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from imagesieve_server.core.groups import Alike
from imagesieve_server.core.near_duplicates import (
    MATCH_DISTANCE,
    Grouping,
    bands,
    distance,
)
from imagesieve_server.core.review import DecisionRecord, Flag, Item, State
from imagesieve_server.review_queue import moves, reading
from imagesieve_server.review_queue.group_rows import PictureHashRow
from imagesieve_server.review_queue.rows import ItemRow, Transaction

LOOK_AT = 1024
"""Index entries that a look for one picture's neighbours reads at most: what a crowd made to share
its bands can cost each flag."""
LOOK_AT_ALL = 16_384
"""Index entries that a look for several pictures together reads at most."""
TOGETHER = 64
"""Pictures whose neighbours are looked for in one statement."""
GROUPS_MAX = 16
MEMBERS_MAX = 64
"""Groups, and decided members of each, that a look for similar items reads at most."""


@dataclass(slots=True, kw_only=True)
class Groups:
    """One tenant's part of a group of flags, while it is folded."""

    tx: Transaction
    tenant: str
    grouping: Grouping | None  # None: nothing is compared
    found: dict[str, list[PictureHashRow]] = field(default_factory=dict)  # filed near these bits
    seeds: list[PictureHashRow] = field(default_factory=list)  # made in this fold
    added: list[PictureHashRow] = field(default_factory=list)
    changed: list[PictureHashRow] = field(default_factory=list)

    def look_up(self, flags: Sequence[Flag]) -> None:
        """Find the seeds that these flags look like, all of them in a few statements."""
        if self.grouping is not None:
            wanted = sorted({flag.picture_hash for flag in flags if flag.picture_hash})
            within = self.grouping.distance
            self.found = neighbours(self.tx, self.tenant, wanted, within=within)

    def of_new(self, item: ItemRow, *, bits: str, policy: str) -> ItemRow:
        """A new item with its group, where its picture may be compared."""
        if self.grouping is None or not bits:
            return item
        row = PictureHashRow(
            tenant=self.tenant,
            item_id=item.item_id,
            bits=bits,
            policy=policy,
            filed=True,
            seed=False,
        )
        if item.audit:
            self.added.append(row)
            return item
        seed = self._seed_of(bits, policy)
        if seed is None:
            row = seed = replace(row, seed=True)
            self.seeds.append(row)
        else:
            row = replace(row, filed=False)
        self.added.append(row)
        return replace(item, group_id=seed.item_id)

    def of_risen(self, item: ItemRow, *, policy: str) -> ItemRow:
        """An audit sample that a flag has joined, and which is that flag from now on."""
        known = self._known(item.item_id)
        if self.grouping is None or known is None:
            return item
        seed = self._seed_of(known.bits, policy)
        if seed is None:
            seed = replace(known, seed=True, policy=policy)
            self.seeds.append(seed)
            self.changed.append(seed)
        return replace(item, group_id=seed.item_id)

    def write(self) -> None:
        """After the items."""
        changed = {row.item_id: row for row in self.changed}
        self.tx.add_hashes([changed.pop(row.item_id, row) for row in self.added])
        for row in changed.values():
            self.tx.change_hash(row)

    def _known(self, item_id: str) -> PictureHashRow | None:
        for row in self.added:
            if row.item_id == item_id:
                return row
        return self.tx.hashes(self.tenant, [item_id]).get(item_id)

    def _seed_of(self, bits: str, policy: str) -> PictureHashRow | None:
        assert self.grouping is not None
        within = self.grouping.distance
        if bits not in self.found:  # of a sample whose flag was hashed otherwise
            self.found |= neighbours(self.tx, self.tenant, [bits], within=within)
        near = [
            (far, row.item_id, row)
            for row in (*self.found[bits], *self.seeds)
            if row.seed and row.policy == policy and (far := distance(row.bits, bits)) <= within
        ]
        return min(near, key=lambda entry: entry[:2])[2] if near else None


def neighbours(
    tx: Transaction, tenant: str, wanted: Sequence[str], *, within: int
) -> dict[str, list[PictureHashRow]]:
    """Filed hashes within so many bits of each of these, as far as they share a band."""
    near: dict[str, list[PictureHashRow]] = {}
    for some in (wanted[at : at + TOGETHER] for at in range(0, len(wanted), TOGETHER)):
        keys = {key for bits in some for key in bands(bits)}
        found = tx.filed_under(tenant, keys, limit=min(LOOK_AT * len(some), LOOK_AT_ALL))
        filed = [(int(row.bits, 16), row) for row in found.values()]
        for bits in some:
            value = int(bits, 16)
            near[bits] = [row for f, row in filed if (f ^ value).bit_count() <= within]
    return near


def similar(tx: Transaction, *, tenant: str, item_id: str, limit: int) -> list[Alike]:
    """Decided items that look like this one, with their decisions: the nearest first, of
    equally near ones the last decided. Of a large group some members.

    Raises ItemNotFound.
    """
    moves.require_item(tx, tenant, item_id)
    mine = tx.hashes(tenant, [item_id]).get(item_id)
    if mine is None:
        return []
    near = neighbours(tx, tenant, [mine.bits], within=MATCH_DISTANCE)[mine.bits]
    near.sort(key=lambda row: (distance(row.bits, mine.bits), row.item_id))
    wanted = {row.item_id for row in near}
    for row in [row for row in near if row.seed][:GROUPS_MAX]:
        wanted |= set(tx.latest_decided(tenant, row.item_id, limit=MEMBERS_MAX))
    wanted.discard(item_id)
    return _alike(tx, tenant, mine.bits, sorted(wanted), limit)


def _alike(
    tx: Transaction, tenant: str, bits: str, item_ids: Sequence[str], limit: int
) -> list[Alike]:
    decided = {
        row.item_id: row
        for row in tx.items(tenant, item_ids).values()
        if row.state is State.DECIDED
    }
    hashes = tx.hashes(tenant, sorted(decided))
    ranked = sorted(
        (distance(row.bits, bits), -(decided[row.item_id].decided_at or 0.0), row.item_id)
        for row in hashes.values()
    )
    ranked = [entry for entry in ranked if entry[0] <= MATCH_DISTANCE][:limit]
    items = reading.items_of(tx, tenant, [decided[item_id] for _, _, item_id in ranked])
    return [
        Alike(item=item, decision=_in_effect(item), distance=far)
        for item, (far, _, _) in zip(items, ranked, strict=True)
    ]


def _in_effect(item: Item) -> DecisionRecord:
    """The last effective decision; a decided item has one."""
    return next(row for row in reversed(item.decisions) if row.effective)
