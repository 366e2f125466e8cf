"""How the encoder divides a CPU's cores: batches at work at once, and threads of each.

Knows the rule; refuses to know what runs. The threads of one run wait for each other after every
operator, hundreds of times a batch: whenever a core is slower or taken for a moment (a decode
worker, another machine on the same host) all others stand still. Batches of one thread each wait
for nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

LONE_RUN_S = 0.5
"""A run of one picture by one thread may take so long; beyond it all cores work on one batch, or a
picture that comes alone would wait long beside idle cores."""

BUCKETS_OF_A_CORE = (1, 2, 4, 8)
"""Batch sizes of one thread. Beyond four a row gets no cheaper, and whoever is in a batch sends no
picture that could be decoded for the next: two cores with sixteen each had all of 32 callers."""


@dataclass(frozen=True, slots=True)
class CoreShare:
    """What works at once."""

    sessions: int  # batches at work at once
    threads: int  # of each; 0: the library chooses


ALL_ON_ONE = CoreShare(sessions=1, threads=0)


def core_share(*, sessions: int, threads: int, cores: int) -> CoreShare:
    """The settings where they say it (above 0), and the cores divided where they do not: a
    session of one thread for each."""
    if sessions == 1 and threads == 0:
        return ALL_ON_ONE
    if sessions:
        return CoreShare(sessions, threads or max(1, cores // sessions))
    return CoreShare(max(1, cores // max(threads, 1)), max(threads, 1))
