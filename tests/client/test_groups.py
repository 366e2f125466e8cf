"""The clients' calls about groups, against the fake server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagesieve import Client, GroupChanged, GroupCloseProgress, ItemState, Outcome, Verdict
from imagesieve.review_results import Item
from imagesieve.testing import FakeServer


def fill(server: FakeServer, count: int) -> None:
    for number in range(count):
        name = f"i{number}"
        item = Item(
            item_id=name, sha256="a" * 64, state=ItemState.READY, verdict=Verdict.REVIEW,
            group_id="g",
        )  # fmt: skip
        server._state.queue.add(item)


def test_a_group_is_shown_closed_and_reopened() -> None:
    with FakeServer() as server, Client(server.target) as client:
        fill(server, 3)
        (summary,) = client.groups.list()
        group = client.groups.get(summary.group_id)
        close = client.groups.close(group, Outcome.REJECT, labels=["spam"], closed_by="lea")
        states = [item.state for item in client.groups.items("g", page_size=2)]
        undone = client.groups.undo(close.close_id, undone_by="lea")
        again = client.groups.get_close(close.close_id)
    assert (summary.ready, group.closable, close.closed) == (3, 3, 3)
    assert states == [ItemState.DECIDED] * 3
    assert (undone.progress, undone.reopened) == (GroupCloseProgress.UNDONE, 3)
    assert again == undone


def test_an_old_snapshot_closes_nothing_new() -> None:
    with FakeServer() as server, Client(server.target) as client:
        fill(server, 2)
        group = client.groups.get("g")
        close = client.groups.close(group, Outcome.APPROVE, closed_by="lea")
        client.groups.undo(close.close_id)
        with pytest.raises(GroupChanged):
            client.groups.close(replace(group), Outcome.APPROVE, closed_by="lea")
