"""A walk through the review queue: the same steps on several stores, and what must hold.

``Walk`` knows what callers were told (acknowledged flags, decisions, events) and compares each
store with that and with the others. What does not hold is counted by kind, not raised, so that
a long walk can say how much of what went wrong. Who chooses the steps is the caller's matter.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from helpers.review_queue import Desk, ManualClock, make_flag
from imagesieve_server.core.errors import CursorExpired, ImagesieveError
from imagesieve_server.core.golden import GoldenPlan, GoldenRequest
from imagesieve_server.core.groups import (
    CloseGroupRequest,
    Group,
    GroupClose,
    Progress,
    UndoGroupCloseRequest,
)
from imagesieve_server.core.review import OPEN, Cause, Item, Lease, Outcome, State, arrow
from imagesieve_server.core.review_afterwards import EraseRequest, ReopenRequest
from imagesieve_server.core.verdict import Verdict
from imagesieve_server.review_queue import chain, group_closing, group_reading, reading
from imagesieve_server.review_queue.recording import Asked
from imagesieve_server.review_queue.rows import ItemRow
from imagesieve_server.review_queue.store import RuledStore

LOST, OPENED_TWICE, DECIDED_TWICE = "flag lost", "opened twice", "decided twice"
CHAIN, EVENTS, ARROW = "chain broken", "events incomplete", "wrong arrow"
PICTURE, LEAK, DIFFER = "picture lost", "erased data kept", "stores differ"
BROKE = "store broke"
KINDS = (LOST, OPENED_TWICE, DECIDED_TWICE, CHAIN, EVENTS, ARROW, PICTURE, LEAK, DIFFER, BROKE)
"""Everything that may never happen."""

Told = tuple[str, str, str]
"""(item_id, decision_id, request_id): one event."""
MANY = 10_000


@dataclasses.dataclass
class Watcher:
    """One consumer of events: what it has seen, in order."""

    cursor: str = ""
    seen: list[Told] = dataclasses.field(default_factory=list)

    def read(self, store: RuledStore, *, pages: int) -> None:
        """Read on. Raises CursorExpired."""
        for _ in range(pages):
            page = store.events(tenant="t", cursor=self.cursor, from_oldest=not self.cursor)
            self.cursor = page.cursor
            self.seen += [
                (e.decision.item_id, e.decision.decision_id, e.request_id) for e in page.events
            ]
            if not page.events:
                return


@dataclasses.dataclass
class Place:
    """One store, and what its callers know of it. Ids are each store's own."""

    desk: Desk
    restart: Callable[[], RuledStore] | None = None  # closes it and opens it again
    items: dict[str, str] = dataclasses.field(default_factory=dict)  # request_id to item_id
    requests: dict[str, list[str]] = dataclasses.field(default_factory=lambda: defaultdict(list))
    samples: set[str] = dataclasses.field(default_factory=set)  # requests that were audit samples
    joined: set[str] = dataclasses.field(default_factory=set)  # those without an item of their own
    looked_at: dict[str, int] = dataclasses.field(default_factory=dict)  # item_id to version
    decided: set[str] = dataclasses.field(default_factory=set)  # effective decision_ids
    told: list[Told] = dataclasses.field(default_factory=list)  # what must have been told
    steady: Watcher = dataclasses.field(default_factory=Watcher)
    late: Watcher = dataclasses.field(default_factory=Watcher)  # now and then too late

    def order(self, close_id: str, shown: Group, outcome: Outcome) -> GroupClose:
        asked = CloseGroupRequest(
            tenant="t", close_id=close_id, group_id=shown.summary.group_id,
            snapshot=shown.snapshot, count=shown.closable, outcome=outcome, actor="lea",
        )  # fmt: skip
        return self.desk.store.transact(lambda tx: group_closing.order(tx, asked))

    def undo(self, close_id: str) -> GroupClose:
        asked = UndoGroupCloseRequest(tenant="t", close_id=close_id, note="undone", actor="lea")
        return self.desk.store.transact(lambda tx: group_closing.undo(tx, asked))

    def step(self, close_id: str) -> GroupClose:
        return self.desk.store.transact(
            lambda tx: group_closing.step(tx, tenant="t", close_id=close_id)
        )


