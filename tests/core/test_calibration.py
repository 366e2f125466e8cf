"""Probabilities from log-odds: monotone, for reports only."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesieve_server.core.calibration import Calibration, Isotonic, Platt, probability

REAL = st.floats(-1e6, 1e6)


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    if draw(st.booleans()):
        return Platt(slope=draw(st.floats(1e-6, 1e3)), intercept=draw(REAL))
    places = draw(st.lists(REAL, min_size=2, max_size=20, unique=True))
    values = draw(st.lists(st.floats(0, 1), min_size=len(places), max_size=len(places)))
    return Isotonic(log_odds=tuple(sorted(places)), probabilities=tuple(sorted(values)))


@settings(deadline=None)
@given(calibrations(), st.lists(REAL, min_size=2, max_size=30))
def test_a_probability_never_falls(calibration: Calibration, log_odds: list[float]) -> None:
    knots = list(calibration.log_odds) if isinstance(calibration, Isotonic) else []
    near = [float(np.nextafter(x, way)) for x in knots for way in (-math.inf, math.inf)]
    found = [probability(calibration, x) for x in sorted([*log_odds, *knots, *near])]
    assert all(p is not None and 0.0 <= p <= 1.0 for p in found)
    assert found == sorted(found)


def test_platt_by_hand() -> None:
    calibration = Platt(slope=2.0, intercept=-1.0)
    assert probability(calibration, 0.5) == 0.5
    assert probability(calibration, 1.5) == pytest.approx(1 / (1 + math.exp(-2)))
    assert (probability(calibration, 1e9), probability(calibration, -1e9)) == (1.0, 0.0)


def test_isotonic_is_straight_between_knots_and_flat_outside() -> None:
    calibration = Isotonic(log_odds=(-1.0, 0.0, 3.0), probabilities=(0.1, 0.1, 0.7))
    found = [probability(calibration, x) for x in (-9, -1, -0.5, 0, 1, 3, 99)]
    assert found == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.3, 0.7, 0.7])


def test_no_calibration_is_no_probability_and_nan_stays_nan() -> None:
    assert probability(None, 1.0) is None
    for calibration in (
        Platt(slope=1.0, intercept=0.0),
        Isotonic(log_odds=(0.0, 1.0), probabilities=(0.0, 1.0)),
    ):
        assert math.isnan(probability(calibration, math.nan) or 0.0)
