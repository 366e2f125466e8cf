"""Who waits how long for the encoder, by how large its batches may grow.

    python tests/benchmarks/batch_sizes.py [--seconds 300] [--seeds 8] [--load 0.8]

On a driven clock, from recorded seconds of a run: no machine is measured and every run prints the
same. p50 and p99 of the wait of small pictures ÷ a small picture alone, mean of the seeds; the mix
of sizes is that of ``imagesieve-server bench --only tails``.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from imagesieve_server.commands.bench.figures import percentile
from imagesieve_server.commands.bench.ideal_server import Coming, IdealMachine, Rule, up_to
from imagesieve_server.commands.bench.load import arrivals
from imagesieve_server.encoders.batch_sizes import BucketTimes

DECODE_S = {"small": 0.0036, "medium": 0.015, "large": 0.0465}  # of a core
SHARES = (0.80, 0.15, 0.05)


@dataclass(frozen=True, slots=True)
class Device:
    """What encodes."""

    a_row: Mapping[int, float]  # seconds by batch size
    sessions: int = 1  # batches at once, each on a core of its own; 1: one batch on two cores


ONE_THREAD = {  # processor time a row by batch size, least of 20 rounds (ADR 0039)
    "fp32": {1: 0.1064, 2: 0.0983, 4: 0.0997, 8: 0.0981},
    "int8": {1: 0.0343, 2: 0.0308, 4: 0.0300, 8: 0.0300},
}
DEVICES = {
    "fp32 on two cores": Device({1: 0.0588, 2: 0.0580, 4: 0.0575, 8: 0.0573, 16: 0.0573}),
    "the same, one row 8 % dearer": Device(
        {1: 0.0619, 2: 0.0580, 4: 0.0575, 8: 0.0573, 16: 0.0573}
    ),
    "int8 on two cores": Device({1: 0.0220, 2: 0.0195, 4: 0.0186, 8: 0.0184, 16: 0.0180}),
    "a device that gains fivefold": Device({1: 0.004, 2: 0.00225, 4: 0.0014, 8: 0.001, 16: 0.0008}),
    **{
        f"{name}, a batch for each of {cores} cores": Device(a_row, cores)
        for cores in (2, 8)
        for name, a_row in ONE_THREAD.items()
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--load", type=float, default=0.8)
    parser.add_argument("--only", default="", help="devices whose names have this in them")
    options = parser.parse_args()
    for title, device in DEVICES.items():
        if options.only not in title:
            continue
        runs = {size: size * seconds for size, seconds in device.a_row.items()}
        machine = IdealMachine(
            runs=runs, cores=max(2, device.sessions), shared=True, at_once=device.sessions
        )
        crowds = [
            _coming(machine, load=options.load, seconds=options.seconds, seed=seed)
            for seed in range(options.seeds)
        ]
        print(f"{title}; pays: {BucketTimes(runs).pays}")
        for name, rule in _rules(runs, device.sessions).items():
            figures = [_figures(machine, crowd, rule) for crowd in crowds]
            p50, p99 = (statistics.mean(values) for values in zip(*figures, strict=True))
            print(f"  {name}: p50 {p50:.2f}, p99 {p99:.1f}", flush=True)


def _rules(runs: Mapping[int, float], sessions: int) -> Mapping[str, Rule]:
    """A rule is told what waits ÷ sessions that are free: nearly always one is."""
    times = BucketTimes(runs)

    def chosen(rows: int, *, full_for: int = sessions) -> int:
        each = rows // full_for
        return min(rows, times.choose(rows=rows, each=each, time_left=60.0))

    found: dict[str, Rule] = {"chosen": chosen}
    if sessions > 1:
        found["full where one full batch waits"] = lambda rows: chosen(rows, full_for=1)
    return found | {f"up to {size}": up_to(runs, size) for size in runs}


def _coming(machine: IdealMachine, *, load: float, seconds: float, seed: int) -> list[Coming]:
    mean_decode = sum(s * share for s, share in zip(DECODE_S.values(), SHARES, strict=True))
    largest = max(machine.runs)
    a_picture = machine.runs[largest] / largest / machine.at_once + mean_decode / machine.cores
    chance = random.Random(f"kinds {seed}")  # not the stream of the times
    kinds = list(DECODE_S)
    return [
        Coming(at=at, kind=kind, decode_s=DECODE_S[kind])
        for at in arrivals(rate=load / a_picture, seconds=seconds, seed=seed)
        for kind in chance.choices(kinds, weights=SHARES)
    ]


def _figures(machine: IdealMachine, crowd: list[Coming], rule: Rule) -> tuple[float, float]:
    alone = machine.runs[1] + DECODE_S["small"] * machine.at_once / machine.cores
    waits = [
        wait / alone
        for wait, picture in zip(machine.waits(crowd, rule), crowd, strict=True)
        if picture.kind == "small"
    ]
    return percentile(waits, 0.5), percentile(waits, 0.99)


if __name__ == "__main__":
    main()
