"""The page of a calibration: every figure, nothing from outside, nothing unescaped."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from imagesieve_server.core.binomial import interval
from imagesieve_server.core.calibration import Platt
from imagesieve_server.core.policy import Scale, Threshold
from imagesieve_server.core.views import ViewKind
from imagesieve_server.offline.calibration.as_html import report
from imagesieve_server.offline.calibration.fit import Fitted
from imagesieve_server.offline.calibration.held_out import Measured, measure
from imagesieve_server.offline.calibration.outcome import (
    Calibrated,
    CategoryOutcome,
    KindOutcome,
    Outcome,
)
from imagesieve_server.offline.calibration.promise import Aim, Goal
from imagesieve_server.offline.calibration.reliability import reliability
from tests.helpers.policies import category, group, unit

LABELS = np.repeat([0, 1], [90, 10]).astype(np.int8)
P = np.linspace(0.0, 1.0, 100)


def outcome(title: str = "Weapons", *, labels: np.ndarray = LABELS, fitted: bool = True) -> Outcome:
    found = measure(P > 0.8, labels)
    mapping = Fitted(calibration=Platt(slope=1.0, intercept=0.0), held_out=P, losses={"platt": 0.1})
    known = reliability(P, LABELS)
    one = CategoryOutcome(
        category=category(group(unit(1, 0, 0)), title=title),
        yes=10,
        no=90,
        unsaid=0,
        log_odds=1.0,
        review_at=Threshold(value=1.25, scale=Scale.LOGIT),
        allowed=3,
        pictures=90,
        now=found,
        held_out=found,
        views={ViewKind.FRAME: Threshold(value=0.875)},
        kinds=(KindOutcome(kind=ViewKind.STILL, shared=found, separate=found),
               KindOutcome(kind=ViewKind.FRAME, shared=found, separate=found)),
        calibrated=Calibrated(fitted=mapping, before=known, after=known)
        if fitted
        else Calibrated(why_not="nobody said"),
    )  # fmt: skip
    return Outcome(
        goal=Aim(goal=Goal.MAX_FPR, rate=0.05),
        categories=(one,),
        folds=5,
        seed=1,
        flagged_now=interval(20, 100),
        flagged_held_out=interval(10, 100),
        notes=("a note",),
    )


def shown(found: Outcome, diff: str = "-old\n+new\n") -> str:
    return report(found, policy="demo", model="tiny", diff=diff)


def test_the_figures_and_two_diagrams_are_on_the_page() -> None:
    page = shown(outcome())
    for words in (
        "{logit:&nbsp;1.25}",
        "0.875",
        "animations",
        "a note",
        ">-old\n</span>",
        ">+new\n",
    ):
        assert words in page
    assert page.count("<figure>") == 2
    diagram = re.findall(r"<svg.*?</svg>", page, re.DOTALL)[0]
    assert diagram.count("<circle") == len(reliability(P, LABELS).bins)
    assert "NaN" not in page
    assert "nan" not in page


def test_what_is_not_known_is_a_dash() -> None:
    unknown = np.full(100, -1, dtype=np.int8)
    page = shown(outcome(labels=unknown, fitted=False), diff="")
    assert "No calibration: nobody said." in page
    assert "Nothing changes." in page
    assert "nan" not in page
    assert "<figure>" not in page


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=y>'])
def test_whatever_stands_in_the_policy_is_text(hostile: str) -> None:
    page = report(outcome(hostile), policy=hostile, model=hostile, diff=hostile)
    assert hostile not in page
    assert "<script" not in page
    assert "<img" not in page


def test_nothing_is_fetched_from_anywhere() -> None:
    page = shown(outcome())
    assert "default-src 'none'" in page
    assert re.findall(r"(?:src|href)=\"(?!#)", page) == []
    assert "http" not in page.replace("http-equiv", "")


def test_a_diagram_with_all_or_none_stays_within_its_axes() -> None:
    every = dataclasses.replace(outcome().categories[0])
    ones = Measured(fpr=interval(0, 0), recall=interval(3, 3), precision=interval(3, 3))
    extreme = reliability(np.array([0.0, 1.0]), np.array([1, 0], dtype=np.int8))
    calibrated = dataclasses.replace(every.calibrated, before=extreme, after=extreme)
    one = dataclasses.replace(every, held_out=ones, calibrated=calibrated)
    page = shown(dataclasses.replace(outcome(), categories=(one,)))
    assert page.count("<circle") == 4
