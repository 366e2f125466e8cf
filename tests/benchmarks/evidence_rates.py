"""How long putting and getting pictures takes in a folder and in a bucket, in one run.

    python tests/benchmarks/evidence_rates.py [--n 300] [--kib 300] [--callers 1 8 32]

The bucket is in an object store on this machine, all in one Python process: its own cost is in the
figures, and a network is not. So they bound what the server adds, and say nothing of a real store.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.object_store import ObjectStore
from imagesieve_server.review_queue.evidence import EvidenceStore, FolderEvidence
from imagesieve_server.review_queue.evidence_bucket import BucketEvidence


def measured(work: Callable[[bytes], object], pictures: list[bytes], callers: int) -> list[float]:
    """Milliseconds of each call, with so many at once."""

    def once(picture: bytes) -> float:
        begun = time.perf_counter()
        work(picture)
        return (time.perf_counter() - begun) * 1000

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(once, pictures))


def figures(evidence: EvidenceStore, pictures: list[bytes], callers: int) -> dict[str, float]:
    def put(data: bytes) -> None:
        evidence.put(tenant="t", sha256=hashlib.sha256(data).hexdigest(), data=data)

    def get(data: bytes) -> None:
        evidence.get(tenant="t", sha256=hashlib.sha256(data).hexdigest())

    found = {}
    for name, work in (("put", put), ("get", get)):
        begun = time.perf_counter()
        each = measured(work, pictures, callers)
        found[f"{name} ms, median"] = round(statistics.median(each), 2)
        found[f"{name} ms, p99"] = round(statistics.quantiles(each, n=100)[98], 2)
        found[f"{name}s/s"] = round(len(pictures) / (time.perf_counter() - begun), 1)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kib", type=int, default=300)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 8, 32])
    given = parser.parse_args()
    chance = random.Random(given.seed)
    store = ObjectStore()
    try:
        bucket = store.bucket(store.new_bucket())
        with tempfile.TemporaryDirectory(prefix="imagesieve-evidence-") as folder:
            for callers in given.callers:
                pictures = [chance.randbytes(given.kib * 1024) for _ in range(given.n)]
                row: dict[str, object] = {"callers": callers}
                places: dict[str, EvidenceStore] = {
                    "folder": FolderEvidence(root=Path(folder)),
                    "bucket": BucketEvidence(bucket=bucket, prefix="b", shown="bucket"),
                }
                for name, evidence in places.items():
                    row[name] = figures(evidence, pictures, callers)
                print(json.dumps(row), flush=True)
    finally:
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