class Walk:
    """Steps and checks. ``violations`` counts by kind; ``examples`` has the first of each."""

    def __init__(self, places: Sequence[Place], clock: ManualClock) -> None:
        self.places = places
        self.clock = clock
        self.contents: dict[str, str] = {}  # of acknowledged requests
        self.leases: list[tuple[Lease, ...]] = []
        self.closes: list[str] = []
        self._hashes: dict[str, str] = {}
        self._golden = GoldenPlan()
        self.violations: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.steps: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def close(self) -> None:
        for place in self.places:
            place.desk.store.close()

    # --- steps ---

    def submit(self, name: str, content: str, severity: int, reuse: bool) -> None:
        share = 1.0 if severity == 4 else 0.0  # of items that two people review
        results = self._all(
            "submit",
            lambda place, _: place.desk.keep(
                name,
                content,
                severity=severity,
                second_review_share=share,
                reuse_decision=reuse,
                picture_hash=looks(content),
            ),
        )
        if results is None:
            if self.contents.get(name) in (None, content):
                self._bad(LOST, f"{name} was refused")
            return
        known = self.contents.setdefault(name, content)
        for place, result in zip(self.places, results, strict=True):
            if known != content or place.items.setdefault(name, result.item_id) != result.item_id:
                self._bad(LOST, f"{name} was answered with another item")
            if name not in place.requests[content]:
                place.requests[content].append(name)
        self.look(content)

    def sample(self, name: str, content: str, severity: int) -> None:
        """An audit sample becomes an item, or gets another's decision and changes nothing there."""
        fields = {
            "audit": True,
            "verdict": Verdict.ALLOW,
            "inclusion_probability": 0.1,
            "picture_hash": looks(content),
        }
        results = self._all(
            "sample",
            lambda place, _: place.desk.keep(name, content, severity=severity, **fields),
        )
        if results is None:
            if self.contents.get(name) in (None, content):
                self._bad(LOST, f"{name} was refused")
            return
        self.contents.setdefault(name, content)
        for place, result in zip(self.places, results, strict=True):
            if name in place.samples:
                if result.item_id or not result.repeated:
                    self._bad(LOST, f"{name} was answered with an item")
                continue
            place.samples.add(name)
            place.items[name] = result.item_id
            place.requests[content].append(name)
            if result.joined:
                place.joined.add(name)
        self.look(content)

    def golden(self, index: int) -> None:
        """Mark an item that was once in hand as golden, or end its being that. One at a time: of
        several each store would choose another one."""

        def toggle(place: Place, lease: Lease) -> bool:
            store, item_id = place.desk.store, lease.item.item_id
            asked = GoldenRequest(tenant="t", item_id=item_id, actor="lea")
            for golden in store.goldens_listed("t"):
                store.unmark_golden(GoldenRequest(tenant="t", item_id=golden.item_id))
            return store.mark_golden(asked).given == 0

        self._with_lease("golden", index, toggle)

    def mix_in(self, golden: bool) -> None:
        """Whether every claim that may gets a golden item."""
        self._golden = GoldenPlan(share=1.0 if golden else 0.0, again_after_s=86400.0)

    def claim(self, reviewer: str, tier: int, claim_id: str) -> None:
        for place in self.places:
            place.desk.store.goldens = self._golden
        results = self._all(
            "claim",
            lambda place, _: place.desk.claim(reviewer=reviewer, tier=tier, claim_id=claim_id),
        )
        if results is None:
            return
        if len({result is None for result in results}) > 1:
            self._bad(DIFFER, "one had something to claim and one had not")
        elif results[0] is not None:
            self.leases.append(tuple(results))
            self.look(self._content(results[0].item))

    def decide(self, index: int, reviewer: str, outcome: Outcome) -> None:
        self._with_lease(
            "decide",
            index,
            lambda place, lease: place.desk.decide(lease, outcome, reviewer=reviewer).effective,
        )

    def release(self, index: int) -> None:
        self._with_lease(
            "release",
            index,
            lambda place, lease: (
                place.desk.store.release(
                    tenant="t", item_id=lease.item.item_id, token=lease.token
                ).state
            ),
        )

    def extend(self, index: int, lease_s: float) -> None:
        self._with_lease(
            "extend",
            index,
            lambda place, lease: (
                place.desk.store.extend(
                    tenant="t", item_id=lease.item.item_id, token=lease.token, lease_s=lease_s
                ).lease_until
            ),
        )

    def requeue(self, index: int) -> None:
        self._with_lease(
            "requeue",
            index,
            lambda place, lease: (
                place.desk.store.requeue(tenant="t", item_id=lease.item.item_id).state
            ),
        )

    def reopen(self, index: int, cause: Cause, stale: bool) -> None:
        """Contest the decision in effect, or the item's first one."""

        def contest(place: Place, lease: Lease) -> State:
            item_id = lease.item.item_id
            made = [d for d in place.desk.item(item_id).decisions if d.effective]
            named = made[0].decision_id if stale and made else ""
            asked = ReopenRequest(
                tenant="t", item_id=item_id, cause=cause, decision_id=named, note="mallory"
            )
            return place.desk.store.reopen(asked).state

        self._with_lease("reopen", index, contest)

    def close_group(self, index: int, outcome: Outcome, *, arrives: str = "") -> None:
        """Close the group of one of the last leased items as it was shown; something may arrive
        between the look and the order."""
        if not self.leases:
            return
        leases = self.leases[-1 - index % min(len(self.leases), 24)]
        close_id = f"close-{len(self.closes)}"
        shown = [
            self._group(place, lease) for place, lease in zip(self.places, leases, strict=True)
        ]
        if None in shown or not all(group.closable for group in shown if group):
            if len({group is None or group.closable for group in shown}) > 1:
                self._bad(DIFFER, f"groups shown: {shown}")
            return
        if arrives:
            self.submit(f"{arrives}-{len(self.closes)}", arrives, 1, False)
        ordered = self._all(
            "close_group",
            lambda place, i: place.order(close_id, shown[i], outcome),
        )
        if ordered is not None:
            self.closes.append(close_id)
            self._settle(close_id)

    def undo_close(self, index: int) -> None:
        """Take back one of the last closes, perhaps again."""
        if not self.closes:
            return
        close_id = self.closes[-1 - index % min(len(self.closes), 6)]
        if self._all("undo_close", lambda place, _: place.undo(close_id)) is not None:
            self._settle(close_id)

    def _group(self, place: Place, lease: Lease) -> Group | None:
        group_id = place.desk.item(lease.item.item_id).group_id
        if not group_id:
            return None
        return place.desk.store.read(
            lambda tx: group_reading.group(tx, tenant="t", group_id=group_id)
        )

    def _settle(self, close_id: str) -> None:
        """Carry out what was ordered, on all stores alike."""
        while True:
            closes = self._all("step", lambda place, _: place.step(close_id))
            if closes is None:
                self._bad(BROKE, f"{close_id} does not go on")
                return
            views = [(close.progress, dict(close.by_fate)) for close in closes]
            if any(view != views[0] for view in views):
                self._bad(DIFFER, f"{close_id}: {views}")
            if closes[0].progress in (Progress.CLOSED, Progress.UNDONE):
                break
        self.look_at_all()

    def erase(self, content: str) -> None:
        asked = EraseRequest(tenant="t", sha256=self._hash(content), reason="order", actor="law")
        results = self._all("erase", lambda place, _: len(place.desk.store.erase(asked).decisions))
        if results is not None and len(set(results)) > 1:
            self._bad(DIFFER, f"erasures of {results} items")
        self.look(content)

    def retire(self, older_than_s: float) -> None:
        self._all(
            "retire",
            lambda place, _: place.desk.store.retire(older_than_s=older_than_s, limit=MANY),
        )
        self.look_at_all()

    def drop_events(self, older_than_s: float) -> None:
        """The steady watcher has read everything before; the late one may be too late."""
        for place in self.places:
            place.steady.read(place.desk.store, pages=MANY)
        self._all(
            "drop_events",
            lambda place, _: place.desk.store.drop_events(older_than_s=older_than_s, limit=MANY),
        )

    def watch(self) -> None:
        for place in self.places:
            place.steady.read(place.desk.store, pages=2)

    def watch_late(self) -> None:
        """One page; who is too late begins anew with the oldest event."""
        for place in self.places:
            try:
                place.late.read(place.desk.store, pages=1)
            except CursorExpired:
                self.refused["late watcher"] += 1
                place.late = Watcher()

    def restart(self) -> None:
        for place in self.places:
            if place.restart is not None:
                place.desk.store = place.restart()
                place.desk.store.goldens = self._golden  # which no store keeps

    def pass_time(self, by: float) -> None:
        self.clock.advance(by)

    def expire(self) -> None:
        results = self._all("expire", lambda place, _: place.desk.store.expire_leases())
        if results is not None and len(set(results)) > 1:
            self._bad(DIFFER, f"{results} leases ended")

    def wear_out(self) -> None:
        """Five forgotten leases: the short way to PARKED."""
        for _ in range(5):
            self._all("claim", lambda place, _: place.desk.claim() is None)
            self.clock.advance(7300.0)
            self.expire()

    # --- checks ---

    def look(self, content: str, *, all_of_it: bool = False) -> None:
        """What has changed about one picture since the last look, on every store; or all."""
        try:
            self._look(content, all_of_it)
        except Exception as problem:  # noqa: BLE001 - what cannot even be read is counted
            self._bad(BROKE, f"{content}: {problem!r}")

    def _look(self, content: str, all_of_it: bool) -> None:
        found = [self._rows(place, content) for place in self.places]
        if len({len(rows) for rows in found}) > 1:
            self._bad(DIFFER, f"{content}: {[len(rows) for rows in found]} items")
            return
        new = [
            any(
                place.looked_at.get(row.item_id) != row.version
                for place, row in zip(self.places, rows, strict=True)
            )
            for rows in zip(*found, strict=True)
        ]
        views = []
        for place, rows in zip(self.places, found, strict=True):
            self._picture(place, content, rows)
            changed = [row for row, is_new in zip(rows, new, strict=True) if is_new or all_of_it]
            items = self._items(place, content, changed)
            views.append([plain(item) for item in items])
        if any(view != views[0] for view in views):
            self._bad(DIFFER, f"{content}: {views}")

    def look_at_all(self, *, all_of_it: bool = False) -> None:
        for content in sorted(set(self.contents.values())):
            self.look(content, all_of_it=all_of_it)

    def finish(self) -> None:
        """All items, all answers, and all events to their end."""
        self.look_at_all(all_of_it=True)
        asked = [
            Asked(tenant="t", request_id=name, digest=make_flag(name, content).request_digest)
            for name, content in self.contents.items()
        ]
        for place in self.places:
            answers = [
                found
                for start in range(0, len(asked), 256)
                for found in place.desk.store.answers_of(asked[start : start + 256])
            ]
            for name, found in zip(self.contents, answers, strict=True):
                expected = "" if name in place.samples else place.items[name]
                if getattr(found, "item_id", None) != expected:
                    self._bad(LOST, f"{name} is not known any more")
            place.steady.read(place.desk.store, pages=MANY)
            self._events(place)

    def _events(self, place: Place) -> None:
        """Nothing lost, nothing twice, in order per item; who came late has the end of it."""
        seen = place.steady.seen
        if Counter(seen) != Counter(place.told):
            self._bad(EVENTS, f"{Counter(place.told) - Counter(seen)} not seen")
        for order in (seen, place.told):
            if per_item(order) != per_item(place.told):
                self._bad(EVENTS, "out of order")
        late = place.late.seen
        if late and late != seen[seen.index(late[0]) :][: len(late)]:
            self._bad(EVENTS, "the late watcher missed one")

    def _rows(self, place: Place, content: str) -> Sequence[ItemRow]:
        """The same order on every store: copies of golden items stand where others do, and their
        ids say nothing of when they were made."""
        with place.desk.store.backend.read() as tx:
            rows = tx.items_of_bytes("t", [self._hash(content)])
            made = {r.item_id: tx.audit("t", r.item_id)[1].at for r in rows if r.golden_of}
        return sorted(rows, key=lambda r: (r.enqueued_at, made.get(r.item_id, 0.0), r.item_id))

    def _picture(self, place: Place, content: str, rows: Sequence[ItemRow]) -> None:
        copies = [row for row in rows if row.golden_of is not None]
        rows = [row for row in rows if row.golden_of is None]
        if sum(row.state in OPEN for row in rows) > 1:
            self._bad(OPENED_TWICE, content)
        own = (name for name in place.requests[content] if name not in place.joined)
        kept = Counter(place.items[name] for name in own)
        if kept != Counter({row.item_id: row.submissions for row in rows}):
            self._bad(LOST, f"{content}: {kept}")
        needed = any(row.state is not State.EXPIRED for row in (*rows, *copies))
        if needed and place.desk.store.unreferenced("t", [self._hash(content)]):
            self._bad(PICTURE, content)

    def _items(self, place: Place, content: str, rows: Sequence[ItemRow]) -> list[Item]:
        """The items of these rows, each checked on its own."""
        with place.desk.store.backend.read() as tx:
            items = reading.items_of(tx, "t", rows)
            for row, item in zip(rows, items, strict=True):
                if chain.problems(row, tx.decisions("t", [row.item_id])):
                    self._bad(CHAIN, item.item_id)
                steps = tx.audit("t", row.item_id)
                drawn = [arrow(step.source, step.cause) for step in steps]
                if (
                    not steps
                    or steps[-1].target is not item.state
                    or not all(
                        d is not None and d.target is s.target
                        for d, s in zip(drawn, steps, strict=True)
                    )
                ):
                    self._bad(ARROW, f"{item.item_id}: {steps}")
                place.looked_at[row.item_id] = row.version
                self._item(place, content, item)
        return items

    def _item(self, place: Place, content: str, item: Item) -> None:
        effective = [d for d in item.decisions if d.effective]
        rounds = Counter(d.round for d in effective)
        superseded = ["", *(d.decision_id for d in effective)]
        if any(count > 1 for count in rounds.values()) or superseded[:-1] != [
            d.supersedes for d in effective
        ]:
            self._bad(DECIDED_TWICE, f"{item.item_id}: {effective}")
        if (item.state is State.DECIDED and not effective) or (
            item.state in OPEN and effective and effective[-1].round >= item.round
        ):
            self._bad(DECIDED_TWICE, f"{item.state} with {effective}")
        if (
            item.state is State.EXPIRED
            and not item.golden_of
            and (item.uploader_ref or item.opening_note)
        ):
            self._bad(LEAK, item.item_id)
        for decision in effective:
            if decision.decision_id not in place.decided:
                place.decided.add(decision.decision_id)
                place.told += [
                    (item.item_id, decision.decision_id, name)
                    for name in place.requests[content]
                    if place.items[name] == item.item_id
                ]

    # --- inside ---

    def _all(self, step: str, command: Callable[[Place, int], Any]) -> list[Any] | None:
        """Run on each store; all succeed, or all fail with the same error: None."""
        self.clock.advance(0.002)  # no two things happen in one millisecond, so no ids tie
        self.steps[step] += 1
        results: list[Any] = []
        errors: list[str] = []
        for index, place in enumerate(self.places):
            try:
                results.append(command(place, index))
            except ImagesieveError as problem:
                errors.append(type(problem).__name__)
            except Exception as problem:  # noqa: BLE001 - a store that breaks is counted, too
                errors.append(type(problem).__name__)
                self._bad(BROKE, f"{step}: {problem!r}")
        if not errors:
            return results
        self.refused[f"{step}: {errors[0]}"] += 1
        if len(errors) != len(self.places) or len(set(errors)) > 1:
            self._bad(DIFFER, f"{step}: {results} and {errors}")
        return None

    def _with_lease(self, step: str, index: int, command: Callable[[Place, Lease], Any]) -> None:
        """On one of the last leases, most of which are over by now."""
        if not self.leases:
            return
        leases = self.leases[-1 - index % min(len(self.leases), 24)]
        results = self._all(step, lambda place, i: command(place, leases[i]))
        if results is not None and any(result != results[0] for result in results):
            self._bad(DIFFER, f"{step}: {results}")
        self.look(self._content(leases[0].item))

    def _content(self, item: Item) -> str:
        return next(name for name, digest in self._hashes.items() if digest == item.sha256)

    def _hash(self, content: str) -> str:
        return self._hashes.setdefault(content, hashlib.sha256(content.encode()).hexdigest())

    def _bad(self, kind: str, example: str) -> None:
        self.violations[kind] += 1
        self.examples.setdefault(kind, example)


