"""How long callers would wait for a server that costs nothing but decoding and encoding. Pure.

Pictures come when they come and are done in that order; a batch begins as soon as the encoder is
free, and takes as many rows as a rule says. Nothing else takes time, so what is left of a measured
wait is the price of this model on this machine under this load, and no server with the same order
can avoid it. One view a picture. It refuses to know how the seconds were measured.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from imagesieve_server.commands.bench.figures import percentile

Rule = Callable[[int], int]
"""Rows that wait, 1 or more, to the rows of the next batch, at most as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """A picture on its way."""

    at: float  # seconds from the start
    kind: str
    decode_s: float  # of one core


@dataclass(frozen=True, slots=True, kw_only=True)
class IdealMachine:
    """What decoding and encoding cost, and nothing else."""

    runs: Mapping[int, float]  # seconds of one encoder run by batch size
    cores: int
    shared: bool  # the encoder computes on the cores that decoding needs
    at_once: int = 1  # runs that make each other no slower; shared cores are divided among them

    def waits(self, pictures: Sequence[Coming], rule: Rule) -> list[float]:
        """Seconds from coming to done of each of ``pictures``, which are in order of coming."""
        ready = [p.at for p in pictures] if self.shared else self._decoded(pictures)
        order = sorted(range(len(pictures)), key=ready.__getitem__)
        due = [ready[number] for number in order]
        found = [0.0] * len(pictures)
        free, begun = [0.0] * self.at_once, 0  # when each run in hand is done
        while begun < len(order):
            now = max(heapq.heappop(free), due[begun])
            idle = 1 + sum(end <= now for end in free)
            rows = rule(math.ceil((bisect.bisect_right(due, now) - begun) / idle))
            batch = order[begun : begun + rows]
            end = now + self._seconds([pictures[number].decode_s for number in batch])
            for number in batch:
                found[number] = end - pictures[number].at
            heapq.heappush(free, end)
            begun += rows
        return found

    def _seconds(self, decode_s: Sequence[float]) -> float:
        """Of one batch, and on shared cores of decoding its pictures on its part of them."""
        run = min(seconds for size, seconds in self.runs.items() if size >= len(decode_s))
        return run + sum(decode_s) * self.at_once / self.cores if self.shared else run

    def _decoded(self, pictures: Sequence[Coming]) -> list[float]:
        """When each is decoded by cores of its own, whichever is free first."""
        free = [0.0] * self.cores
        found = []
        for picture in pictures:
            done = max(heapq.heappop(free), picture.at) + picture.decode_s
            heapq.heappush(free, done)
            found.append(done)
        return found


def least_p99(machine: IdealMachine, pictures: Sequence[Coming]) -> Mapping[str, float]:
    """Seconds by kind: the p99 with whichever largest batch makes it least for that kind.

    Batches are as large as what waits, up to that size. Chosen afterwards, so a server that cannot
    see the future hardly reaches it.
    """
    found: dict[str, float] = {}
    for largest in machine.runs:
        waits = machine.waits(pictures, up_to(machine.runs, largest))
        for kind in {picture.kind for picture in pictures}:
            of_kind = [w for w, p in zip(waits, pictures, strict=True) if p.kind == kind]
            found[kind] = min(found.get(kind, float("inf")), percentile(of_kind, 0.99))
    return found


def up_to(runs: Mapping[int, float], largest: int) -> Rule:
    """Batches of what waits up to ``largest``: filled or padded, whichever costs less a row."""
    sizes = [size for size in sorted(runs) if size <= largest]

    def rule(rows: int) -> int:
        rows = min(rows, sizes[-1])
        padded = runs[next(size for size in sizes if size >= rows)]
        filled = max((size for size in sizes if size <= rows), default=rows)
        return filled if runs.get(filled, padded) / filled < padded / rows else rows

    return rule
