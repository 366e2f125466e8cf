"""What it costs to have the encoder in another process: processor time per view, both sides.

    python tests/benchmarks/remote_encoder.py --n 4000 [--rounds 7] [--size 224] [--views 1]

The row encoder does nothing, so that all of the time is the batcher's and, in turn with it, the
batcher's behind a front end's connection: pixels in shared memory, records over a Unix socket.
Both ends run on one event loop of this process, so that its processor time (user and system) is
that of both; nothing here is a rate. ``--callers`` calls are under way at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from helpers.shared_encoder import remote_over
from imagesieve_server.core.ports import Encoder, EncoderSpec
from imagesieve_server.core.views import Embeddings, Pixels, Preprocessing
from imagesieve_server.encoders.batcher import Batcher, BatcherOptions
from imagesieve_server.testing import RecordingMetrics

WIDTH = 512


class Nothing:
    """A row encoder that takes no time."""

    def __init__(self, size: int) -> None:
        self._found = np.zeros((64, WIDTH), dtype=np.float32)
        self._found[:, 0] = 1.0
        self.spec = EncoderSpec(
            fingerprint="0" * 64,
            name="nothing",
            embedding_size=WIDTH,
            preprocessing=Preprocessing(size=size),
            logit_scale=100.0,
            logit_bias=0.0,
            precision="fp32",
            provider="none",
        )

    def warm(self) -> Mapping[int, float]:
        return {1: 1e-4, 4: 1e-4, 16: 1e-4, 64: 1e-4}

    def run(self, pixels: Pixels) -> Embeddings:
        return self._found[: len(pixels)].copy()

    def check_canary(self, batch_size: int = 0) -> None:
        """Always well."""


async def cost(encoder: Encoder, pixels: Pixels, *, calls: int, callers: int) -> float:
    """Seconds of processor time per view."""
    numbers = iter(range(calls))

    async def caller() -> None:
        for _ in numbers:
            await encoder.encode(pixels, deadline=time.monotonic() + 60)

    began = time.process_time()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return (time.process_time() - began) / (calls * len(pixels))


async def measure(args: argparse.Namespace) -> dict[str, object]:
    """Both ways in turn."""
    batcher = Batcher(
        encoder=Nothing(args.size),
        metrics=RecordingMetrics(),
        options=BatcherOptions(max_waiting_views=1024),
    )
    await batcher.start()
    pixels = np.ones((args.views, args.size, args.size, 3), dtype=np.uint8)
    rounds: list[tuple[float, float]] = []
    async with remote_over(batcher) as remote:
        for _ in range(args.rounds + 1):
            near, far = [
                await cost(encoder, pixels, calls=args.n // args.views, callers=args.callers)
                for encoder in (batcher, remote)
            ]
            rounds.append((near, far))
    await batcher.close()
    del rounds[0]  # pages that are touched for the first time
    ratios = [far / near for near, far in rounds]
    return {
        "views_per_call": args.views,
        "callers": args.callers,
        "in_process_us_per_view": round(min(near for near, _ in rounds) * 1e6, 1),
        "remote_us_per_view": round(min(far for _, far in rounds) * 1e6, 1),
        "difference_us": round(statistics.median(far - near for near, far in rounds) * 1e6, 1),
        "ratio": {
            "median": round(statistics.median(ratios), 2),
            "least": round(min(ratios), 2),
            "greatest": round(max(ratios), 2),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=4000, help="views a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=224, help="px")
    parser.add_argument("--views", type=int, default=1, help="of one call")
    parser.add_argument("--callers", type=int, default=32)
    print(json.dumps(asyncio.run(measure(parser.parse_args())), indent=1))


if __name__ == "__main__":
    main()
