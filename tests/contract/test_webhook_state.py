"""How far an endpoint was told, on every backend: holds, deliveries, dead letters, retention."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from helpers.review_queue import Desk, ManualClock
from helpers.sqlite_steps import steps_of
from imagesieve_server.core.review import Cause, Outcome
from imagesieve_server.core.review_afterwards import ReopenRequest
from imagesieve_server.core.webhook_port import (
    DeadLetter,
    Endpoint,
    Failed,
    Figures,
    Held,
    Holding,
    Page,
    Settlement,
    Work,
)
from imagesieve_server.core.webhook_window import Window
from imagesieve_server.review_queue import webhook_delivery as rules
from imagesieve_server.review_queue import webhook_letters
from imagesieve_server.review_queue.store import RuledStore

DAY = 86400.0
HOOK = Endpoint(tenant="t", name="hook")


@dataclass(kw_only=True)
class Rig:
    """A store with the shortest words for what tests do to it as one server."""

    desk: Desk
    holding: Holding = field(
        default_factory=lambda: Holding(
            holder="one", ttl_s=30.0, give_up_s=3 * DAY, from_oldest=True
        )
    )

    @property
    def store(self) -> RuledStore:
        return self.desk.store

    def decided(self, *names: str) -> None:
        """Each name an item of its own, decided once."""
        for name in names:
            self.desk.keep(name)
            self.desk.decide(self.desk.lease())

    def again(self, item_id: str, outcome: Outcome = Outcome.APPROVE) -> None:
        """The item is contested and decided once more: a further event of the same item."""
        self.store.reopen(ReopenRequest(tenant="t", item_id=item_id, cause=Cause.APPEAL))
        other = f"reviewer {self.desk.claims}"  # nobody judges a contested item twice
        self.desk.decide(self.desk.lease(item_id=item_id, reviewer=other), outcome, reviewer=other)

    def hold(self, holder: str = "one", **fields: object) -> Held | None:
        asked = Holding(**{**self._fields(), "holder": holder, **fields})  # type: ignore[arg-type]
        return self.store.transact(lambda tx: rules.hold(tx, HOOK, asked))

    def release(self) -> None:
        self.store.transact(lambda tx: rules.release(tx, HOOK, self.holding))

    def work(self, after: int = 0, fresh: int = 100, due: int = 100) -> Page:
        return self.store.read(lambda tx: rules.work(tx, HOOK, after=after, fresh=fresh, due=due))

    def settle(self, done: Settlement, holder: str = "one") -> bool:
        asked = Holding(**{**self._fields(), "holder": holder})  # type: ignore[arg-type]
        return self.store.transact(lambda tx: rules.settle(tx, HOOK, asked, done))

    def figures(self) -> Figures:
        return self.store.read(lambda tx: rules.figures(tx, HOOK))

    def letters(self) -> list[DeadLetter]:
        return list(webhook_letters.all_letters(self.store.read, HOOK))

    def replay(self, *item_ids: str) -> int:
        return self.store.transact(lambda tx: webhook_letters.replay(tx, HOOK, item_ids))

    def discard(self, *positions: int) -> int:
        return self.store.transact(lambda tx: webhook_letters.discard(tx, HOOK, positions))

    def _fields(self) -> dict[str, object]:
        return {name: getattr(self.holding, name) for name in Holding.__slots__}


@pytest.fixture
def rig(desk: Desk) -> Rig:
    return Rig(desk=desk)


def fail(page: Page, index: int = 0, *, due: bool = False, retry_in_s: float = 5.0) -> Failed:
    work = (page.due if due else page.fresh)[index]
    return Failed(work=work, result="refused (500)", retry_in_s=retry_in_s)


def test_one_holder_at_a_time_until_its_time_is_over(rig: Rig) -> None:
    assert rig.hold("one") is not None
    assert rig.hold("two") is None
    rig.desk.clock.advance(29.0)
    assert rig.hold("one") is not None  # holds on
    rig.desk.clock.advance(29.0)
    assert rig.hold("two") is None
    rig.desk.clock.advance(2.0)
    assert rig.hold("two") is not None
    assert rig.hold("one") is None


def test_who_lets_go_is_followed_at_once(rig: Rig) -> None:
    rig.hold("one")
    rig.release()
    assert rig.hold("two") is not None


def test_who_lost_the_hold_writes_nothing(rig: Rig) -> None:
    rig.decided("r1")
    rig.hold("one")
    rig.desk.clock.advance(31.0)
    assert not rig.settle(Settlement(position=1))  # nobody took it, and yet it is over
    rig.hold("two")
    assert not rig.settle(Settlement(position=1), "one")
    assert rig.hold("two") == Held(position=0, gone="")


def test_a_new_endpoint_begins_now_or_with_the_oldest(rig: Rig) -> None:
    rig.decided("r1", "r2")
    assert rig.hold(from_oldest=True) == Held(position=0, gone="")
    other = Endpoint(tenant="t", name="other")
    begun = Holding(holder="one", ttl_s=30.0, give_up_s=DAY)
    held = rig.store.transact(lambda tx: rules.hold(tx, other, begun))
    assert held == Held(position=2, gone="")


def test_fresh_events_come_in_order_and_only_of_the_tenant(rig: Rig) -> None:
    rig.decided("r1", "r2", "r3")
    rig.desk.keep("foreign", tenant="other")
    rig.desk.decide(rig.desk.lease(tenant="other"))
    page = rig.work(after=1)
    assert [work.event.request_id for work in page.fresh] == ["r2", "r3"]
    assert [work.position for work in page.fresh] == [2, 3]
    assert page.fresh[0].event.content_ref == "content of r2"
    assert page.due == ()
    assert page.next_due_in_s is None


def test_what_failed_comes_again_when_its_time_has_come(rig: Rig) -> None:
    rig.decided("r1")
    rig.hold()
    assert rig.settle(Settlement(position=1, failed=(fail(rig.work()),)))
    page = rig.work(after=1)
    assert (page.due, page.next_due_in_s) == ((), 5.0)
    rig.desk.clock.advance(5.0)
    (due,) = rig.work(after=1).due
    assert (due.event.request_id, due.attempts, due.kept) == ("r1", 1, True)
    rig.settle(Settlement(position=1, told=(due,)))
    assert rig.work(after=1).due == ()
    assert rig.figures().retrying == 0


def test_later_events_of_an_item_wait_behind_the_one_that_failed(rig: Rig) -> None:
    rig.decided("r1")
    (first,) = rig.work().fresh
    rig.again(first.item_id)
    page = rig.work()
    rig.hold()
    rig.settle(Settlement(position=2, failed=(fail(page),), behind=page.fresh[1:]))
    rig.again(first.item_id)
    page = rig.work(after=2)
    assert page.blocked == {first.item_id}
    rig.settle(Settlement(position=3, behind=page.fresh))
    rig.desk.clock.advance(5.0)
    told = []
    while due := rig.work(after=3).due:
        assert len(due) == 1
        told.append(due[0].position)
        rig.settle(Settlement(position=3, told=due))
    assert told == [1, 2, 3]


def test_what_waited_for_something_that_is_done_by_then_is_due(rig: Rig) -> None:
    rig.decided("r1")
    (first,) = rig.work().fresh
    rig.hold()
    rig.settle(Settlement(position=1, failed=(fail(rig.work()),)))
    rig.again(first.item_id)
    page = rig.work(after=1)
    rig.desk.clock.advance(5.0)
    rig.settle(Settlement(position=1, told=rig.work(after=1).due))
    rig.settle(Settlement(position=2, behind=page.fresh))
    assert [work.position for work in rig.work(after=2).due] == [2]


def test_an_event_is_given_up_after_its_time_and_what_waits_behind_it_too(rig: Rig) -> None:
    rig.decided("r1", "r2")
    (first, _) = rig.work().fresh
    rig.again(first.item_id)
    page = rig.work()
    rig.hold()
    rig.settle(Settlement(position=3, failed=(fail(page),), behind=(page.fresh[2],)))
    rig.desk.clock.advance(3 * DAY)
    rig.hold()
    rig.settle(Settlement(position=3, failed=(fail(rig.work(after=3), due=True),)))
    letters = rig.letters()
    assert [(one.position, one.attempts) for one in letters] == [(1, 2), (3, 0)]
    assert [one.result for one in letters] == ["refused (500)", "behind a dead letter"]
    assert rig.work(after=3).due == ()
    rig.again(first.item_id)
    page = rig.work(after=3)
    rig.settle(Settlement(position=4, behind=page.fresh))
    assert [one.position for one in rig.letters()] == [1, 3, 4]


def test_replayed_letters_come_in_order(rig: Rig) -> None:
    test_an_event_is_given_up_after_its_time_and_what_waits_behind_it_too(rig)
    (item_id,) = {one.item_id for one in rig.letters()}
    assert rig.replay("unknown") == 0
    assert rig.replay(item_id) == 3
    assert rig.letters() == []
    told = []
    while due := rig.work(after=4).due:
        assert [work.attempts for work in due] == [0]
        told += [work.position for work in due]
        rig.settle(Settlement(position=4, told=due))
    assert told == [1, 3, 4]
    assert rig.replay(item_id) == 0


def test_what_is_discarded_is_never_told_and_what_comes_later_is(rig: Rig) -> None:
    test_an_event_is_given_up_after_its_time_and_what_waits_behind_it_too(rig)
    (item_id,) = {one.item_id for one in rig.letters()}
    assert rig.discard(1, 99) == 1
    assert [one.position for one in rig.letters()] == [3, 4]
    assert rig.work(after=4).due == (), "what was behind it waits for somebody's word"
    assert rig.discard(3, 4) == 2
    assert rig.discard(3, 4) == 0
    rig.again(item_id)
    page = rig.work(after=4)
    assert ([work.position for work in page.fresh], page.blocked) == ([5], frozenset())


def test_what_is_tried_again_is_not_discarded(rig: Rig) -> None:
    rig.decided("r1")
    rig.hold()
    page = rig.work()
    rig.settle(Settlement(position=1, failed=(fail(page, retry_in_s=0.0),)))
    assert rig.discard(1) == 0
    assert [work.position for work in rig.work(after=1).due] == [1]


def test_retention_makes_dead_letters_of_what_was_not_told(rig: Rig) -> None:
    rig.decided("r1")
    rig.hold()
    page = rig.work()
    rig.again(page.fresh[0].item_id)
    rig.settle(Settlement(position=1, failed=(fail(page),)))
    rig.decided("r2", "r3")
    rig.desk.clock.advance(2 * DAY)
    rig.hold()
    assert rig.store.drop_events(older_than_s=DAY, limit=3) == 3
    # r3's event was not among those dropped; the rest of r1's item waits, in its order.
    assert [one.position for one in rig.letters()] == [1, 2, 3]
    assert rig.hold() == Held(position=3, gone="")
    assert [work.event.request_id for work in rig.work(after=3).fresh] == ["r3"]
    items = sorted({one.item_id for one in rig.letters()})
    assert rig.replay(*items) == 3
    assert [work.position for work in rig.work(after=3).due] == [1, 3]


def test_retention_does_not_wait_for_an_endpoint_that_nobody_serves(rig: Rig) -> None:
    rig.hold()
    rig.decided("r1", "r2")
    rig.desk.clock.advance(3 * DAY)
    rig.store.drop_events(older_than_s=DAY, limit=100)
    assert rig.letters() == []
    assert rig.hold() == Held(position=2, gone="", skipped=2)


def test_what_became_a_dead_letter_meanwhile_stays_one(rig: Rig) -> None:
    rig.decided("r1")
    rig.hold()
    page = rig.work()
    rig.desk.clock.advance(DAY)
    rig.hold()
    rig.store.drop_events(older_than_s=0.5 * DAY, limit=100)
    rig.settle(Settlement(position=1, failed=(fail(page),), behind=page.fresh))
    assert [one.position for one in rig.letters()] == [1]
    assert rig.figures().retrying == 0


def test_an_endpoint_that_answered_gone_is_remembered_until_it_is_served_again(rig: Rig) -> None:
    rig.hold()
    rig.settle(Settlement(position=0, gone="file 1"))
    assert rig.hold() == Held(position=0, gone="file 1")
    rig.settle(Settlement(position=0))
    assert rig.hold() == Held(position=0, gone="")


def test_when_an_endpoint_is_back_its_deliveries_come_at_once(rig: Rig) -> None:
    rig.decided("r1", "r2")
    rig.hold()
    page = rig.work()
    failed = tuple(fail(page, index, retry_in_s=1800.0) for index in range(2))
    rig.settle(Settlement(position=2, failed=failed))
    assert rig.work(after=2).due == ()
    rig.settle(Settlement(position=2, recovered=True))
    assert [work.position for work in rig.work(after=2).due] == [1, 2]


def test_one_of_many_uploads_of_a_picture_costs_no_more_to_settle(
    sqlite: RuledStore, clock: ManualClock
) -> None:
    """Each upload has an event of the decision, and all wait behind the first that failed."""
    rig = Rig(desk=Desk(store=sqlite, clock=clock))
    rig.decided("r1")
    rig.hold()
    rig.settle(Settlement(position=1, failed=(fail(rig.work(), retry_in_s=0.0),)))

    def uploads(begin: int, count: int) -> None:
        item_id = rig.work(after=1).due[0].item_id
        with sqlite.backend.write() as tx:
            (first,) = tx.first_deliveries("t", "hook", [item_id])
            behind = replace(first, next_at=None)
            tx.put_deliveries([replace(behind, position=begin + n) for n in range(count)])

    def settle() -> None:
        (work,) = rig.work(after=1).due
        again = Failed(work=work, result="refused (500)", retry_in_s=0.0)
        assert rig.settle(Settlement(position=1, failed=(again,)))
        assert rig.settle(Settlement(position=1, told=(work,)))

    uploads(100, 10)
    settle()  # what is made once is not counted
    few = steps_of(sqlite, settle)
    uploads(1000, 3000)
    many = steps_of(sqlite, settle)
    assert many < 4 * few, (few, many)


def test_figures_say_what_is_open_and_since_when(rig: Rig) -> None:
    assert rig.figures() == Figures(oldest_at=None, retrying=0, dead=0, now=rig.desk.clock.seconds)
    rig.hold()
    rig.decided("r1")
    made_at = rig.desk.clock.seconds
    rig.desk.clock.advance(10.0)
    assert rig.figures().oldest_at == made_at
    rig.settle(Settlement(position=1, failed=(fail(rig.work()),)))
    rig.decided("r2")
    assert (rig.figures().oldest_at, rig.figures().retrying) == (made_at, 1)
    rig.desk.clock.advance(5.0)
    rig.settle(Settlement(position=2, told=rig.work(after=2).due))
    assert rig.figures().oldest_at is None


def test_tenants_and_endpoints_have_states_of_their_own(rig: Rig) -> None:
    rig.decided("r1")
    rig.hold()
    rig.settle(Settlement(position=1, failed=(fail(rig.work()),)))
    rig.desk.clock.advance(10.0)
    for other in (Endpoint(tenant="t", name="x"), Endpoint(tenant="u", name="hook")):
        page = rig.store.read(partial(rules.work, endpoint=other, after=0, fresh=0, due=10))
        assert (page.due, page.next_due_in_s) == ((), None)
        assert rig.store.read(partial(webhook_letters.letters, endpoint=other)) == []


@pytest.mark.parametrize("seed", range(3))
def test_a_walk_tells_each_event_in_order_or_has_it_as_a_dead_letter(rig: Rig, seed: int) -> None:
    """Decisions, failures, kills, replays and retention at random, against a plain model: what
    arrived first of each item is in order without a gap, and what is neither told nor to be
    told is a dead letter."""
    chance = random.Random(seed)
    arrived: dict[str, list[int]] = {}
    items: list[str] = []
    rig.holding = Holding(holder="one", ttl_s=1e9, give_up_s=40.0, from_oldest=True)
    held = rig.hold()
    assert held is not None
    window = Window(position=held.position, width=8)
    flying: list[Work] = []

    def tell() -> None:
        done = window.drain()
        assert rig.settle(done)
        page = rig.work(after=window.read_to, fresh=window.room, due=window.room)
        window.take(page.fresh, blocked=page.blocked)
        window.retry(page.due)
        flying.extend(window.start(4))
        chance.shuffle(flying)
        for work in [flying.pop() for _ in range(chance.randint(0, len(flying)))]:
            if chance.random() < 0.6:
                window.told(work)
                seen = arrived.setdefault(work.item_id, [])
                if work.position not in seen:
                    seen.append(work.position)
            else:
                window.failed(work, result="x", retry_in_s=chance.choice([1.0, 5.0]))

    def kill() -> None:
        nonlocal window
        found = rig.hold()
        assert found is not None
        window = Window(position=found.position, width=8)
        flying.clear()

    def decide() -> None:
        if items and chance.random() < 0.6:
            rig.again(chance.choice(items))
        else:
            items.append(rig.desk.keep(f"r{len(items)}").item_id)
            rig.desk.decide(rig.desk.lease())

    def replay() -> None:
        rig.replay(*sorted({one.item_id for one in rig.letters()}))

    steps: list[tuple[Callable[[], None], int]] = [
        (tell, 10), (decide, 4), (kill, 1), (replay, 1),
        (lambda: rig.desk.clock.advance(3.0), 3),
    ]  # fmt: skip
    for _ in range(150):
        chance.choices([step for step, _ in steps], [weight for _, weight in steps])[0]()
    replay()
    kill()
    chance.random = lambda: 0.0  # type: ignore[method-assign]  # all is told from now on
    while rig.figures().oldest_at is not None or flying or window.startable:
        tell()
        rig.desk.clock.advance(5.0)
    rows = rig.store.decision_events(tenant="t", after=0, limit=10_000)
    for item_id in items:
        assert arrived[item_id] == [row.position for row in rows if row.item_id == item_id]
    assert rig.letters() == []
