"""``imagesieve-server policy diff`` over a large store: seconds, memory, and a reference.

    PYTHONPATH=tests python tests/benchmarks/policy_diff.py --n 1000000 --seed 1 [--dimensions 512]

Writes N views through the server's own writer (three tenants, thirty days, one to four views an
image), runs the command in a process of its own, and in the same run, by turns: a bare pyarrow
read of the embeddings alone, and the least a plain numpy program would do (read, cast, one float32
product with the prompts). Each figure is the best of --rounds. The store is removed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from helpers.judged import DAY_S, NOON, sha_of, unit, views_of
from imagesieve_server.core.kept import JudgedImage
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.verdict import Judgement, Verdict
from imagesieve_server.embedding_store.reader import Part, StoreReader
from imagesieve_server.embedding_store.writer import ParquetEmbeddings, StoreOptions
from imagesieve_server.extras import need
from imagesieve_server.policy_files import compiled
from imagesieve_server.policy_files.source import parse_policy
from imagesieve_server.testing import RecordingMetrics

MODEL = "b" * 64
CATEGORIES, PROMPTS, COUNTERS, NEUTRAL = 8, 10, 4, 30
TENANTS, DAYS = ("one", "two", "three"), 30


def yaml(review_at: float) -> str:
    lines = ["name: bench", f"neutral: [{', '.join(f'n{i}' for i in range(NEUTRAL))}]"]
    lines.append("categories:")
    for c in range(CATEGORIES):
        prompts = ", ".join(f"p{c} {i}" for i in range(PROMPTS))
        counters = ", ".join(f"c{c} {i}" for i in range(COUNTERS))
        lines.append(
            f"  - {{id: cat{c}, severity: 2, prompts: [{prompts}], counter_prompts: [{counters}],"
            f" review_at: {review_at}, block_at: 0.99}}"
        )
    return "\n".join(lines) + "\n"


def write_policy(path: Path, review_at: float, seed: int, dimensions: int) -> Policy:
    """A policy of random prompts, the same for the same seed."""
    source = parse_policy(yaml(review_at), file=path.name)
    texts = source.prompt_texts()
    vectors = unit(np.random.default_rng(seed), len(texts), dimensions)
    data = compiled.build(
        source=source, file=path.name, model_fingerprint=MODEL, logit_scale=100.0, logit_bias=0.0,
        vectors=dict(zip(texts, vectors, strict=True)),
    )  # fmt: skip
    compiled.write(path, data)
    return compiled.read(path).policy


async def write_store(root: Path, policy: Policy, views: int, rng: np.random.Generator) -> None:
    """Through the real writer, with a clock that goes through the days."""
    now = [NOON]
    metrics = RecordingMetrics()
    store = ParquetEmbeddings(
        root=root, metrics=metrics, clock=lambda: now[0],
        options=StoreOptions(queue_views=4096, flush_s=1e9, keep_days=0.0, max_bytes=1 << 40),
    )  # fmt: skip
    aims = np.concatenate([policy.neutral.vectors, *(c.prompts.vectors for c in policy.categories)])
    judgement = Judgement(verdict=Verdict.ALLOW, reasons=(), scores=())
    done = number = 0
    while done < views:
        count = min(int(rng.integers(1, 5)), views - done)
        embeddings = (
            unit(rng, count, aims.shape[1]) + 0.2 * rng.random() * aims[rng.integers(len(aims))]
        )
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        now[0] = NOON + (done * DAYS // views) * DAY_S
        image = JudgedImage(
            tenant=TENANTS[number % len(TENANTS)], sha256=sha_of(str(number)), surface="post",
            categories=(), policy=policy, judgement=judgement, views=views_of(count), coverage=1.0,
            truncated=(), embeddings=embeddings.astype(np.float32),
        )  # fmt: skip
        while True:  # a benchmark has time: what was dropped is shown again
            store.see(image)
            dropped = metrics.calls and metrics.calls[-1][0] == "embeddings_dropped"
            if not dropped:
                break
            metrics.calls.pop()
            await asyncio.sleep(0.01)
        done, number = done + count, number + 1
    await store.close()


def command(store: Path, a: Path, b: Path, out: Path) -> tuple[float, float, float]:
    """Seconds, seconds of processor, and peak resident MiB of the command."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "imagesieve_server", "policy", "diff", str(a), str(b),
         "--store", str(store), "--all-tenants", "--json", str(out)],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    busy = usage.ru_utime + usage.ru_stime
    return time.perf_counter() - started, busy, usage.ru_maxrss / 1024


def embeddings_of(path: Path, dimensions: int) -> np.ndarray:
    """The embeddings of a file, read by pyarrow and nothing else."""
    column = need("pyarrow.parquet").ParquetFile(path).read(columns=["embedding"])["embedding"]
    raw = np.frombuffer(column.combine_chunks().buffers()[1], dtype="<f2")
    return raw.reshape(-1, dimensions)


def files(store: Path) -> list[Path]:
    folders = StoreReader(root=store).folders(Part(tenants=()))
    return [path for folder in folders for path in folder.files()]


def bare_read(paths: Sequence[Path], dimensions: int) -> None:
    for path in paths:
        embeddings_of(path, dimensions)


def plain_numpy(paths: Sequence[Path], prompts: np.ndarray, dimensions: int) -> None:
    for path in paths:
        embeddings_of(path, dimensions).astype(np.float32) @ prompts.T


def timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=1_000_000, help="views")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        a, b = root / "a.policy.npz", root / "b.policy.npz"
        policy = write_policy(a, 0.6, args.seed, args.dimensions)
        write_policy(b, 0.4, args.seed, args.dimensions)
        store = root / "store"
        writing = timed(lambda: asyncio.run(write_store(store, policy, args.n, rng)))
        paths = files(store)
        size = sum(path.stat().st_size for path in paths)
        print(f"{args.n} views of {args.dimensions} numbers, {len(paths)} files, "
              f"{size / 2**20:.0f} MiB, written in {writing:.0f} s")  # fmt: skip
        groups = [policy.neutral, *(g for c in policy.categories
                                    for g in (c.prompts, c.counter_prompts))]  # fmt: skip
        prompts = np.concatenate([group.vectors for group in groups])
        rounds = []
        for _ in range(args.rounds):
            seconds, busy, peak = command(store, a, b, root / "out.json")
            read = timed(lambda: bare_read(paths, args.dimensions))
            plain = timed(lambda: plain_numpy(paths, prompts, args.dimensions))
            rounds.append((seconds, busy, peak, read, plain))
            print(f"  policy diff {seconds:.1f} s ({busy:.1f} s of processor), {peak:.0f} MiB; "
                  f"bare read {read:.2f} s; plain numpy {plain:.1f} s", flush=True)  # fmt: skip
        best = [min(column) for column in zip(*rounds, strict=True)]
        report = json.loads((root / "out.json").read_text(encoding="utf-8"))
        print(f"{len(prompts)} prompts; best: policy diff {best[0]:.1f} s ({best[1]:.1f} s of "
              f"processor), peak {best[2]:.0f} MiB, bare read {best[3]:.2f} s, plain numpy "
              f"{best[4]:.1f} s; ratio to plain numpy {best[0] / best[4]:.2f}")  # fmt: skip
        print(f"{report['images']} images, within rounding {report['within_rounding']}, "
              f"verdicts {report['verdicts']}")  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
