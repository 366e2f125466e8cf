"""Cut the power under the loaded queue N times; nothing that was acknowledged may be lost.

    python tests/long/power_cut.py --n 1000 --seed 1 [--folder DIR]

The real queue (writer, SQLite, evidence folder) runs under load in a process whose file-system
calls are recorded in order. The record is replayed up to a random moment onto a modelled disk
that keeps what was synced and drops any part of the rest: sectors, sizes, names, folders. On
what is left the queue is opened as a server would, and asked for every flag, claim and
decision that had been acknowledged by then. Some of these disks become the start of the next
recorded life, in which recovery is cut, too, and clients repeat their last requests.

Negative controls show that the test can fail: queues that leave out one of the syncs, or answer
too early, on the same disks. Each of them must lose flags, else the exit code is 1, as it is
for any loss of the real queue.

Both journals are tried, whichever this SQLite gets. The seed fixes the load and the cuts, not
how the threads of a recorded life interleave.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from power_cut_check import Findings, check
from power_cut_disk import Cut, Tree
from power_cut_trace import Record, Replay, build_shim, differences, record, write_tree

WORKER = Path(__file__).with_name("power_cut_worker.py")
FLAGS = 120  # submitted in one life
LIVES = 4  # on one disk, each but the first after a cut
CUTS = 25  # in one life
ATTEMPTS = 10  # to see a control lose something
SHOWN = 5  # problems of one disk
MEMORY = Path("/dev/shm")  # the disk is a model; a real one would only be slow


def nothing(_path: str) -> bool:
    return False


def evidence_files(path: str) -> bool:
    return path.startswith("data/evidence/.scratch/")


def evidence_folders(path: str) -> bool:
    """The folders that evidence is renamed into."""
    parts = PurePosixPath(path).parts
    return parts[:2] == ("data", "evidence") and len(parts) == 4 and parts[2] != ".scratch"


def parents_of_evidence_folders(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return parts[:2] == ("data", "evidence") and len(parts) <= 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A queue to cut the power under."""

    name: str
    worker: tuple[str, ...]  # options of power_cut_worker.py
    ignores: Callable[[str], bool] = nothing  # paths whose syncs do not count


def sqlite_with(journal: str, synchronous: str) -> tuple[str, ...]:
    return ("--journal", journal, "--synchronous", synchronous)


ROLLBACK = ("--as-sqlite", "3.40.1")
WAL = ("--as-sqlite", "3.51.3")
QUEUES = (
    Subject(name="the queue with a rollback journal", worker=ROLLBACK),
    Subject(name="the queue with a write-ahead log", worker=WAL),
)
CONTROLS = (
    Subject(name="rollback journal, OFF", worker=sqlite_with("delete", "OFF")),
    Subject(name="rollback journal, FULL", worker=sqlite_with("delete", "FULL")),
    Subject(name="write-ahead log, NORMAL", worker=sqlite_with("wal", "NORMAL")),
    Subject(name="evidence not synced", worker=ROLLBACK, ignores=evidence_files),
    Subject(name="folder not synced after rename", worker=ROLLBACK, ignores=evidence_folders),
    Subject(name="new folders not synced", worker=ROLLBACK, ignores=parents_of_evidence_folders),
    Subject(name="answer before commit", worker=(*ROLLBACK, "--early")),
)


