"""Thresholds and calibrations as they are written into a policy: short, and never past the promise.

A threshold is rounded to the side that keeps its goal: up where few may be flagged, down where
few may be missed. It keeps the scale it had, but for scores so near 0 or 1 that four decimals
say too little; those become log-odds.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np

from imagesieve_server.core.calibration import Calibration, Isotonic, Platt
from imagesieve_server.core.policy import Method, Scale, Threshold
from imagesieve_server.core.scoring import sigmoid
from imagesieve_server.policy_files.calibration_key import knots_key

_COSINE_STEP = Decimal("0.00001")
_SCORE_STEP = Decimal("0.0001")
_LOGIT_STEP = Decimal("0.001")
_PLAIN_SCORES = (0.01, 0.99)


def rounded(log_odds: float, *, method: Method, like: Threshold | None, up: bool) -> Threshold:
    """The short threshold nearest to "flag at and above ``log_odds``" that flags no more
    (``up``), or no less, than it. ``like`` is the threshold that it replaces."""
    if method is Method.COSINE:
        return _rounded(log_odds, log_odds, Scale.SCORE, _COSINE_STEP, up=up)
    score = _score(log_odds)
    as_logit = like is not None and like.scale is Scale.LOGIT
    if as_logit or not _PLAIN_SCORES[0] <= score <= _PLAIN_SCORES[1]:
        return _rounded(log_odds, log_odds, Scale.LOGIT, _LOGIT_STEP, up=up)
    return _rounded(score, log_odds, Scale.SCORE, _SCORE_STEP, up=up)


def _rounded(value: float, log_odds: float, scale: Scale, step: Decimal, *, up: bool) -> Threshold:
    exact = Decimal(value).quantize(step, ROUND_CEILING if up else ROUND_FLOOR)
    threshold = Threshold(value=float(exact), scale=scale)
    plain = step == _COSINE_STEP
    below = float(np.nextafter(log_odds, -math.inf))
    while up and _reached(threshold, below, plain=plain):  # a score that equals its rounding
        exact += step
        threshold = Threshold(value=float(exact), scale=scale)
    while not up and not _reached(threshold, log_odds, plain=plain):
        exact -= step
        threshold = Threshold(value=float(exact), scale=scale)
    return threshold


def _reached(threshold: Threshold, log_odds: float, *, plain: bool) -> bool:
    return threshold.reached(score=log_odds if plain else _score(log_odds), logit=log_odds)


def _score(log_odds: float) -> float:
    return float(sigmoid(np.asarray([log_odds]))[0])


def threshold_text(threshold: Threshold) -> str:
    """YAML."""
    number = number_text(threshold)
    return f"{{logit: {number}}}" if threshold.scale is Scale.LOGIT else number


def number_text(threshold: Threshold) -> str:
    """The number alone, without an exponent."""
    return format(Decimal(repr(threshold.value)), "f")


def calibration_text(calibration: Calibration, *, method: Method, fitted_on: str) -> str:
    """YAML, a flow mapping."""
    if isinstance(calibration, Platt):
        numbers = f"slope: {calibration.slope!r}, intercept: {calibration.intercept!r}"
        inside = f"method: platt, {numbers}"
    else:
        inside = _isotonic_text(calibration, method)
    return f'{{{inside}, fitted_on: "{fitted_on}"}}'


def _isotonic_text(calibration: Isotonic, method: Method) -> str:
    places = ", ".join(map(repr, calibration.log_odds))
    values = ", ".join(map(repr, calibration.probabilities))
    return f"method: isotonic, {knots_key(method)}: [{places}], probabilities: [{values}]"
