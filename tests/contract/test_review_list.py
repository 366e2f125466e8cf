"""What can be asked of the queue: items, pages, figures."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.review_queue import Desk
from imagesieve_server.core.errors import InvalidRequest, ItemNotFound
from imagesieve_server.core.review import Item, ListRequest, State
from imagesieve_server.core.verdict import ReasonCode


def listed(desk: Desk, **fields: Any) -> list[Item]:
    """All pages, one after the other."""
    asked = ListRequest(**{"tenant": "t", "page_size": 2, **fields})
    found: list[Item] = []
    while True:
        page = desk.store.list(asked)
        assert len(page.items) <= asked.page_size
        found += page.items
        if not page.next_page_token:
            return found
        asked = ListRequest(
            **{"tenant": "t", "page_size": 2, **fields, "page_token": page.next_page_token}
        )


def names(items: list[Item]) -> list[str]:
    return [item.content_ref.removeprefix("content of ") for item in items]


def fill(desk: Desk) -> None:
    """r0 decided, r1 leased, r2 to r6 ready, one of another category and one tenant."""
    for n in range(7):
        category = "nudity" if n == 4 else "weapons"
        desk.keep(f"r{n}", category=category)
        desk.clock.advance(1.0)
    desk.keep("theirs", tenant="other")
    desk.decide(desk.lease())
    desk.lease()


def test_pages_hold_every_open_item_once_in_order_of_arrival(desk: Desk) -> None:
    fill(desk)
    assert names(listed(desk)) == ["r1", "r2", "r3", "r4", "r5", "r6"]


def test_a_list_is_filtered_by_state_and_category(desk: Desk) -> None:
    fill(desk)
    assert names(listed(desk, states=(State.DECIDED,))) == ["r0"]
    assert names(listed(desk, states=(State.LEASED, State.DECIDED))) == ["r0", "r1"]
    assert names(listed(desk, category="nudity")) == ["r4"]
    assert names(listed(desk, states=(State.PARKED,))) == []


def test_a_list_is_filtered_by_any_of_an_items_reasons(desk: Desk) -> None:
    unscored, block = ReasonCode.UNSCORED, ReasonCode.CATEGORY_BLOCK
    desk.keep("r1")
    desk.keep("r2", reasons=(unscored,))
    desk.keep("r3", reasons=(ReasonCode.CATEGORY_REVIEW, block))
    assert names(listed(desk, reason=unscored)) == ["r2"]
    assert names(listed(desk, reason=block)) == ["r3"]
    assert sorted(names(listed(desk, reason=ReasonCode.CATEGORY_REVIEW))) == ["r1", "r3"]
    assert names(listed(desk, reason=ReasonCode.UNDECODABLE)) == []


def test_a_sample_that_a_flag_joined_is_listed_under_the_flags_reason(desk: Desk) -> None:
    desk.keep("sample", "bytes", audit=True, reasons=(ReasonCode.AUDIT_SAMPLE,))
    desk.keep("flag", "bytes")
    assert listed(desk, reason=ReasonCode.AUDIT_SAMPLE) == []
    assert names(listed(desk, reason=ReasonCode.CATEGORY_REVIEW)) == ["flag"]


def test_a_list_is_filtered_by_age(desk: Desk) -> None:
    for n in range(4):  # 30, 20, 10 and 0 seconds old in the end
        desk.keep(f"r{n}")
        desk.clock.advance(10.0 if n < 3 else 0.0)
    assert names(listed(desk, min_age_s=15.0)) == ["r0", "r1"]
    assert names(listed(desk, max_age_s=15.0)) == ["r2", "r3"]
    assert names(listed(desk, min_age_s=5.0, max_age_s=25.0)) == ["r1", "r2"]
    with pytest.raises(InvalidRequest):
        listed(desk, min_age_s=float("nan"))


def test_blind_items_are_left_out_where_what_is_asked_may_not_be_told(desk: Desk) -> None:
    desk.keep("r1", blind=True)
    desk.keep("r2")
    assert sorted(names(listed(desk))) == ["r1", "r2"]
    assert names(listed(desk, told_only=True)) == ["r2"]


def test_a_page_looks_at_so_many_items_and_the_next_goes_on_behind_them(desk: Desk) -> None:
    """However rare what is asked for, each is found once, over several states."""
    for n in range(30):
        desk.keep(f"r{n}", category="rare" if n in (4, 5, 17, 29) else "weapons")
        desk.clock.advance(1.0)
    desk.claim(categories=("rare",))
    for look_at in (1, 2, 3, 7, 29, 30, 31):
        found = listed(desk, category="rare", look_at=look_at)
        assert names(found) == ["r4", "r5", "r17", "r29"]
    first = desk.store.list(ListRequest(tenant="t", category="rare", look_at=3, page_size=50))
    assert first.items == ()
    assert first.next_page_token


def test_items_that_arrived_at_the_same_moment_are_each_listed_once(desk: Desk) -> None:
    for n in range(9):
        desk.keep(f"r{n}")
    assert sorted(names(listed(desk))) == [f"r{n}" for n in range(9)]


def test_a_change_between_pages_neither_hides_nor_repeats_others(desk: Desk) -> None:
    fill(desk)
    first = desk.store.list(ListRequest(tenant="t", page_size=3))
    desk.keep("urgent", severity=4)
    desk.keep("r5 again", "r5", severity=4)
    rest = listed(desk, page_token=first.next_page_token, page_size=3)
    assert names([*first.items, *rest]) == ["r1", "r2", "r3", "r4", "r5", "r6", "urgent"]


def test_a_full_last_page_has_no_next(desk: Desk) -> None:
    for n in range(4):
        desk.keep(f"r{n}")
    page = desk.store.list(ListRequest(tenant="t", page_size=4))
    assert len(page.items) == 4
    assert page.next_page_token == ""


@pytest.mark.parametrize(
    "token",
    ["nonsense", "e30=", "WzEsMl0=", "WyJ4IiwgMS4wLCAieSJd", "ÿ", "a", "bnVsbA==", '["x",1,"y"]'],
)
def test_a_page_token_that_is_not_ours_is_refused(desk: Desk, token: str) -> None:
    fill(desk)
    with pytest.raises(InvalidRequest):
        desk.store.list(ListRequest(tenant="t", page_token=token))


def test_a_page_token_is_good_for_its_own_question_only(desk: Desk) -> None:
    fill(desk)
    token = desk.store.list(ListRequest(tenant="t", page_size=2)).next_page_token
    others: list[dict[str, Any]] = [
        {"tenant": "other"},
        {"category": "nudity"},
        {"states": (State.LEASED,)},
        {"reason": ReasonCode.UNSCORED},
        {"min_age_s": 1.0},
    ]
    for other in others:
        with pytest.raises(InvalidRequest):
            desk.store.list(ListRequest(**{"tenant": "t", "page_token": token, **other}))


@pytest.mark.parametrize("size", [0, -1])
def test_an_impossible_page_size_is_refused(desk: Desk, size: int) -> None:
    with pytest.raises(InvalidRequest):
        desk.store.list(ListRequest(tenant="t", page_size=size))


def test_a_very_large_page_size_is_cut(desk: Desk) -> None:
    desk.keep("r1")
    assert len(desk.store.list(ListRequest(tenant="t", page_size=10**9)).items) == 1


def test_stats_count_open_items_per_tenant_and_over_all(desk: Desk) -> None:
    fill(desk)
    start = desk.clock() - 7.0
    stats = desk.store.stats(tenant="t")
    assert stats.by_state == {State.READY: 5, State.LEASED: 1, State.PARKED: 0}
    assert stats.oldest_ready_at == start + 2.0
    assert stats.now == desk.clock()
    assert desk.store.stats(tenant=None).by_state[State.READY] == 6
    assert desk.store.stats(tenant="nobody").by_state[State.READY] == 0
    assert desk.store.stats(tenant="nobody").oldest_ready_at is None


def test_parked_items_are_counted(desk: Desk) -> None:
    desk.keep("r1")
    desk.park()
    assert desk.store.stats(tenant="t").by_state[State.PARKED] == 1


def test_an_unknown_item_is_not_found(desk: Desk) -> None:
    with pytest.raises(ItemNotFound):
        desk.item("none")
    with pytest.raises(ItemNotFound):
        desk.store.history(tenant="t", item_id="none")
    with pytest.raises(ItemNotFound):
        desk.store.chain_problems(tenant="t", item_id="none")
    with pytest.raises(InvalidRequest):
        desk.item("nul \x00")
