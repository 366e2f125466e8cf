"""How long pictures wait for the encoder behind films, and films behind pictures.

    python tests/benchmarks/film_order.py [--seconds 600] [--seeds 6] [--films 0.01]

On a driven clock with the server's own queue: no machine is measured and every run prints the
same. A picture is one row, a film 32, a row 58 ms, every batch one row, every deadline ten seconds;
nothing is refused. The wait ÷ what the picture or film takes alone, mean of the seeds.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
from dataclasses import dataclass

import numpy as np

from imagesieve_server.commands.bench.figures import percentile
from imagesieve_server.commands.bench.load import arrivals
from imagesieve_server.encoders.waiting import Waiter, WaitingRoom

FILM_ROWS = 32
ROW_S = 0.058
DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Upload:
    """One that comes."""

    at: float  # seconds
    rows: int


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--films", type=float, default=0.01, help="share of the uploads")
    options = parser.parse_args()
    for load in (0.6, 0.8):
        found = [_figures(_uploads(options, load, seed)) for seed in range(options.seeds)]
        pictures, films, median, late = (statistics.mean(v) for v in zip(*found, strict=True))
        print(
            f"load {load:.0%}: pictures p99 {pictures:.1f}; films p99 {films:.1f}, "
            f"p50 {median:.1f}, late {late:.1%}",
            flush=True,
        )


def _uploads(options: argparse.Namespace, load: float, seed: int) -> list[Upload]:
    chance = random.Random(f"kinds {seed}")  # not the stream of the times
    mean_rows = 1 + (FILM_ROWS - 1) * options.films
    rate = load / (ROW_S * mean_rows)
    return [
        Upload(at, FILM_ROWS if chance.random() < options.films else 1)
        for at in arrivals(rate=rate, seconds=options.seconds, seed=seed)
    ]


def _figures(uploads: list[Upload]) -> tuple[float, float, float, float]:
    """p99 of pictures, p99 and p50 of films, each ÷ alone; share of films past their deadline."""
    waits = _waits(uploads)
    pairs = list(zip(waits, uploads, strict=True))
    pictures = [wait / ROW_S for wait, upload in pairs if upload.rows == 1]
    films = [wait / ROW_S / FILM_ROWS for wait, upload in pairs if upload.rows > 1]
    late = sum(film * ROW_S * FILM_ROWS > DEADLINE_S for film in films) / len(films)
    return percentile(pictures, 0.99), percentile(films, 0.99), percentile(films, 0.5), late


def _waits(uploads: list[Upload]) -> list[float]:
    """Seconds from coming to the end of the last row, of each."""
    room, numbers, now, coming = WaitingRoom(), dict[Waiter, int](), 0.0, 0
    pixels = np.zeros((FILM_ROWS, 1, 1, 3), dtype=np.uint8)
    found = [0.0] * len(uploads)
    while coming < len(uploads) or room.rows:
        if not room.rows:
            now = max(now, uploads[coming].at)
        while coming < len(uploads) and uploads[coming].at <= now:
            upload = uploads[coming]
            waiter = Waiter(
                pixels=pixels[: upload.rows],
                deadline=upload.at + DEADLINE_S,
                width=1,
                future=asyncio.Future(),
            )
            numbers[waiter] = coming
            room.add(waiter)
            coming += 1
        (part,) = room.take(1, now=now, s_per_row=ROW_S)
        now += ROW_S
        if part.waiter.rows_left == 0:
            number = numbers.pop(part.waiter)
            found[number] = now - uploads[number].at
    return found


if __name__ == "__main__":
    asyncio.run(main())
