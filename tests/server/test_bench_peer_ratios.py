"""Ours ÷ the best peer of a family: who counts, what is divided by what."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from benchmarks import peer_answers, peer_ratios
from benchmarks.peer_ratios import CASES, FAMILIES, Family
from benchmarks.steady import Stretch

from imagesieve_server.commands.bench.figures import Ratio


@dataclass(frozen=True, kw_only=True)
class Raced:
    name: str
    family: Family
    precision: str


OURS = Raced(name="ours", family=Family.OURS, precision="int8")
SLOW = Raced(name="slow", family=Family.TUNED, precision="int8")
QUICK = Raced(name="quick", family=Family.TUNED, precision="int8")
WRONG = Raced(name="wrong", family=Family.TUNED, precision="int8")
USERS = Raced(name="users", family=Family.DOCUMENTED, precision="int8")
FLOAT = Raced(name="float", family=Family.DOCUMENTED, precision="fp32")
RATES = {OURS: 50, SLOW: 20, QUICK: 40, WRONG: 100, USERS: 25, FLOAT: 10}


def stretch(images: int) -> Stretch:
    return Stretch(images=images, wall_s=1.0, callers_cpu_s=0.0, server_cpu_s=2.0)


def found(*, unfit: tuple[Raced, ...] = ()) -> list[Ratio]:
    rates = {one: [stretch(rate)] for one, rate in RATES.items()}
    return list(peer_ratios.ratios(CASES["0.3 MP"], rates, unfit))


def test_both_families_have_their_own_ratio_tuned_first_each_with_the_aim() -> None:
    answered = [ratio for ratio in found() if "time" not in ratio.title]
    assert [(ratio.measure, ratio.under.what, ratio.median) for ratio in answered] == [
        (FAMILIES[Family.TUNED], "wrong", 0.5),
        (FAMILIES[Family.DOCUMENTED], "users", 2.0),
        (FAMILIES[Family.DOCUMENTED], "float", 5.0),
    ]
    assert [str(ratio.aim) for ratio in answered] == ["≥ 1.25", "≥ 1.25", "≥ 2.5"]


def test_a_graph_that_gives_up_verdicts_is_shown_but_no_peer() -> None:
    """Neither in the rate nor as the one that costs least."""
    rate, _, cost = (one for one in found(unfit=(WRONG,)) if one.measure.endswith("core)"))
    assert (rate.under.what, rate.median) == ("quick", 1.25)
    assert rate.beside == {"slow": 20, "quick": 40, "wrong (no peer: too far from fp32)": 100}
    assert (cost.over.what, cost.median) == ("quick", pytest.approx(50 / 40))


def test_nothing_is_divided_by_a_family_without_a_peer() -> None:
    measures = {ratio.measure for ratio in found(unfit=(SLOW, QUICK, WRONG))}
    assert measures == {FAMILIES[Family.DOCUMENTED]}


@pytest.mark.parametrize(("fp32", "fit"), [(peer_answers.LOST, True), (0.51, False)])
def test_a_distance_says_whether_it_still_answers_what_fp32_does(fp32: float, fit: bool) -> None:
    distance = peer_answers.Distance(own=None, fp32=fp32)
    assert distance.fit is fit
    assert ("NO PEER" in str(distance)) is not fit
