"""Send N odd, broken and hostile images to a running server; each must have a typed answer.

    PYTHONPATH=tests python tests/long/fuzz_images.py [--n 2000] [--seed 1] [--first 0]

Cases are numbered: first every file of IMAGESIEVE_HOSTILE_IMAGES (where it is set), then every
whole file of ``helpers.odd_pictures``, then files broken by ``helpers.broken_pictures`` and
bombs. Case and seed name a file, so ``--first`` resumes a long run, and a single case can be
looked at again. Meanwhile a good image is sent every second and must be answered as it was
before the run, and workers are killed from outside. Exit code 1 on any violation.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_report import Report

from helpers.bombs import BOMBS
from helpers.broken_pictures import break_file
from helpers.odd_pictures import whole_files
from imagesieve import AsyncClient, ImagesieveError, ModerationResult, Verdict
from imagesieve_server.commands.local_server import LocalServer, launch
from imagesieve_server.demo_data import DEMO_IMAGES

TIMEOUT_S = 60.0  # of a fuzzed image; the decoder's own limits must answer long before
GOOD_TIMEOUT_S = 10.0  # the server's default deadline
GOOD = ("photo_cat.jpg", "weapons_dagger.jpg")  # an ALLOW and a REVIEW
STORED = 10  # one case in so many is stored, the others are dry runs
KILL_EVERY_S = 15.0
RESPAWN_LIMIT_S = 30.0
SETTINGS = {
    "IMAGESIEVE__IMAGES__WORKERS": "2",
    "IMAGESIEVE__IMAGES__CACHE_MIB": "0",  # the good ones are always the same
    "IMAGESIEVE__IMAGES__UNDECODABLE_PER_HOUR": "1000000000",  # nearly all of them are
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One file to send."""

    number: int
    kind: str
    data: bytes


@dataclass(slots=True, kw_only=True)
class Cases:
    """The numbered files of one seed."""

    seed: int
    hostile: list[tuple[str, bytes]]
    odd: list[tuple[str, bytes]] = field(default_factory=lambda: sorted(whole_files().items()))
    bombs: list[bytes] = field(default_factory=lambda: [BOMBS[name]() for name in sorted(BOMBS)])

    def case(self, number: int) -> Case:
        whole = [*self.hostile, *self.odd]
        if number < len(self.hostile):
            return Case(number=number, kind="hostile whole", data=whole[number][1])
        if number < len(whole):
            return Case(number=number, kind="odd whole", data=whole[number][1])
        chance = random.Random(f"{self.seed}:{number}")
        if chance.random() < 0.02:
            return Case(number=number, kind="bomb", data=self._bomb(chance))
        base = chance.choice(self.hostile if self.hostile and chance.random() < 0.3 else self.odd)
        change, data = break_file(base[1], chance.choice(self.odd)[1], chance)
        return Case(number=number, kind=change, data=data)

    def _bomb(self, chance: random.Random) -> bytes:
        """A bomb, half of the time with bytes behind its end that make it a new one."""
        data = chance.choice(self.bombs)
        return data if chance.random() < 0.5 else data + chance.randbytes(4)


def hostile_files() -> list[tuple[str, bytes]]:
    """Every file of the folder, where one is named, that is not empty."""
    folder = os.environ.get("IMAGESIEVE_HOSTILE_IMAGES")
    paths = sorted(Path(folder).rglob("*")) if folder else []
    files = [(path.name, path.read_bytes()) for path in paths if path.is_file()]
    return [(name, data) for name, data in files if data]


async def call(
    cases: Iterator[Case], client: AsyncClient, report: Report, keep: Path, heavy: asyncio.Lock
) -> None:
    """One caller: case after case; of all callers only one at a time sends a bomb.

    A heavy image may take one worker for as long as its limits allow, and no more is promised.
    """
    for case in cases:
        async with heavy if case.kind == "bomb" else contextlib.nullcontext():
            begun = time.monotonic()
            outcome = await answer(client, case)
        if report.answered(case.kind, outcome, time.monotonic() - begun):
            (keep / f"case-{case.number}").write_bytes(case.data)


async def answer(client: AsyncClient, case: Case) -> str:
    """What the server makes of one case."""
    is_dry = case.number % STORED != 0
    try:
        return outcome_of(await client.moderate(case.data, dry_run=is_dry, timeout=TIMEOUT_S))
    except ImagesieveError as error:
        code = error.code.name if error.code else "no status"
        return f"{code} {error.metadata.get('detail', error.reason)}"


