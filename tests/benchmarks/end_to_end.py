"""End-to-end rate ÷ the limit that encoder and decoder set (design: 1/(1/E + 1/D) on shared cores).

    python tests/benchmarks/end_to_end.py [--rounds 5] [--seconds 8] [--arch ViT-B-32]

E is the encoder alone and D the decoder pool alone, each on all cores, in views/s; S is what
32 callers get from a real server over gRPC. Each round measures all three one after the other,
so that a machine that changes speed changes all of them. Square JPEGs: one view each.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from imagesieve import AsyncClient
from imagesieve_server.commands.local_server import LocalServer, start_server
from imagesieve_server.core.views import ViewPlan
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import RuntimeOptions
from imagesieve_server.images.decoder_pool import DecoderPool
from imagesieve_server.testing import RecordingMetrics

CALLERS = 32
SIDE = 480  # px; 0.23 MP
POLICY = """\
name: bench
neutral: [a photo of an animal, a photo of food, a landscape]
categories:
  - {id: weapons, severity: 3, prompts: [a handgun, a rifle], review_at: {logit: 1000}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Views per second of one round."""

    encoder: float
    decoder: float
    served: float

    @property
    def limit(self) -> float:
        return 1 / (1 / self.encoder + 1 / self.decoder)

    @property
    def ratio(self) -> float:
        return self.served / self.limit


def pictures(count: int = 64) -> list[bytes]:
    """Square JPEGs with the detail of photographs; all different, so no cache can help."""
    rng = np.random.default_rng(0)
    encoded = []
    for _ in range(count):
        coarse = rng.integers(0, 255, size=(30, 30, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        noise = rng.normal(0, 12, size=(SIDE, SIDE, 3))
        picture = np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)
        out = io.BytesIO()
        Image.fromarray(picture).save(out, "JPEG", quality=85)
        encoded.append(out.getvalue())
    return encoded


def prepare(arch: str, folder: Path) -> Path:
    """Export the architecture with seeded random weights, once; returns the bundle's folder."""
    bundle = folder / f"{arch}-fp32"
    if not bundle.exists():
        command = [
            sys.executable, "-m", "imagesieve_server", "model", "export", "--arch", arch,
            "--pretrained", "none", "--precision", "fp32", "--out", str(bundle),
        ]  # fmt: skip
        subprocess.run(command, check=True)
    (folder / "bench.yaml").write_text(POLICY)
    policies = folder / "policies"
    policies.mkdir(exist_ok=True)
    command = [
        sys.executable, "-m", "imagesieve_server", "policy", "compile",
        str(folder / "bench.yaml"), "--model", str(bundle),
        "--out", str(policies / "bench.policy.npz"),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return bundle


async def rate(work: Callable[[int], Awaitable[None]], *, callers: int, seconds: float) -> float:
    """Completed calls per second of ``callers`` that call ``work`` again and again."""
    done = 0
    started = time.perf_counter()
    end = started + seconds

    async def caller(number: int) -> None:
        nonlocal done
        turn = number
        while time.perf_counter() < end:
            await work(turn)
            done += 1
            turn += callers

    await asyncio.gather(*(caller(number) for number in range(callers)))
    return done / (time.perf_counter() - started)


def encoder_rate(encoder: OnnxImageEncoder, seconds: float) -> float:
    """Views per second of the encoder alone at its largest batch."""
    size = encoder.spec.preprocessing.size
    rows = max(encoder.buckets)
    pixels = np.random.default_rng(1).integers(0, 255, (rows, size, size, 3), dtype=np.uint8)
    encoder.run(pixels)
    started = time.perf_counter()
    done = 0
    while time.perf_counter() - started < seconds:
        encoder.run(pixels)
        done += rows
    return done / (time.perf_counter() - started)


async def one_round(
    *, encoder: OnnxImageEncoder, server: LocalServer, images: list[bytes], seconds: float
) -> Round:
    """Measure the three rates one after the other."""
    alone = encoder_rate(encoder, seconds)
    pool = DecoderPool(
        preprocessing=encoder.spec.preprocessing,
        metrics=RecordingMetrics(),
        workers=os.cpu_count() or 1,
    )
    await pool.start()

    async def decode(turn: int) -> None:
        deadline = time.monotonic() + 60
        await pool.decode(images[turn % len(images)], plan=ViewPlan(), deadline=deadline)

    decoded = await rate(decode, callers=CALLERS, seconds=seconds / 2)
    await pool.close()
    async with AsyncClient(server.target) as client:

        async def moderate(turn: int) -> None:
            result = await client.moderate(images[turn % len(images)], timeout=120)
            if not result.may_publish:
                raise RuntimeError(f"expected ALLOW, got {result.verdict}")

        await rate(moderate, callers=CALLERS, seconds=1.0)
        served = await rate(moderate, callers=CALLERS, seconds=seconds)
    return Round(encoder=alone, decoder=decoded, served=served)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--arch", default="ViT-B-32")
    parser.add_argument("--folder", type=Path, default=Path("imagesieve-data/bench"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    bundle = prepare(args.arch, args.folder)
    images = pictures()
    encoder = OnnxImageEncoder(bundle=load_bundle(bundle), options=RuntimeOptions())
    with start_server(
        folder=args.folder,
        bundle=bundle,
        policies=args.folder / "policies",
        IMAGESIEVE__IMAGES__CACHE_MIB="0",  # the same pictures come again and again
    ) as server:
        rounds = []
        for number in range(args.rounds):
            found = asyncio.run(
                one_round(encoder=encoder, server=server, images=images, seconds=args.seconds)
            )
            rounds.append(found)
            print(
                f"round {number + 1}: encoder {found.encoder:6.1f}  decoder {found.decoder:6.1f}  "
                f"limit {found.limit:6.1f}  served {found.served:6.1f} views/s  "
                f"ratio {found.ratio:.3f}",
                flush=True,
            )
    ratios = [found.ratio for found in rounds]
    print(
        f"{args.arch} fp32, {CALLERS} callers, {SIDE} px square JPEGs, {os.cpu_count()} cores: "
        f"end to end ÷ limit = {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f})"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
