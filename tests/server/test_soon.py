"""Many wishes, one act, and none is forgotten."""

from __future__ import annotations

import asyncio

from imagesieve_server.soon import Soon


async def test_wishes_of_a_while_are_one_act_and_later_ones_another() -> None:
    acts: list[int] = []
    wishes: list[None] = []
    acted = asyncio.Event()

    def act() -> None:
        acts.append(len(wishes))
        acted.set()

    soon = Soon(act, after_s=0.01)
    for _ in range(100):
        wishes.append(None)
        soon.wish()
    assert acts == []
    await asyncio.wait_for(acted.wait(), 20)
    assert acts == [100]
    acted.clear()
    soon.wish()
    await asyncio.wait_for(acted.wait(), 20)
    assert acts == [100, 100]


def test_at_once_where_that_is_wanted() -> None:
    acts: list[None] = []
    soon = Soon(lambda: acts.append(None), after_s=0)
    soon.wish()
    soon.wish()
    assert len(acts) == 2
