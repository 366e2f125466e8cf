"""Random operations on the review queue, all its stores in lockstep: count what breaks.

    python tests/long/machine.py --n 100000 --seed 1 [--postgres] [--folder DIR]

Memory and SQLite; with ``--postgres`` also a PostgreSQL server that it starts itself. Submissions,
joins, claims, decisions with living and stale tokens, releases, appeals, groups closed and
reopened, erasures, retention, clock
jumps both ways, restarts of the stores on disk, and watchers of which one comes late. After each
step the picture it touched is checked on every store, in the end everything.
Every ``EPOCH`` steps the walk goes on with fresh stores, so that the checks stay cheap.

The exit code is 1 where anything was violated.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.postgres import PostgresServer, open_for_test
from helpers.queue_walk import KINDS, Place, Walk
from helpers.review_queue import Desk, ManualClock
from imagesieve_server.core.review import Outcome
from imagesieve_server.core.review_afterwards import REOPENING
from imagesieve_server.review_queue.memory import memory_store
from imagesieve_server.review_queue.sqlite import migrate_sqlite, open_sqlite
from imagesieve_server.review_queue.store import RuledStore

EPOCH = 2000
CONTENTS = 60
DAY = 86400.0

Step = Callable[[], None]


def steps_of(walk: Walk, chance: random.Random) -> dict[str, tuple[int, Step]]:
    """Every step with its weight."""
    pick, number = chance.choice, chance.randrange
    reviewers = ("ann", "ben", "cat")
    # A step that only a person of the next tier can do must happen, too.
    outcomes = (Outcome.APPROVE, Outcome.REJECT, Outcome.REJECT, Outcome.ESCALATE)
    jumps = (1.0, 60.0, 601.0, 7300.0, -400.0, DAY)
    content = lambda: f"c{number(CONTENTS)}"  # noqa: E731
    last = lambda: number(pick((1, 1, 2, 12)))  # noqa: E731 - mostly a lease that still lives
    return {
        "submit": (
            30,
            lambda: walk.submit(
                f"r{number(1200)}", content(), 1 + number(4), chance.random() < 0.2
            ),
        ),
        "sample": (6, lambda: walk.sample(f"s{number(400)}", content(), 1 + number(4))),
        "claim": (22, lambda: walk.claim(pick(reviewers), pick((1, 1, 1, 2)), str(number(400)))),
        "decide": (22, lambda: walk.decide(last(), pick(reviewers), pick(outcomes))),
        "golden": (2, lambda: walk.golden(number(24))),
        "mix_in": (1, lambda: walk.mix_in(chance.random() < 0.7)),
        "release": (3, lambda: walk.release(number(24))),
        "extend": (2, lambda: walk.extend(number(24), pick((60.0, 900.0, 7200.0)))),
        "requeue": (3, lambda: walk.requeue(number(24))),
        "reopen": (8, lambda: walk.reopen(number(24), pick(REOPENING), chance.random() < 0.3)),
        "close_group": (
            3,
            lambda: walk.close_group(
                number(24),
                pick((Outcome.APPROVE, Outcome.REJECT)),
                arrives=pick(("", "", content())),
            ),
        ),
        "undo_close": (2, lambda: walk.undo_close(number(6))),
        "erase": (1, lambda: walk.erase(content())),
        "retire": (1, lambda: walk.retire(pick((DAY, 3 * DAY)))),
        "drop_events": (1, lambda: walk.drop_events(pick((DAY, 3 * DAY)))),
        "watch": (4, walk.watch),
        "watch_late": (1, walk.watch_late),
        "pass_time": (8, lambda: walk.pass_time(pick(jumps))),
        "expire": (3, walk.expire),
        "wear_out": (1, walk.wear_out),
        "restart": (1, walk.restart),
    }


def places_in(
    folder: Path, clock: ManualClock, server: PostgresServer | None = None
) -> list[Place]:
    """Memory, SQLite that can be restarted, and PostgreSQL where there is a server."""
    path = folder / "queue.db"
    migrate_sqlite(path=path)
    memory = Place(Desk(store=memory_store(clock=clock), clock=clock))
    sqlite = Place(Desk(store=open_sqlite(path=path, clock=clock), clock=clock))

    def again() -> RuledStore:
        sqlite.desk.store.close()
        return open_sqlite(path=path, clock=clock)

    sqlite.restart = again
    return [memory, sqlite, *([] if server is None else [postgres_place(server, clock)])]


def postgres_place(server: PostgresServer, clock: ManualClock) -> Place:
    """A new database, which another server takes over in mid-walk."""
    url = server.new_database()
    place = Place(Desk(store=open_for_test(url, clock), clock=clock))

    def another() -> RuledStore:
        place.desk.store.close()
        return open_for_test(url, clock)

    place.restart = another
    return place


def go(walk: Walk, *, steps: int, chance: random.Random) -> None:
    """So many random steps, and the last look."""
    table = steps_of(walk, chance)
    names, weights = list(table), [weight for weight, _ in table.values()]
    for name in chance.choices(names, weights, k=steps):
        table[name][1]()
    walk.finish()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--n", type=int, default=100_000, help="steps")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the databases lie for a while")
    parser.add_argument("--postgres", action="store_true", help="also PostgreSQL")
    given = parser.parse_args()
    server = PostgresServer() if given.postgres else None
    try:
        return walk_on(given, server)
    finally:
        if server is not None:
            server.close()


def walk_on(given: argparse.Namespace, server: PostgresServer | None) -> int:
    started = time.monotonic()
    found: dict[str, Counter[str]] = {"violations": Counter(), "refused": Counter()}
    totals: Counter[str] = Counter()
    for begin in range(0, given.n, EPOCH):
        folder = Path(tempfile.mkdtemp(prefix="machine-", dir=given.folder))
        clock = ManualClock()
        walk = Walk(places_in(folder, clock, server), clock)
        chance = random.Random(f"{given.seed} {begin}")
        go(walk, steps=min(EPOCH, given.n - begin), chance=chance)
        walk.close()
        shutil.rmtree(folder)
        found["violations"] += walk.violations
        found["refused"] += walk.refused
        totals["flags"] += len(walk.contents)
        totals["decisions"] += len(walk.places[1].decided)
        totals["events"] += len(walk.places[1].told)
        for kind, example in walk.examples.items():
            print(f"{kind}: {example}", file=sys.stderr)
        bad = sum(found["violations"].values())
        print(f"{begin + EPOCH} steps, {dict(totals)}, {bad} bad", file=sys.stderr, flush=True)
    figures = {
        "n": given.n,
        "seed": given.seed,
        "stores": ["memory", "sqlite", *(["postgres"] if server else [])],
        "duration_s": round(time.monotonic() - started, 1),
        **totals,
        "violations": {kind: found["violations"][kind] for kind in KINDS},
        "refused": dict(sorted(found["refused"].items())),
    }
    print(json.dumps(figures))
    return 1 if found["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
