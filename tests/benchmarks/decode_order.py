"""Who waits how long to be decoded, in order of arrival and in order of what each should cost.

    python tests/benchmarks/decode_order.py [--seconds 30] [--seeds 3] [--load 0.8]

On a driven clock: no machine is measured and every run prints the same. p99 of the time until an
image is decoded ÷ that on an idle machine, the median of the seeds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.decode_simulation import (
    FIRST_COME,
    Kind,
    Machine,
    decode_all,
    p99,
    slowdowns,
    stream,
)

SMALL = Kind(name="small", work_s=0.0065)  # JPEGs of 0.3, 3 and 12 megapixels
MEDIUM = Kind(name="medium", work_s=0.025)
LARGE = Kind(name="large", work_s=0.062)
FILM = Kind(name="film", work_s=3.0)  # an animation of 700 frames
MIXES: Mapping[str, Mapping[Kind, float]] = {
    "80 % small, 15 % medium, 5 % large": {SMALL: 0.80, MEDIUM: 0.15, LARGE: 0.05},
    "half small, half large": {SMALL: 0.5, LARGE: 0.5},
    "the first, and 0.15 % films": {SMALL: 0.8, MEDIUM: 0.15, LARGE: 0.0485, FILM: 0.0015},
}
MACHINES: Mapping[str, Machine] = {
    "first come, first served": FIRST_COME,
    "by due time": Machine(one_for_short=False, weight_of_long=1.0, together=False),
    "and one worker more": Machine(weight_of_long=1.0, together=False),
    "and lower priority": Machine(together=False),
    "and several at a time": Machine(),
}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--load", type=float, default=0.8)
    options = parser.parse_args()
    for title, mix in MIXES.items():
        for cores in (2, 8):
            for name, rules in MACHINES.items():
                machine = replace(rules, cores=cores)
                figures = [_figures(mix, machine, options, seed) for seed in range(options.seeds)]
                medians = {
                    kind.name: statistics.median(one[kind.name] for one in figures) for kind in mix
                }
                words = ", ".join(f"{kind} {value:.1f}" for kind, value in medians.items())
                print(f"{title}; {cores} cores; {name}: {words}", flush=True)


def _figures(
    mix: Mapping[Kind, float], machine: Machine, options: argparse.Namespace, seed: int
) -> dict[str, float]:
    uploads = stream(
        mix, load=options.load, seconds=options.seconds, cores=machine.cores, seed=seed
    )
    decode_all(uploads, machine)
    return {kind.name: p99(slowdowns(uploads, kind.name) or [0.0]) for kind in mix}


if __name__ == "__main__":
    asyncio.run(main())
