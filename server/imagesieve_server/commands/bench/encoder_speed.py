"""The encoder alone: its arithmetic a second ÷ that of the machine's own matrix product, and a
lower precision ÷ the baseline."""

from __future__ import annotations

import statistics

from imagesieve_server.commands.bench.crew import Crew
from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.figures import Aim, Ratio, Series
from imagesieve_server.commands.bench.graph_cost import GraphCost, cost_of
from imagesieve_server.commands.bench.matmul_peak import MatmulPeak
from imagesieve_server.commands.bench.parts import open_crew
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.cuda_session import CUDA
from imagesieve_server.encoders.manifest import Precision
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions

NAME = "encoder"
_COUNTED_ROWS = 16  # of the run on the CPU that counts a view's arithmetic
_TURNS = 3  # of product and encoders in a round
_LARGE_FLOP = 100e9  # of a view; from here on a GPU's own overheads should not show


def measure(bench: Bench) -> list[Ratio]:
    """Rate ÷ peak for each bundle that is not int8, and bundle ÷ baseline where there is one."""
    bundles = [bench.bundle, *([bench.baseline] if bench.baseline else [])]
    encoders = [open_crew(bench, bundle) for bundle in bundles]
    model = bench.settings.model
    on_gpu = encoders[0].spec.provider == CUDA
    peak = MatmulPeak(
        options=RuntimeOptions(
            provider=Provider(model.provider), threads=model.threads, spinning=model.spinning
        ),
        half=on_gpu,
        folder=bench.folder,
    )
    peaks: list[float] = []
    rates: list[list[float]] = [[] for _ in bundles]
    for number in range(bench.effort.rounds):
        product, views = _round(peak, encoders, bench.effort.seconds)
        peaks.append(product)
        for found, rate in zip(rates, views, strict=True):
            found.append(rate)
        said = ", ".join(f"{found[-1]:.1f}" for found in rates)
        bench.say(f"  round {number + 1}: {said} views/s, product {peaks[-1] / 1e9:.0f} GFLOP/s")
    ratios = [
        _to_peak(bench, bundle, encoder, found, peaks)
        for bundle, encoder, found in zip(bundles, encoders, rates, strict=True)
    ]
    return ratios + ([_to_baseline(encoders, rates)] if bench.baseline else [])


def _round(peak: MatmulPeak, encoders: list[Crew], seconds: float) -> tuple[float, list[float]]:
    """Operations a second of the product, views a second of each encoder; ``seconds`` for each.

    By turns within the round: what takes the machine for a second is then nobody's alone.
    """
    products, views = [], []
    for _ in range(_TURNS):
        products.append(peak.flop_per_s(seconds / _TURNS))
        views.append([encoder.views_per_s(seconds / _TURNS) for encoder in encoders])
    best = max(statistics.fmean(rates) for rates in zip(*products, strict=True))
    return best, [statistics.fmean(rates) for rates in zip(*views, strict=True)]


def _to_peak(
    bench: Bench,
    bundle: Bundle,
    encoder: Crew,
    rates: list[float],
    peaks: list[float],
) -> Ratio:
    batch = max(encoder.buckets)
    threads = bench.settings.model.threads
    cost = cost_of(bundle, batch=min(batch, _COUNTED_ROWS), threads=threads, folder=bench.folder)
    on_gpu = encoder.spec.provider == CUDA
    precision = encoder.spec.precision
    return Ratio(
        measure=NAME,
        title=f"encoder in {precision} ÷ matrix product in {'fp16' if on_gpu else 'fp32'}",
        over=Series(
            what=f"encoder, batches of {batch}",
            unit="GFLOP/s",
            values=tuple(rate * cost.flop / 1e9 for rate in rates),
        ),
        under=Series(
            what="matrix product", unit="GFLOP/s", values=tuple(peak / 1e9 for peak in peaks)
        ),
        aim=_aim(precision, cost, on_gpu=on_gpu),
        beside={
            "views/s": statistics.median(rates),
            "GFLOP a view": cost.flop / 1e9,
            "s of a batch of 1": encoder.seconds[min(encoder.buckets)],
            "time on the CPU by operator": ", ".join(
                f"{name} {share:.0%}" for name, share in cost.time_shares.items()
            ),
        },
    )


def _aim(precision: str, cost: GraphCost, *, on_gpu: bool) -> Aim | None:
    if on_gpu and precision == Precision.FP16:
        return Aim(at_least=0.60 if cost.flop >= _LARGE_FLOP else 0.45)
    if not on_gpu and precision == Precision.FP32:
        return Aim(at_least=0.80)
    return None  # int8 beats a product in fp32, and should


def _to_baseline(encoders: list[Crew], rates: list[list[float]]) -> Ratio:
    """The first bundle ÷ the second."""
    measured, base = (encoder.spec.precision for encoder in encoders)
    over, under = (
        Series(what=f"in {precision}", unit="views/s", values=tuple(found))
        for precision, found in zip((measured, base), rates, strict=True)
    )
    compares = (measured, base) == (Precision.INT8, Precision.FP32)
    return Ratio(
        measure=NAME,
        title=f"encoder in {measured} ÷ in {base}",
        over=over,
        under=under,
        aim=Aim(at_least=2.5) if compares else None,
    )
