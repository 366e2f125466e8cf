"""This release works on the tables of the next one: the upgrade of several servers, one by one.

There is no next release yet, so its migration is made up here, of everything that a migration may
do while servers of the release before still run.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from helpers.postgres import PATIENT, PostgresServer, engine_for_test, open_for_test
from helpers.queue_walk import Place, Walk
from helpers.review_queue import Desk, ManualClock
from imagesieve_server.core.errors import StoreNotUsable
from imagesieve_server.core.review import State
from imagesieve_server.review_queue.inspection import Inspection
from imagesieve_server.review_queue.postgres import migrate_postgres
from imagesieve_server.review_queue.read_only import QueueReader, read_only_engine
from imagesieve_server.review_queue.sqlite import migrate_sqlite, open_sqlite, sqlite_engine
from imagesieve_server.review_queue.store import RuledStore

sys.path.insert(0, str(Path(__file__).parents[1] / "long"))
import machine

STEPS = 150

ADDED = (
    "ALTER TABLE item ADD COLUMN next_reason TEXT",
    "ALTER TABLE item ADD COLUMN next_weight INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE decision ADD COLUMN next_seconds DOUBLE PRECISION",
    "ALTER TABLE submission_payload ADD COLUMN next_kind TEXT NOT NULL DEFAULT 'still'",
    "ALTER TABLE decision_event ADD COLUMN next_source TEXT NOT NULL DEFAULT ''",
    "CREATE TABLE next_thing (tenant TEXT NOT NULL PRIMARY KEY)",
    "CREATE INDEX ix_item_next ON item (tenant, next_reason) WHERE next_reason IS NOT NULL",
    "UPDATE alembic_version SET version_num = '9999'",
)
FIT = "INSERT INTO fit_release VALUES ('9999')"  # beside this release
NOT_FIT = "UPDATE fit_release SET revision = '9999'"


class Queue:
    """A database with this release's tables, and all the ways that a server has into it."""

    def __init__(
        self,
        *,
        engine: Callable[[], sa.Engine],
        looking: Callable[[], sa.Engine],
        open_store: Callable[[], RuledStore],
        migrate: Callable[[], None],
        alone: bool,
    ) -> None:
        self.engine, self.looking = engine, looking
        self.open_store, self.migrate = open_store, migrate
        self.alone = alone  # the tables change while no server runs

    def run(self, *statements: str) -> None:
        engine = self.engine()
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))
        engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def queue(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Queue:
    if request.param == "sqlite":
        path = tmp_path / "queue.db"
        migrate_sqlite(path=path)
        return Queue(
            engine=lambda: sqlite_engine(path=path, busy_timeout_s=60.0),
            looking=lambda: read_only_engine(path),
            open_store=lambda: open_sqlite(path=path, clock=clock),
            migrate=lambda: migrate_sqlite(path=path),
            alone=True,
        )
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database()
    return Queue(
        engine=lambda: engine_for_test(url),
        looking=lambda: engine_for_test(url),
        open_store=lambda: open_for_test(url, clock),
        migrate=lambda: migrate_postgres(url=url, patience=PATIENT),
        alone=False,
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_servers_of_this_release_go_on_and_start_again(queue: Queue, clock: ManualClock) -> None:
    """What they prepared before the tables changed must not stand in the way, nor what is new."""
    place = Place(Desk(store=queue.open_store(), clock=clock))
    walk = Walk([place], clock)

    def restart() -> RuledStore:
        place.desk.store.close()
        queue.migrate()  # as every start does: there is nothing to do
        return queue.open_store()

    place.restart = restart
    chance = random.Random(1)
    table = machine.steps_of(walk, chance)
    names, weights = list(table), [weight for weight, _ in table.values()]
    for number, name in enumerate(chance.choices(names, weights, k=2 * STEPS)):
        if number == STEPS:
            if queue.alone:
                place.desk.store.close()
            queue.run(*ADDED, FIT)
            if queue.alone:
                place.desk.store = restart()
        table[name][1]()
    place.desk.store = restart()
    walk.finish()
    assert not walk.violations, walk.examples
    assert walk.steps["submit"] > 20
    walk.close()
    reader = QueueReader(engine=queue.looking(), place="here")
    inspection = Inspection(engine=queue.looking(), place="here")
    assert len(list(reader.items())) == len(list(inspection.items())) > 5
    assert any(row.state is State.DECIDED for row in reader.items())
    reader.close()
    inspection.close()


def test_tables_that_this_release_may_not_work_on_are_refused(queue: Queue) -> None:
    queue.run(*ADDED, NOT_FIT)
    looking = queue.looking()
    for way in (queue.migrate, queue.open_store, lambda: QueueReader(engine=looking, place="x")):
        with pytest.raises(StoreNotUsable, match=r"9999.*a newer imagesieve made it"):
            way()
    looking.dispose()
