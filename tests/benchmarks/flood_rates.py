"""What grouping look-alikes costs the queue: enqueues with and without it, in one run.

    python tests/benchmarks/flood_rates.py --n 100000 --seed 1 [--folder DIR] [--group 64]

SQLite, ``--group`` flags in a commit. Three crowds: pictures without likeness to each other, one
picture in slightly different copies, and pictures made to share three quarters of their bands
with each other without being near (what a look for neighbours can be made to read). For each the
time with and without grouping is taken chunk by chunk in turn, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.review_queue import make_flag
from imagesieve_server.core.near_duplicates import Grouping
from imagesieve_server.review_queue.sqlite import migrate_sqlite, open_sqlite
from imagesieve_server.review_queue.store import RuledStore

CHUNK = 1000


def distinct(chance: random.Random) -> int:
    return chance.getrandbits(256)


def copies(chance: random.Random) -> int:
    value = 0x0123456789ABCDEF << 64
    for place in chance.sample(range(256), chance.randrange(16)):
        value ^= 1 << place
    return value


def crowded(chance: random.Random) -> int:
    """Bits of the first twelve bands are the same, those of the last four are drawn."""
    value = 0
    for place in range(256):
        row, column = divmod(place, 16)
        if (row + column) % 16 >= 12:
            value |= chance.getrandbits(1) << place
    return value


CROWDS: dict[str, Callable[[random.Random], int]] = {
    "distinct": distinct,
    "copies": copies,
    "crowded": crowded,
}


def opened(folder: Path, grouping: Grouping | None) -> RuledStore:
    path = folder / f"{'with' if grouping else 'without'}.db"
    migrate_sqlite(path=path)
    return open_sqlite(path=path, clock=time.time, grouping=grouping)


def measure(folder: Path, crowd: str, *, n: int, seed: int, group: int) -> dict[str, object]:
    stores = [opened(folder, None), opened(folder, Grouping())]
    spent: list[list[float]] = [[], []]
    chance = random.Random(f"{crowd} {seed}")
    for begin in range(0, n, CHUNK):
        flags = [
            make_flag(f"r{number}", picture_hash=f"{CROWDS[crowd](chance):064x}")
            for number in range(begin, min(begin + CHUNK, n))
        ]
        for store, seconds in zip(stores, spent, strict=True):
            started = time.monotonic()
            for first in range(0, len(flags), group):
                store.record(flags[first : first + group])
            seconds.append((time.monotonic() - started) / len(flags))
    for store in stores:
        store.close()
    tenth = max(1, len(spent[0]) // 10)
    first, last = [
        [sum(s[:tenth]) / tenth for s in spent],
        [sum(s[-tenth:]) / tenth for s in spent],
    ]
    return {
        "crowd": crowd,
        "ms_without": round(1e3 * sum(spent[0]) / len(spent[0]), 3),
        "ms_with": round(1e3 * sum(spent[1]) / len(spent[1]), 3),
        "ratio": round(sum(spent[1]) / sum(spent[0]), 2),
        "ratio_first_tenth": round(first[1] / first[0], 2),
        "ratio_last_tenth": round(last[1] / last[0], 2),
        "mib": [round(p.stat().st_size / 2**20, 1) for p in sorted(folder.glob("*.db"))],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--n", type=int, default=100_000, help="flags of each crowd")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--group", type=int, default=64, help="flags of one commit")
    parser.add_argument("--folder", type=Path, help="where the databases lie for a while")
    given = parser.parse_args()
    for crowd in CROWDS:
        with tempfile.TemporaryDirectory(prefix="flood-", dir=given.folder) as folder:
            found = measure(Path(folder), crowd, n=given.n, seed=given.seed, group=given.group)
        print(json.dumps({"n": given.n, "seed": given.seed, "group": given.group, **found}))


if __name__ == "__main__":
    main()