def looks(content: str) -> str:
    """The picture's hash: of four families, whose members differ in up to 39 bits from their
    middle, so that some of a family belong together and some do not."""
    family, small = divmod(int(hashlib.sha256(content.encode()).hexdigest(), 16), 40)
    bits = int(hashlib.sha256(f"family {family % 4}".encode()).hexdigest(), 16)
    for place in range(small):
        bits ^= 1 << 5 * place
    return f"{bits:064x}"


def per_item(told: Sequence[Told]) -> dict[str, list[str]]:
    """The order of an item's decisions as they were told."""
    order: dict[str, list[str]] = defaultdict(list)
    for item_id, decision_id, _ in told:
        if decision_id not in order[item_id]:
            order[item_id].append(decision_id)
    return order


def plain(item: Item) -> dict[str, Any]:
    """What all stores must agree on; ids are each store's own."""
    names = ("sha256", "state", "verdict", "rank", "due_at", "submissions", "round", "tier")
    names += ("reviews_needed", "expiries", "claimed_by", "lease_until", "opened_by")
    names += ("opening_note", "uploader_ref", "severity", "blind")
    return {name: getattr(item, name) for name in names} | {
        "said": [
            (d.outcome, d.effective, d.reviewer, d.decided_at, d.cause, bool(d.supersedes))
            for d in item.decisions
        ],
        # Of several closed items that were erased at once any may be the last.
        "earlier": item.earlier.outcome if item.earlier and item.state in OPEN else None,
        "attached": bool(item.attached_to),
        "golden": (item.golden, bool(item.golden_of)),
        "grouped": bool(item.group_id),
    }
