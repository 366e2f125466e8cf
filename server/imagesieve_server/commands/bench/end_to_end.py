"""End-to-end rate ÷ the limit that encoder and decoder set: what the rest of the server costs.

E is the encoder alone at its largest batch and D the decode workers alone, each on all cores, in
views/s. On shared cores the limit is 1/(1/E + 1/D), else min(E, D). S is what callers get from a
server over gRPC; the callers run on the same cores, so a second figure takes their time out.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass

from imagesieve_server.commands.bench import figures, load
from imagesieve_server.commands.bench.crew import Crew
from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.figures import Aim, Ratio, Series
from imagesieve_server.commands.bench.parts import decoder_pool, open_crew, server_of
from imagesieve_server.commands.bench.pictures import SMALL, SQUARE, Pictures
from imagesieve_server.core.views import Coverage, ViewPlan
from imagesieve_server.encoders.cuda_session import CUDA

NAME = "end-to-end"
SHAPES = ((SQUARE, Coverage.CENTRE), (SMALL, Coverage.CENTRE), (SMALL, Coverage.TILES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One kind of picture and what a policy sees of it."""

    pictures: Pictures
    coverage: Coverage

    @property
    def title(self) -> str:
        size = self.pictures.size
        return f"{size.width}×{size.height} JPEG, coverage {self.coverage.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round found for one shape; views/s."""

    encoder: float
    decoder: float
    served: load.Answered


def measure(bench: Bench) -> list[Ratio]:
    """Two ratios for each shape: as served, and without the callers' own time."""
    shapes = [Shape(pictures=Pictures(size), coverage=coverage) for size, coverage in SHAPES]
    encoder = open_crew(bench)
    found: list[list[Round]] = [[] for _ in shapes]
    with server_of(bench) as server:
        for number in range(bench.effort.rounds):
            alone = encoder.views_per_s(bench.effort.seconds)
            for shape, rounds in zip(shapes, found, strict=True):
                one = asyncio.run(_round(bench, encoder, server.target, shape, alone))
                rounds.append(one)
                bench.say(
                    f"  round {number + 1}: {shape.title}: encoder {alone:.1f}, decoder "
                    f"{one.decoder:.1f}, served {one.served.views_per_s:.1f} views/s"
                )
    shared = encoder.spec.provider != CUDA
    return [
        ratio
        for shape, rounds in zip(shapes, found, strict=True)
        for ratio in _ratios(shape, rounds, shared=shared, cores=bench.cores)
    ]


async def _round(bench: Bench, encoder: Crew, target: str, shape: Shape, alone: float) -> Round:
    effort = bench.effort
    pool = decoder_pool(bench, encoder.spec)
    await pool.start()
    plan = ViewPlan(coverage=shape.coverage)

    async def decode(number: int) -> int:
        del number
        deadline = time.monotonic() + load.PATIENCE_S
        return len((await pool.decode(shape.pictures.new(), plan=plan, deadline=deadline)).views)

    try:
        await load.repeat(decode, callers=effort.callers, seconds=0.2)
        decoded = await load.repeat(decode, callers=effort.callers, seconds=effort.seconds / 2)
    finally:
        await pool.close()
    served = await load.closed_loop(
        target,
        shape.pictures.new,
        callers=effort.callers,
        seconds=effort.seconds,
        policy=shape.coverage.value,
    )
    return Round(encoder=alone, decoder=decoded.views_per_s, served=served)


def _ratios(shape: Shape, rounds: list[Round], *, shared: bool, cores: int) -> list[Ratio]:
    limits = Series(
        what="limit of encoder and decoder",
        unit="views/s",
        values=tuple(
            figures.limit(encoder=r.encoder, decoder=r.decoder, shared=shared) for r in rounds
        ),
    )
    served = tuple(r.served.views_per_s for r in rounds)
    free = tuple(
        figures.without_callers(
            r.served.views_per_s,
            callers_cpu_s=r.served.callers_cpu_s if shared else 0.0,
            wall_s=r.served.wall_s,
            cores=cores,
        )
        for r in rounds
    )
    beside = {
        "encoder, views/s": statistics.median(r.encoder for r in rounds),
        "decoder, views/s": statistics.median(r.decoder for r in rounds),
        "views per image": sum(r.served.views for r in rounds)
        / sum(r.served.images for r in rounds),
        "callers' processor seconds per image": sum(r.served.callers_cpu_s for r in rounds)
        / sum(r.served.images for r in rounds),
        # One process calls, on one core but for gRPC's own threads, which count too: it can pass 1,
        # and from about 1 on the callers may be what is measured, whatever the server can do.
        "cores that the callers kept busy": sum(r.served.callers_cpu_s for r in rounds)
        / sum(r.served.wall_s for r in rounds),
    }
    aim = Aim(at_least=0.95 if shared else 0.85)
    return [
        Ratio(
            measure=NAME,
            title=f"{title}: {shape.title}",
            over=Series(what=title, unit="views/s", values=values),
            under=limits,
            aim=aim,
            beside=beside,
        )
        for title, values in (("served", served), ("served, callers' time taken out", free))
    ]
