"""Decisions reach a real receiver over real HTTP, whatever it does; only the clock is driven."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from helpers.review_queue import Desk
from helpers.webhook_receiver import Receiver, Reply
from helpers.webhook_rig import (
    Counted,
    Decider,
    ManualTime,
    office_of,
    outbox_of,
    receiver_of,
    until,
)
from imagesieve_server.core.review_afterwards import EraseRequest
from imagesieve_server.core.webhook_port import Endpoint, Holding
from imagesieve_server.review_queue import webhook_letters
from imagesieve_server.webhooks.sender import Answer, HttpSender

HOUR = 3600.0


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.stop()


@pytest.fixture
def decider(desk: Desk) -> Decider:
    return Decider(desk=desk, chance=random.Random(7))


@pytest.fixture
def counted() -> Counted:
    return Counted()


def decide(decider: Decider, times: int) -> None:
    for _ in range(times):
        decider.decide()


async def test_every_decision_arrives_signed_and_in_order_per_item(
    desk: Desk, decider: Decider, receiver: Receiver, counted: Counted
) -> None:
    decide(decider, 40)
    waits = ManualTime(desk.clock)
    async with (
        outbox_of(desk.store, counted) as outbox,
        office_of(outbox, counted, waits, receiver_of(receiver.url)),
    ):
        await until(lambda: len(receiver.taken) == 40)
        decide(decider, 5)
        await until(lambda: len(receiver.taken) == 45)
    assert receiver.by_item() == decider.expected()
    assert len(set(receiver.seen)) == 45
    assert set(counted.results()) == {"told"}
    assert receiver.paths[0] == "POST /hook?k=1 HTTP/1.1"


async def test_nothing_is_lost_when_the_receiver_is_down_for_an_hour(
    desk: Desk, decider: Decider, receiver: Receiver, counted: Counted
) -> None:
    """Nobody listens for an hour, while people decide: then all of it arrives within a minute,
    in order per item, and it was asked for now and then only."""
    await receiver.stop()
    begun = desk.clock.seconds
    made: list[float] = []
    back_at: list[float] = []

    async def step() -> None:
        now = desk.clock.seconds - begun
        while len(made) * 60.0 <= now and len(made) < 60:
            made.append(now)
            decider.decide()
        if now >= HOUR and not back_at:
            back_at.append(desk.clock.seconds)
            await receiver.start()

    all_there: list[float] = []
    async with (
        outbox_of(desk.store, counted) as outbox,
        office_of(outbox, counted, ManualTime(desk.clock, step), receiver_of(receiver.url)),
    ):
        await until(lambda: len({e["id"] for e in receiver.taken}) == 60)
        all_there.append(desk.clock.seconds)
        figures = await outbox.figures(Endpoint(tenant="t", name="hook"))
    assert receiver.by_item() == decider.expected()
    assert figures.dead == 0
    assert back_at
    assert all_there[0] - back_at[0] < 180.0
    down = counted.results().count("unreachable")
    assert 60 <= down <= 200  # about one a minute, not one for each event and retry


async def test_an_event_that_fails_holds_up_its_own_item_only(
    desk: Desk, decider: Decider, receiver: Receiver, counted: Counted
) -> None:
    decide(decider, 30)
    poisoned = max(decider.expected().items(), key=lambda pair: len(pair[1]))[0]
    tries: list[str] = []

    def behave(event: dict[str, Any]) -> Reply:
        if event["subject"] != poisoned:
            return Reply()
        tries.append(event["sequence"])
        return Reply(status=500 if len(tries) <= 6 else 200)

    receiver.behave = behave
    before: list[int] = []

    def step() -> None:
        if not before and len(tries) > 1:
            before.append(len(receiver.taken))

    async with (
        outbox_of(desk.store, counted) as outbox,
        office_of(outbox, counted, ManualTime(desk.clock, step), receiver_of(receiver.url)),
    ):
        await until(lambda: len(receiver.taken) == 30)
    expected = decider.expected()
    assert receiver.by_item() == expected
    assert before[0] == 30 - len(expected[poisoned])  # all others went by
    assert len(set(tries[:7])) == 1


@pytest.mark.parametrize("seed", range(2))
async def test_a_receiver_that_fails_at_random_gets_everything_in_order(
    desk: Desk, decider: Decider, receiver: Receiver, counted: Counted, seed: int
) -> None:
    chance = random.Random(seed)
    bad = [
        Reply(status=500), Reply(status=503, headers={"Retry-After": "7"}), Reply(drops=True),
        Reply(status=302, headers={"Location": "http://169.254.169.254/"}),
        Reply(status=429, headers={"retry-after": "nonsense"}), Reply(status=404, body=b"x" * 999),
    ]  # fmt: skip
    receiver.behave = lambda event: chance.choice(bad) if chance.random() < 0.4 else Reply()
    decide(decider, 10)
    made = [10]

    def step() -> None:
        if made[0] < 30:
            made[0] += 1
            decider.decide()

    async with (
        outbox_of(desk.store, counted) as outbox,
        office_of(
            outbox, counted, ManualTime(desk.clock, step), receiver_of(receiver.url), seed=seed
        ),
    ):
        await until(lambda: len({e["id"] for e in receiver.taken}) == 30)
    assert receiver.by_item() == decider.expected()


async def test_a_receiver_that_hangs_is_left_after_the_time_limit(
    desk: Desk, decider: Decider, receiver: Receiver, counted: Counted
) -> None:
    decide(decider, 3)
    hangs = iter([Reply(hangs=True), Reply(status=200, dribbles=True), Reply(body=b"y" * 200_000)])
    receiver.behave = lambda event: next(hangs, Reply())
    async with (
        outbox_of(desk.store, counted) as outbox,
        office_of(outbox, counted, ManualTime(desk.clock), receiver_of(receiver.url)),
    ):
        await until(lambda: len({e["id"] for e in receiver.taken}) == 3)
        await until(lambda: counted.results().count("told") >= 3)
    assert receiver.by_item() == decider.expected()
    assert counted.results().count("timed_out") == 1  # a status that came counts


async def test_a_slow_endpoint_holds_up_no_other(
    desk: Desk, decider: Decider, receiver: Receiver, counted: Counted
) -> None:
    slow = Receiver(behave=lambda event: Reply(hangs=True))
    await slow.start()
    decide(decider, 20)
    hooks = [receiver_of(receiver.url), receiver_of(slow.url, name="slow", timeout_s=60.0)]
    async with (
        outbox_of(desk.store, counted) as outbox,
        office_of(outbox, counted, ManualTime(desk.clock), *hooks),
    ):
        await until(lambda: len(receiver.taken) == 20)
        await until(lambda: len(slow.seen) > 0)
    await slow.stop()
    assert slow.taken == []


async def test_gone_is_left_alone_until_the_file_changes(
    desk: Desk, decider: Decider, receiver: Receiver, counted: Counted
) -> None:
    decide(decider, 3)
    receiver.behave = lambda event: Reply(status=410)
    passed: list[float] = []
    waits = ManualTime(desk.clock, lambda: passed.append(desk.clock.seconds))
    async with outbox_of(desk.store, counted) as outbox:
        one = receiver_of(receiver.url, concurrency=1)
        async with office_of(outbox, counted, waits, one) as office:
            await until(lambda: len(passed) > 50)
            assert len(receiver.seen) == 1
            receiver.behave = lambda event: Reply()
            again = receiver_of(receiver.url, concurrency=1, mark="file 2")
            await office.put_in_force({"hook": again})
            await until(lambda: len(receiver.taken) == 3)
    assert receiver.by_item() == decider.expected()


async def test_an_endpoint_that_asks_for_patience_is_not_asked_before(
    desk: Desk, decider: Decider, receiver: Receiver, counted: Counted
) -> None:
    decide(decider, 1)
    at: list[float] = []

    def behave(event: dict[str, Any]) -> Reply:
        at.append(desk.clock.seconds)
        patience = {"Retry-After": "900"}
        return Reply(status=503, headers=patience) if len(at) == 1 else Reply()

    receiver.behave = behave
    async with (
        outbox_of(desk.store, counted) as outbox,
        office_of(outbox, counted, ManualTime(desk.clock), receiver_of(receiver.url)),
    ):
        await until(lambda: len(at) == 2)
    assert 900.0 <= at[1] - at[0] < 910.0


async def test_an_event_that_asks_for_patience_holds_up_its_own_item_only(
    desk: Desk, decider: Decider, receiver: Receiver, counted: Counted
) -> None:
    decide(decider, 8)
    poisoned = next(iter(decider.expected()))
    begun = desk.clock.seconds
    last: list[float] = []

    def behave(event: dict[str, Any]) -> Reply:
        if event["subject"] == poisoned and desk.clock.seconds < begun + HOUR:
            return Reply(status=500, headers={"Retry-After": "3600"})
        if event["subject"] != poisoned:
            last.append(desk.clock.seconds)
        return Reply()

    receiver.behave = behave
    async with (
        outbox_of(desk.store, counted) as outbox,
        office_of(outbox, counted, ManualTime(desk.clock), receiver_of(receiver.url)),
    ):
        await until(lambda: len(receiver.taken) == 8)
    assert receiver.by_item() == decider.expected()
    assert last[-1] - begun < 60.0
    assert counted.results().count("refused") == 1


async def test_what_fails_for_too_long_is_a_dead_letter_and_can_be_replayed(
    desk: Desk, decider: Decider, receiver: Receiver, counted: Counted
) -> None:
    decide(decider, 4)
    receiver.behave = lambda event: Reply(status=500)
    hook = Endpoint(tenant="t", name="hook")
    async with (
        outbox_of(desk.store, counted) as outbox,
        office_of(
            outbox, counted, ManualTime(desk.clock), receiver_of(receiver.url, give_up_s=HOUR)
        ),
    ):
        async with asyncio.timeout(100):
            while (await outbox.figures(hook)).dead < 4:
                await asyncio.sleep(0.01)
        letters = list(webhook_letters.all_letters(desk.store.read, hook))
        assert [one.position for one in letters] == list(range(1, 5))
        assert {one.event_id for one in letters} >= set(receiver.seen)
        receiver.behave = lambda event: Reply()
        items = sorted({one.item_id for one in letters})
        desk.store.transact(lambda tx: webhook_letters.replay(tx, hook, items))
        await until(lambda: len(receiver.taken) == 4)
    assert receiver.by_item() == decider.expected()


async def test_an_attempt_that_breaks_fails_its_event_alone(
    desk: Desk, decider: Decider, receiver: Receiver, counted: Counted
) -> None:
    """Whatever mistake of ours it was: the others go on, and it is tried again."""
    decide(decider, 6)
    broken: list[str] = []

    class Clumsy(HttpSender):
        async def send(self, event_id: str, body: bytes) -> Answer:
            if not broken:
                broken.append(event_id)
                raise RuntimeError("a mistake")
            return await super().send(event_id, body)

    async with (
        outbox_of(desk.store, counted) as outbox,
        office_of(
            outbox, counted, ManualTime(desk.clock), receiver_of(receiver.url), sender=Clumsy
        ),
    ):
        await until(lambda: len(receiver.taken) == 6)
    assert receiver.by_item() == decider.expected()
    assert broken[0] in receiver.seen


async def test_what_a_killed_server_held_is_taken_over_when_its_hold_is_over(
    desk: Desk, decider: Decider, receiver: Receiver, counted: Counted
) -> None:
    decide(decider, 3)
    hook = receiver_of(receiver.url)
    killed = Holding(holder="killed", ttl_s=40.0, give_up_s=HOUR, from_oldest=True)
    begun = desk.clock.seconds
    first: list[float] = []

    def behave(event: dict[str, Any]) -> Reply:
        first.append(desk.clock.seconds)
        return Reply()

    receiver.behave = behave
    async with outbox_of(desk.store, counted) as outbox:
        assert await outbox.hold(hook.endpoint, killed) is not None
        async with office_of(outbox, counted, ManualTime(desk.clock), hook):
            await until(lambda: len(receiver.taken) == 3)
    assert first[0] - begun >= 40.0
    assert receiver.by_item() == decider.expected()


async def test_two_servers_deliver_an_endpoint_in_turn(
    desk: Desk, decider: Decider, receiver: Receiver, counted: Counted
) -> None:
    """When one is stopped, the other one goes on at once with what is left."""
    decide(decider, 40)
    limit = [15]
    receiver.behave = lambda event: Reply() if len(receiver.taken) < limit[0] else Reply(status=500)
    waits = ManualTime(desk.clock)
    hook = receiver_of(receiver.url)
    async with outbox_of(desk.store, counted) as outbox:
        async with office_of(outbox, counted, waits, hook):
            await until(lambda: len(receiver.taken) == 15)
        limit[0] = 1000
        async with office_of(outbox, counted, waits, hook, seed=2):
            await until(lambda: len({e["id"] for e in receiver.taken}) == 40)
    assert receiver.by_item() == decider.expected()


async def test_what_is_erased_while_an_endpoint_is_down_is_not_told_any_more(
    desk: Desk, decider: Decider, receiver: Receiver, counted: Counted
) -> None:
    """Some events were read before the erasure, and wait in the server's hand for the receiver."""
    decide(decider, 30)
    erased: list[float] = []

    def behave(event: dict[str, Any]) -> Reply:
        return Reply(status=200 if erased else 503)

    def step() -> None:
        if erased:
            return
        for item_id in decider.items:
            desk.store.erase(EraseRequest(tenant="t", item_id=item_id, reason="law", actor="ann"))
        erased.append(desk.clock.seconds)

    receiver.behave = behave
    async with (
        outbox_of(desk.store, counted) as outbox,
        office_of(outbox, counted, ManualTime(desk.clock, step), receiver_of(receiver.url)),
    ):
        await until(lambda: len(receiver.taken) == 30 + len(decider.items))
    assert counted.results().count("refused") >= 5  # the endpoint was down
    told = [event["data"] for event in receiver.taken]
    assert {(data["content_ref"], data["uploader_ref"]) for data in told} == {("", "")}
    assert all(data["labels"] == {} and data["request_id"] for data in told)
    assert receiver.by_item() == decider.expected()