@dataclass(slots=True, kw_only=True)
class Figures:
    """What the cuts under one subject came to: sums over cuts, but for the first three."""

    cuts: int = 0
    lives: int = 0
    acknowledged: set[str] = field(default_factory=set)  # request_ids, of all lives
    flags: int = 0  # acknowledged before a cut and looked up after it
    decisions: int = 0
    losing_cuts: int = 0  # that lost a flag
    lost: int = 0
    twice: int = 0
    undone: int = 0
    broken: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, found: Findings, *, where: str) -> None:
        self.cuts += 1
        self.flags += found.flags
        self.decisions += found.decisions
        self.losing_cuts += bool(found.lost)
        self.lost += len(found.lost)
        self.twice += len(found.twice)
        self.undone += len(found.undone)
        self.broken += len(found.broken)
        problems = [*found.broken, *found.lost, *found.twice, *found.undone]
        self.examples += [f"{where}: {problem}" for problem in problems[:SHOWN]]

    @property
    def whole(self) -> bool:
        return self.flags > 0 and not (self.lost or self.twice or self.undone or self.broken)

    def line(self) -> str:
        return (
            f"{self.cuts} cuts in {self.lives} lives with {len(self.acknowledged)} acknowledged "
            f"flags; {self.flags} flags and {self.decisions} decisions looked up: lost "
            f"{self.lost} flags in {self.losing_cuts} cuts, twice {self.twice}, claims and "
            f"decisions undone {self.undone}, broken {self.broken}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where recordings and disks are made."""

    shim: Path
    folder: Path

    def fresh(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="disk-", dir=self.folder)

    def record(self, subject: Subject, start: Tree, *, seed: int, life: int) -> tuple[Record, ...]:
        """A life's record. Raises RuntimeError where the recorder missed a call."""
        with self.fresh() as name:
            root = Path(name).resolve()
            write_tree(start, root)
            command = [str(WORKER), "--folder", str(root), "--seed", str(seed)]
            command += ["--life", str(life), "--flags", str(FLAGS), *subject.worker]
            records = record(command, shim=self.shim, root=root, log=self.folder / "log")
            replay = Replay(start)
            for each in records:
                replay.play(each)
            missed = differences(replay.disk.newest(), root)
        if missed:
            raise RuntimeError(f"the record does not lead to the folder: {missed[:SHOWN]}")
        return records

    def check(self, tree: Tree, marks: Sequence[bytes]) -> Findings:
        with self.fresh() as name:
            write_tree(tree, Path(name))
            return check(Path(name), marks)


def moments(records: Sequence[Record], chance: random.Random, n: int) -> list[int]:
    """When to cut, as numbers of records: half anywhere, half just after an answer."""
    answers = [at for at, each in enumerate(records, start=1) if each.kind == "A"]
    anywhere = range(len(records) + 1)
    return sorted(chance.choice(answers if k % 2 else anywhere) for k in range(n))


def disks(
    subject: Subject,
    records: Sequence[Record],
    start: Tree,
    *,
    chance: random.Random,
    n: int,
) -> Iterator[tuple[str, Tree, list[bytes]]]:
    """(how it was cut, what is on the disk, what was acknowledged) for n cuts of one life."""
    replay = Replay(start, ignores=subject.ignores)
    played = 0
    for at in moments(records, chance, n):
        for each in records[played:at]:
            replay.play(each)
        played = at
        cut = Cut.draw(chance)
        how = f"record {at}, keep {cut.keep}, sector {cut.sector}, {cut.order.value}"
        yield how, replay.disk.after(cut), list(replay.marks)


def history(subject: Subject, figures: Figures, bench: Bench, *, seed: int, cuts: int) -> None:
    """Up to LIVES lives on one disk, and ``cuts`` cuts in them."""
    start: Tree = {}
    told: list[bytes] = []
    for life in range(LIVES):
        n = min(CUTS, cuts - CUTS * life)
        if n <= 0:
            return
        chance = random.Random(f"{seed}-{life}")
        records = bench.record(subject, start, seed=seed, life=life)
        figures.lives += 1
        sound: list[tuple[Tree, list[bytes]]] = []
        for how, tree, marks in disks(subject, records, start, chance=chance, n=n):
            found = bench.check(tree, [*told, *marks])
            figures.add(found, where=f"seed {seed}, life {life}, {how}")
            if found.whole:
                sound.append((tree, [*told, *marks]))
        said = (json.loads(each.data) for each in records if each.kind == "A")
        figures.acknowledged |= {mark["request_id"] for mark in said if mark["kind"] == "flag"}
        if not sound:
            return
        start, told = chance.choice(sound)


def cut_power(subject: Subject, bench: Bench, *, n: int, seed: int) -> Figures:
    """N cuts under the subject, over as many recorded lives as they need."""
    figures = Figures()
    number = 0
    while figures.cuts < n:
        history(subject, figures, bench, seed=seed * 1000 + number, cuts=n - figures.cuts)
        number += 1
    return figures


def cut_control(subject: Subject, bench: Bench, *, n: int, seed: int) -> Figures:
    """N cuts, and as many again and again until a flag is lost, but not for ever."""
    for attempt in range(ATTEMPTS):
        figures = cut_power(subject, bench, n=n, seed=seed + 1000 * attempt)
        if figures.lost:
            break
    return figures


def run(subject: Subject, bench: Bench, *, n: int, seed: int) -> bool:
    """Cut the power and print the figures; whether they are what they must be."""
    started = time.monotonic()
    control = subject in CONTROLS
    figures = (cut_control if control else cut_power)(subject, bench, n=n, seed=seed)
    good = figures.lost > 0 if control else figures.whole
    kind = "control" if control else "queue"
    verdict = "as it must be" if good else "NOT AS IT MUST BE"
    seconds = time.monotonic() - started
    print(f"{kind}: {subject.name}: {figures.line()}; {verdict}; {seconds:.0f} s", flush=True)
    if not good:
        print(*figures.examples[:20], sep="\n", file=sys.stderr)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--n", type=int, default=200, help="cuts, half with each journal")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=MEMORY if MEMORY.is_dir() else None)
    given = parser.parse_args()
    half, fewer = -(-given.n // len(QUEUES)), max(CUTS, given.n // 10)
    with tempfile.TemporaryDirectory(prefix="power-cut-", dir=given.folder) as name:
        bench = Bench(shim=build_shim(Path(name)), folder=Path(name))
        good = [run(queue, bench, n=half, seed=given.seed) for queue in QUEUES]
        good += [run(control, bench, n=fewer, seed=given.seed) for control in CONTROLS]
    print(json.dumps({"n": given.n, "seed": given.seed, "passed": all(good)}))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
