"""Decode workers on a driven clock: who waits how long behind whom, without a machine.

The queue is the server's own. Workers share the cores evenly, as an operating system shares
them; decoding takes what each image says, or what it hides. No wall clock and no chance but a
seed: the same figures everywhere.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from imagesieve_server.core.views import ViewPlan
from imagesieve_server.images.job_queue import PATIENCE, HandOver, Job, JobQueue, Together


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Images of one size."""

    name: str
    work_s: float  # seconds of a core that decoding takes
    claimed_s: float | None = None  # what its header promises, where that differs


@dataclass(slots=True, kw_only=True, eq=False)
class Upload:
    """One image on its way."""

    kind: Kind
    at: float  # when it comes, seconds
    tenant: str = ""
    done_at: float = math.nan
    job: Job = field(init=False, repr=False)

    @property
    def slowdown(self) -> float:
        """Time until it is decoded ÷ that on an idle machine."""
        return (self.done_at - self.at) / self.kind.work_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Cores, and the rules by which they are used."""

    cores: int = 2
    one_for_short: bool = True
    patience: float = PATIENCE
    weight_of_long: float = 335 / 1024  # of their workers, where there are more than cores
    together: bool = True  # short ones that wait are handed over several at a time


FIRST_COME = Machine(one_for_short=False, patience=0.0, weight_of_long=1.0, together=False)
"""One worker a core, first come first served."""


def stream(mix: Mapping[Kind, float], *, load: float, seconds: float, cores: int, seed: int,
           tenant: str = "") -> list[Upload]:  # fmt: skip
    """Uploads independent of each other. ``mix`` has shares of the images, ``load`` is of all
    cores together."""
    chance = random.Random(seed)
    mean_s = sum(kind.work_s * share for kind, share in mix.items()) / sum(mix.values())
    rate = load * cores / mean_s
    found, at = [], 0.0
    while (at := at + chance.expovariate(rate)) < seconds:
        (kind,) = chance.choices(list(mix), weights=list(mix.values()))
        found.append(Upload(kind=kind, at=at, tenant=tenant))
    return found


def decode_all(uploads: Sequence[Upload], machine: Machine) -> None:
    """Give every upload its ``done_at``. Call it where an event loop runs: jobs need one."""
    clock = _Clock()
    queue = JobQueue(
        capacity=len(uploads) + 1,
        long_at_once=machine.cores if machine.one_for_short else None,
        together=Together(workers=machine.cores, room_bytes=1) if machine.together else None,
        patience=machine.patience,
        clock=lambda: clock.now,
    )
    lanes = machine.cores + machine.one_for_short
    left: dict[int, float] = {}  # seconds of a core, by the upload's number
    at_work: dict[int, HandOver] = {}
    by_job: dict[Job, int] = {}
    coming = sorted(range(len(uploads)), key=lambda n: uploads[n].at, reverse=True)
    while coming or left:
        pace = _shares({n: uploads[n].job.is_long for n in left}, machine)
        first = min(left, key=lambda n: left[n] / pace[n], default=None)
        ready_at = math.inf if first is None else clock.now + left[first] / pace[first]
        next_at = uploads[coming[-1]].at if coming else math.inf
        until = min(ready_at, next_at)
        for number in left:
            left[number] -= (until - clock.now) * pace[number]
        clock.now = until
        if first is not None and ready_at <= next_at:
            number = first
            del left[number]
            handed = at_work.pop(number)
            for job in handed.jobs:
                uploads[by_job[job]].done_at = clock.now
            queue.give_back(handed)
        else:
            number = coming.pop()
            uploads[number].job = _job(uploads[number].kind)
            by_job[uploads[number].job] = number
            queue.put(uploads[number].job, retry_after_s=1.0)
        while len(left) < lanes and (handed := queue.next()):
            number = by_job[handed.jobs[0]]
            at_work[number] = handed
            left[number] = sum(uploads[by_job[job]].kind.work_s for job in handed.jobs)


def _shares(is_long: Mapping[int, bool], machine: Machine) -> dict[int, float]:
    """The part of a core that each worker has: by weight, and one core at most."""
    weights = {n: machine.weight_of_long if long else 1.0 for n, long in is_long.items()}
    if len(weights) <= machine.cores:
        return dict.fromkeys(weights, 1.0)
    cores, found = float(machine.cores), {}
    for number in sorted(weights, key=lambda n: -weights[n]):
        found[number] = min(1.0, cores * weights[number] / sum(weights.values()))
        cores -= found[number]
        del weights[number]
    return found


@dataclass(slots=True)
class _Clock:
    now: float = 0.0


def _job(kind: Kind) -> Job:
    claimed = kind.work_s if kind.claimed_s is None else kind.claimed_s
    return Job(
        data=b"",
        plan=ViewPlan(),
        deadline=math.inf,
        expected_s=claimed,
        answer=asyncio.get_running_loop().create_future(),
    )


def slowdowns(uploads: Sequence[Upload], name: str) -> list[float]:
    """Of one kind, in order."""
    return sorted(upload.slowdown for upload in uploads if upload.kind.name == name)


def p99(values: Sequence[float]) -> float:
    """The nearest rank of values in order."""
    return values[math.ceil(0.99 * len(values)) - 1]
