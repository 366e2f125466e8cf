"""Look-alikes join a group when they arrive, and are found with their decisions later."""

from __future__ import annotations

from typing import Any, cast

import pytest

from helpers.review_queue import Desk
from imagesieve_server.core.errors import InvalidRequest, ItemNotFound
from imagesieve_server.core.review import Item, Outcome
from imagesieve_server.core.review_afterwards import EraseRequest
from imagesieve_server.review_queue.group_rows import PictureHashRow
from imagesieve_server.review_queue.grouping import LOOK_AT, LOOK_AT_ALL, TOGETHER, neighbours
from imagesieve_server.review_queue.rows import Transaction

SEED = "0123456789abcdef" * 4


BY_BAND = [(row, (row + band) % 16) for band in range(16) for row in range(16)]


def flipped(count: int, *, start: int = 0, bits: str = SEED) -> str:
    """The hash with so many bits changed, band after band."""
    value = int(bits, 16)
    for row, column in BY_BAND[start : start + count]:
        value ^= 1 << 255 - (16 * row + column)
    return f"{value:064x}"


def keep(desk: Desk, name: str, bits: str = SEED, **fields: Any) -> Item:
    return desk.item(desk.keep(name, picture_hash=bits, **fields).item_id)


def similar(desk: Desk, item: Item, *, limit: int = 10) -> list[tuple[str, Outcome, int]]:
    found = desk.store.similar(tenant="t", item_id=item.item_id, limit=limit)
    return [(alike.item.item_id, alike.decision.outcome, alike.distance) for alike in found]


def decide(desk: Desk, item: Item, outcome: Outcome = Outcome.REJECT) -> None:
    desk.decide(desk.lease(item_id=item.item_id), outcome)


def test_a_flag_joins_the_group_of_the_seed_that_it_looks_like(desk: Desk) -> None:
    seed = keep(desk, "r1")
    assert seed.group_id == seed.item_id
    assert keep(desk, "r2").group_id == seed.item_id
    assert keep(desk, "r3", flipped(31)).group_id == seed.item_id
    stranger = keep(desk, "r4", flipped(32))
    assert stranger.group_id == stranger.item_id
    assert keep(desk, "r5", "").group_id == ""


def test_the_nearest_of_several_seeds_counts(desk: Desk) -> None:
    keep(desk, "r1")
    other = keep(desk, "r2", flipped(32))
    assert keep(desk, "r3", flipped(31)).group_id == other.item_id  # 31 bits from r1, 1 from it
    far = keep(desk, "r4", flipped(62))
    assert far.group_id == other.item_id


def test_a_chain_of_small_steps_does_not_lead_away_from_the_seed(desk: Desk) -> None:
    seed = keep(desk, "r0")
    steps = [keep(desk, f"r{number}", flipped(16 * number)) for number in (1, 2)]
    assert steps[0].group_id == seed.item_id
    assert steps[1].group_id == steps[1].item_id  # 16 bits from r1, 32 from the seed


def test_flags_of_one_commit_find_each_other(desk: Desk) -> None:
    flags = [desk.flag(f"r{n}", picture_hash=flipped(n % 3)) for n in range(9)]
    items = [desk.item(result.item_id) for result in desk.store.record(flags)]  # type: ignore[union-attr]
    assert {item.group_id for item in items} == {items[0].item_id}


def test_groups_are_a_tenant_s_and_a_policy_s_own(desk: Desk) -> None:
    seed = keep(desk, "r1")
    assert keep(desk, "r2", policy="other").group_id != seed.group_id
    result = desk.keep("r3", tenant="u", picture_hash=SEED)
    assert desk.store.get(tenant="u", item_id=result.item_id).group_id == result.item_id


def test_a_sample_belongs_to_no_group_until_a_flag_joins_it(desk: Desk) -> None:
    sample = {"audit": True, "inclusion_probability": 0.1}
    first = keep(desk, "s1", content="a", **sample)
    assert first.group_id == ""
    flag = keep(desk, "r1")
    assert flag.group_id == flag.item_id  # a sample is nobody's seed
    assert keep(desk, "r2", content="a").group_id == flag.item_id
    assert desk.item(first.item_id).group_id == flag.item_id


def test_a_sample_that_a_flag_joins_may_be_a_seed(desk: Desk) -> None:
    sample = keep(desk, "s1", content="a", audit=True, inclusion_probability=0.1)
    keep(desk, "r1", content="a")
    assert keep(desk, "r2").group_id == sample.item_id


def test_past_decisions_on_look_alikes_are_found_the_nearest_first(desk: Desk) -> None:
    first, second, third = (keep(desk, f"r{n}", flipped(n)) for n in (3, 1, 2))
    open_one = keep(desk, "r4", flipped(1))
    mine = keep(desk, "r5")
    for item, outcome in ((first, Outcome.APPROVE), (second, Outcome.REJECT)):
        decide(desk, item, outcome)
        desk.clock.advance(1.0)
    decide(desk, third)
    assert similar(desk, mine) == [
        (second.item_id, Outcome.REJECT, 1),
        (third.item_id, Outcome.REJECT, 2),
        (first.item_id, Outcome.APPROVE, 3),
    ]
    assert len(similar(desk, mine, limit=1)) == 1
    assert similar(desk, open_one)[0][0] == second.item_id


def test_samples_find_and_are_found_as_flags_are(desk: Desk) -> None:
    """Whoever reviews must not tell them apart."""
    sample = keep(desk, "s1", content="a", audit=True, inclusion_probability=0.1)
    flag = keep(desk, "r1", flipped(1))
    decide(desk, flag)
    assert [entry[0] for entry in similar(desk, sample)] == [flag.item_id]
    decide(desk, sample)
    assert [entry[0] for entry in similar(desk, keep(desk, "r2"))] == [
        sample.item_id, flag.item_id,
    ]  # fmt: skip


def test_what_was_erased_is_not_found_any_more_and_begins_no_group(desk: Desk) -> None:
    seed, member = keep(desk, "r1"), keep(desk, "r2", flipped(1))
    decide(desk, seed)
    desk.store.erase(EraseRequest(tenant="t", reason="law", sha256=seed.sha256))
    assert similar(desk, member) == []
    again = keep(desk, "r3", flipped(2))
    assert again.group_id == again.item_id
    assert desk.item(member.item_id).group_id == seed.item_id


def test_another_tenant_s_item_cannot_be_asked_about(desk: Desk) -> None:
    result = desk.keep("r1", tenant="u", picture_hash=SEED)
    with pytest.raises(ItemNotFound):
        desk.store.similar(tenant="t", item_id=result.item_id, limit=5)


def test_what_is_no_hash_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidRequest):
        desk.keep("r1", picture_hash="0123")


class Counting:
    """The part of a transaction that is asked for index entries; knows how many it may read."""

    def __init__(self) -> None:
        self.limits: list[int] = []

    def filed_under(self, tenant: str, keys: object, *, limit: int) -> dict[str, PictureHashRow]:
        self.limits.append(limit)
        return {}


def test_what_a_crowd_that_shares_bands_costs_one_flag_is_bounded() -> None:
    """Or whoever makes thousands of pictures for it slows the flags of all tenants."""
    tx = Counting()
    for count in (1, 2, TOGETHER):
        wanted = [f"{number:064x}" for number in range(count)]
        neighbours(cast(Transaction, tx), "t", wanted, within=31)
    assert tx.limits == [LOOK_AT, 2 * LOOK_AT, LOOK_AT_ALL]
    assert LOOK_AT * 16 <= LOOK_AT_ALL
