"""The estimator against known truths: unbiased, and intervals that hold the truth often enough.

All seeded. A trial draws samples from a fixed population as the server does and estimates what
was missed; over 600 trials the mean must agree with the truth within three standard errors, and
a 95 % interval may miss the truth in at most 42 (a binomial of 600 and .05 exceeds that once in a
hundred times). The intervals are built to err on the safe side, so their lack is not bounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from imagesieve_server.core.scoring import Doubles
from imagesieve_server.offline.from_decisions import gamma, missed, recall
from imagesieve_server.offline.from_decisions.missed import Band
from imagesieve_server.offline.from_decisions.recall import Flags

TRIALS = 600


@dataclass(frozen=True, kw_only=True)
class World:
    """A population of allowed pictures by band, and how it is sampled."""

    sizes: tuple[int, ...]
    violating: tuple[float, ...]
    rates: tuple[float, ...]
    caught: int  # violating uploads that were flagged
    shared: bool = False  # some pictures are uploaded many times
    waiting: float = 0.0  # share of samples that nobody decided

    def population(self, rng: np.random.Generator) -> list[tuple[Doubles, np.ndarray]]:
        found = []
        for size, share in zip(self.sizes, self.violating, strict=True):
            uploads = rng.zipf(2.6, size).clip(max=50) if self.shared else np.ones(size)
            found.append((uploads.astype(np.float64), rng.random(size) < share))
        return found

    def sample(
        self, population: list[tuple[Doubles, np.ndarray]], rng: np.random.Generator
    ) -> list[Band]:
        bands = []
        for (uploads, violating), rate in zip(population, self.rates, strict=True):
            drawn = rng.random(len(uploads)) < rate
            decided = drawn & (rng.random(len(uploads)) >= self.waiting)
            bands.append(
                Band(
                    name=f"{rate:g}",
                    probability=rate,
                    allowed=int(uploads.sum()),
                    uploads=uploads[decided],
                    violating=violating[decided],
                    missing=int((drawn & ~decided).sum()),
                )
            )
        return bands


WORLDS = {
    "much is missed": World(
        sizes=(5000, 20_000), violating=(0.2, 0.02), rates=(0.3, 0.1), caught=2000
    ),
    "rare": World(
        sizes=(2000, 8000, 90_000), violating=(0.05, 0.01, 0.0005), rates=(0.05, 0.02, 0.002),
        caught=400,
    ),
    "few": World(sizes=(500, 3000), violating=(0.02, 0.002), rates=(0.1, 0.02), caught=50),
    "shared pictures": World(
        sizes=(2000, 20_000), violating=(0.1, 0.02), rates=(0.2, 0.05), caught=600, shared=True
    ),
    "many wait": World(
        sizes=(2000, 20_000), violating=(0.1, 0.02), rates=(0.2, 0.05), caught=400, waiting=0.4
    ),
    "nearly all looked at": World(sizes=(1000,), violating=(0.05,), rates=(0.9,), caught=100),
}  # fmt: skip


@pytest.mark.parametrize("name", WORLDS)
def test_the_estimate_is_unbiased_and_its_interval_holds_the_truth(name: str) -> None:
    world, rng = WORLDS[name], np.random.default_rng(7)
    population = world.population(rng)
    truth = sum(float(uploads[violating].sum()) for uploads, violating in population)
    recalled = world.caught / (world.caught + truth)
    totals, outside, of_recall = [], 0, 0
    flags = [Flags(uploads=np.ones(world.caught), violating=np.ones(world.caught, dtype=bool))]
    for _ in range(TRIALS):
        bands = world.sample(population, rng)
        figure = missed.estimate(bands).figure()
        totals.append(figure.value)
        outside += not figure.low <= truth <= figure.high
        found = recall._recall(recall._caught(flags), figure)
        assert found is not None
        of_recall += not found.low - 1e-12 <= recalled <= found.high + 1e-12
    error = float(np.std(totals)) / math.sqrt(TRIALS)
    assert abs(float(np.mean(totals)) - truth) < 3.0 * error
    assert outside <= 42
    assert of_recall == outside, "with every flag decided the recall's is the same interval"


def test_flags_that_wait_widen_the_interval_and_it_still_holds_the_truth() -> None:
    rng = np.random.default_rng(7)
    violating = {"a": rng.random(400) < 0.7, "b": rng.random(300) < 0.2}
    truth = float(sum(each.sum() for each in violating.values()))
    outside, totals = 0, []
    for _ in range(3 * TRIALS):
        flags = []
        for each in violating.values():
            decided = rng.random(len(each)) < 0.6
            flags.append(
                Flags(
                    uploads=np.ones(int(decided.sum())),
                    violating=each[decided],
                    waiting=float((~decided).sum()),
                )
            )
        caught = recall._caught(flags)
        totals.append(caught.value)
        outside += not caught.low <= truth <= caught.high
    assert abs(float(np.mean(totals)) - truth) < 3.0 * float(np.std(totals)) / math.sqrt(3 * TRIALS)
    assert outside <= 112  # once in a hundred times


# --- the ends --------------------------------------------------------------------------------


def band(n: int, hits: int, *, p: float = 0.01, allowed: int = 0, missing: int = 0) -> Band:
    return Band(
        name="far", probability=p, allowed=allowed, missing=missing,
        uploads=np.ones(n), violating=np.arange(n) < hits,
    )  # fmt: skip


def test_none_found_gives_the_exact_bound_and_never_certainty() -> None:
    """(1 − p)^K ≤ .025 is the most violating pictures of which none is drawn."""
    for p in (0.001, 0.1, 0.5):
        figure = missed.estimate([band(50, 0, p=p)]).figure()
        assert (figure.value, figure.low) == (0.0, 0.0)
        assert figure.high == pytest.approx(math.log(0.025) / math.log1p(-p), rel=1e-9)
    flags = [Flags(uploads=np.ones(90), violating=np.ones(90, dtype=bool))]
    found = recall.estimate(flags=flags, bands=[band(50, 0, p=0.1)])
    assert found.recall is not None
    assert found.recall.value == found.recall.high == 1.0
    assert found.recall.low == pytest.approx(90 / (90 + 35.01), abs=1e-3)


def test_one_band_of_small_rate_has_the_exact_interval_of_a_poisson_count() -> None:
    """Garwood 1936: for 5 events 1.62 to 11.67."""
    figure = missed.estimate([band(500, 5, p=1e-6)]).figure()
    assert figure.low == pytest.approx(1.6235e6, rel=1e-3)
    assert figure.high == pytest.approx(11.668e6, rel=1e-3)


def test_where_everything_is_looked_at_nothing_is_uncertain() -> None:
    figure = missed.estimate([band(100, 7, p=1.0)]).figure()
    assert (figure.value, figure.low, figure.high) == (7.0, 7.0, 7.0)


def test_no_more_can_be_missed_than_was_allowed() -> None:
    figure = missed.estimate([band(10, 5, p=0.1, allowed=60)]).figure()
    assert figure.value == 50.0
    assert figure.high == 55.0  # what was found, and the 50 that nobody saw


def test_a_small_band_does_not_widen_what_a_large_one_shows() -> None:
    large = band(2000, 100, p=0.5, allowed=4000)
    alone = missed.estimate([large]).figure()
    beside = missed.estimate([large, band(0, 0, p=0.001, allowed=5)]).figure()
    assert beside.high < alone.high + 6.0


def test_samples_that_wait_count_as_those_decided_do() -> None:
    assert missed.estimate([band(50, 5, p=0.5, missing=50)]).total == 20.0


def test_a_band_whose_samples_all_wait_says_nothing() -> None:
    figure = missed.estimate([band(0, 0, p=0.5, missing=9)]).figure()
    assert math.isinf(figure.high)
    counted = missed.estimate([band(0, 0, p=0.5, missing=9, allowed=30)]).figure()
    assert counted.high == pytest.approx(30.0)


def test_without_audit_or_without_a_catch_there_is_no_recall() -> None:
    flags = [Flags(uploads=np.ones(9), violating=np.ones(9, dtype=bool))]
    assert recall.estimate(flags=flags, bands=[]).recall is None
    assert recall.estimate(flags=[], bands=[band(9, 1)]).recall is None


def test_the_number_of_further_samples_makes_the_interval_ten_points_wide() -> None:
    flags = [Flags(uploads=np.ones(500), violating=np.ones(500, dtype=bool))]
    found = recall.estimate(flags=flags, bands=[band(400, 8, p=0.05)])
    assert found.needed is not None
    times = (found.needed + 400) / 400
    again = recall.estimate(
        flags=flags, bands=[band(round(400 * times), round(8 * times), p=0.05 * times)]
    )
    assert again.recall is not None
    assert again.recall.high - again.recall.low == pytest.approx(recall.WIDTH, abs=0.02)
    assert again.needed is not None
    assert again.needed < found.needed / 10
    many = recall.estimate(flags=flags, bands=[band(5000, 500, p=1.0)])
    assert many.needed == 0


def test_the_effective_number_is_kishs() -> None:
    found = recall.estimate(flags=[], bands=[band(30, 0, p=0.1), band(10, 0, p=0.01)])
    assert found.effective == pytest.approx((300 + 1000) ** 2 / (30 * 100 + 10 * 10_000))


def test_the_share_is_of_all_uploads() -> None:
    flags = [Flags(uploads=np.full(10, 2.0), violating=np.arange(10) < 5)]
    found = recall.estimate(flags=flags, bands=[band(100, 1, p=0.1, allowed=980)])
    assert found.share is not None
    assert found.share.value == pytest.approx((10 + 10) / 1000)
    assert found.share.low < found.share.value < found.share.high
    assert recall.estimate(flags=flags, bands=[band(100, 1)]).share is None


@pytest.mark.parametrize(
    ("probability", "shape", "value"),
    [(0.025, 1.0, 0.0253178), (0.975, 1.0, 3.6888795), (0.5, 5.0, 4.6709088),
     (0.975, 0.5, 2.5119431), (0.975, 100.0, 120.528948), (0.5, 1e6, 999_999.6666667)],
)  # fmt: skip
def test_gamma_quantiles(probability: float, shape: float, value: float) -> None:
    """Half the quantiles of χ² with twice as many degrees of freedom."""
    assert gamma.quantile(probability, shape) == pytest.approx(value, rel=1e-6)
    if shape < 1e4:
        assert gamma.cumulative(gamma.quantile(probability, shape), shape) == pytest.approx(
            probability, rel=1e-9
        )
