"""The hash chain over an item's decisions: what was recorded cannot be altered unnoticed.

Each decision's hash covers all its fields and the hash before it; the item keeps the number
of its decisions and the last hash, so that a cut tail is noticed too. Knows rows only. A
person who may write the whole database can recompute every hash: the chain detects damage
and edits, it does not prevent them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence

from imagesieve_server.review_queue.rows import DecisionRow, ItemRow


def hash_of(row: DecisionRow) -> str:
    """sha256 hex over every field but ``hash``, as canonical JSON."""
    fields = {name: value for name, value in dataclasses.asdict(row).items() if name != "hash"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(row: DecisionRow) -> DecisionRow:
    """The row with its hash."""
    return dataclasses.replace(row, hash=hash_of(row))


def problems(item: ItemRow, decisions: Sequence[DecisionRow]) -> tuple[str, ...]:
    """What is wrong with an item's chain, by decision; empty where it is whole."""
    found: list[str] = []
    previous = ""
    for position, row in enumerate(decisions, start=1):
        where = f"decision {position} of item {item.item_id}"
        if row.seq != position:
            found.append(f"{where}: has number {row.seq}")
        if row.prev_hash != previous:
            found.append(f"{where}: does not follow the one before it")
        if row.hash != hash_of(row):
            found.append(f"{where}: its fields do not match its hash")
        previous = row.hash
    if len(decisions) != item.decisions or previous != item.chain_head:
        found.append(f"item {item.item_id}: the chain does not end where the item says")
    return tuple(found)