def outcome_of(result: ModerationResult) -> str:
    """Verdict and the first reason, without the numbers of scores."""
    if result.verdict is Verdict.UNDECIDED:
        return f"UNDECIDED {result.undecided_reason}"
    codes = {reason.code: reason.detail for reason in result.reasons}
    if "UNDECODABLE" in codes:
        return f"{result.verdict} UNDECODABLE {codes['UNDECODABLE']}"
    return f"{result.verdict} {' '.join(sorted(codes)) or 'clear'}"


async def good_images(target: str, report: Report, stop: asyncio.Event) -> None:
    """A good image every second, each with bytes of its own behind its end."""
    pictures = [(DEMO_IMAGES / name).read_bytes() for name in GOOD]
    async with AsyncClient(target) as client:
        expected = [(await client.moderate(data, timeout=60)).verdict for data in pictures]
        for turn in itertools.count():
            if stop.is_set():
                return
            begun, which = time.monotonic(), turn % len(pictures)
            data = pictures[which] + turn.to_bytes(4, "big")
            try:
                verdict = str((await client.moderate(data, timeout=GOOD_TIMEOUT_S)).verdict)
            except ImagesieveError as error:
                verdict = error.reason
            report.good(verdict == expected[which], verdict, time.monotonic() - begun)
            await asyncio.sleep(max(0.0, begun + 1 - time.monotonic()))


async def killed_workers(
    server: LocalServer, report: Report, chance: random.Random, stop: asyncio.Event
) -> None:
    """Now and then SIGKILL one decode worker, and see how soon there are as many again."""
    wanted = len(workers_of(server))
    while not stop.is_set():
        pids = workers_of(server)
        killed = chance.choice(pids)
        os.kill(killed, signal.SIGKILL)
        begun = time.monotonic()
        while time.monotonic() - begun < RESPAWN_LIMIT_S:
            await asyncio.sleep(0.02)
            pids = workers_of(server)
            if killed not in pids and len(pids) >= wanted and await ready(server, wanted):
                break
        report.respawn_s.append(time.monotonic() - begun)
        await asyncio.wait([asyncio.create_task(stop.wait())], timeout=KILL_EVERY_S)


def workers_of(server: LocalServer) -> list[int]:
    """The process ids of the server's living decode workers, the spare included."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"images.worker" in _command_line(int(child))]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()  # empty for one that has ended
    except (FileNotFoundError, ProcessLookupError):
        return b""


async def ready(server: LocalServer, wanted: int) -> bool:
    metrics = await asyncio.to_thread(server.metrics)
    return metrics["imagesieve_decode_workers_alive"] >= wanted


async def fuzz(server: LocalServer, cases: Cases, args: argparse.Namespace) -> Report:
    report = Report(n=args.n, seed=args.seed, first=args.first)
    stop = asyncio.Event()
    numbers = iter(range(args.first, args.first + args.n))
    source = (cases.case(number) for number in numbers)  # one generator shared by all callers
    while len(workers_of(server)) < int(SETTINGS["IMAGESIEVE__IMAGES__WORKERS"]) + 1:
        await asyncio.sleep(0.05)
    async with AsyncClient(server.target) as client:
        for name in GOOD * 20:  # allocations of the first images are no leak
            await client.moderate((DEMO_IMAGES / name).read_bytes(), dry_run=True, timeout=60)
        report.at_start(server.process.pid)
        beside = [
            asyncio.create_task(good_images(server.target, report, stop)),
            asyncio.create_task(killed_workers(server, report, random.Random(args.seed), stop)),
        ]
        shared = (source, client, report, args.keep, asyncio.Lock())
        await asyncio.gather(*(call(*shared) for _ in range(args.callers)))
        stop.set()
        await asyncio.gather(*beside)
    report.at_end(server.process.pid, await asyncio.to_thread(server.metrics))
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--callers", type=int, default=6)
    parser.add_argument("--keep", type=Path, help="folder for the files behind violations")
    parser.add_argument("--record", type=Path, help="file to append the figures to, as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesieve-fuzz-") as name:
        args.keep = args.keep or Path(name) / "violations"
        args.keep.mkdir(parents=True, exist_ok=True)
        cases = Cases(seed=args.seed, hostile=hostile_files())
        server = launch(folder=Path(name), **SETTINGS)
        try:
            report = asyncio.run(fuzz(server, cases, args))
            report.exit_code = server.stop()
        finally:
            if server.process.poll() is None:
                server.process.kill()
    print(report.table())
    if args.record:
        with args.record.open("a") as file:
            file.write(json.dumps(report.figures()) + "\n")
    return 1 if report.violations() else 0


if __name__ == "__main__":
    raise SystemExit(main())
