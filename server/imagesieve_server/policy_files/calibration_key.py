"""A category's ``calibration``: the mapping from its log-odds to a probability, as written.

    calibration: {method: platt, slope: 0.8, intercept: -2.1, fitted_on: "0c3f9a12b7de"}
    calibration: {method: isotonic, logits: [-4, 0, 3], probabilities: [0.01, 0.2, 0.9]}

With method cosine the knots of an isotonic calibration are ``cosines``. ``fitted_on`` is the
digest (``fitted_on.py``) of what the calibration was fitted on; without one nothing is checked.
"""

from __future__ import annotations

import enum
import itertools
import re
from dataclasses import dataclass

from imagesieve_server.core.calibration import Calibration, Isotonic, Platt
from imagesieve_server.core.policy import Method
from imagesieve_server.policy_files.yaml_reader import Node

MAX_KNOTS = 1000

KEY = "calibration"

_DIGEST = re.compile(r"[0-9a-f]{12}")


class CalibrationMethod(enum.StrEnum):
    PLATT = "platt"
    ISOTONIC = "isotonic"


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSource:
    """A calibration as written."""

    calibration: Calibration
    fitted_on: str  # 12 hex digits; "" where it is not said


def read_calibration(category: Node, method: Method) -> CalibrationSource | None:
    """The category's calibration, None without one. Raises PolicyError."""
    if not category.has(KEY):
        return None
    node = category.child(KEY)
    kind = node.choice("method", CalibrationMethod)
    read = _platt if kind is CalibrationMethod.PLATT else _isotonic
    calibration = read(node, method)
    digest = node.text("fitted_on", "")
    if digest and not _DIGEST.fullmatch(digest):
        raise node.error("fitted_on", "must be 12 of 0-9 and a-f, in quotes")
    return CalibrationSource(calibration=calibration, fitted_on=digest)


def knots_key(method: Method) -> str:
    """What the knots of an isotonic calibration are called."""
    return "cosines" if method is Method.COSINE else "logits"


def _platt(node: Node, method: Method) -> Platt:
    node.only(("method", "slope", "intercept", "fitted_on"))
    slope = node.number("slope")
    if slope <= 0.0:
        raise node.error("slope", "must be above 0: a higher score is never less probable")
    return Platt(slope=slope, intercept=node.number("intercept"))


def _isotonic(node: Node, method: Method) -> Isotonic:
    key = knots_key(method)
    other = "logits" if method is Method.COSINE else "cosines"
    if node.has(other):
        raise node.error(other, f"method {method.value} is calibrated over {key}")
    node.only(("method", key, "probabilities", "fitted_on"))
    places, values = node.numbers(key), node.numbers("probabilities")
    if not 2 <= len(places) <= MAX_KNOTS:
        raise node.error(key, f"must be 2 to {MAX_KNOTS} numbers, not {len(places)}")
    if len(places) != len(values):
        raise node.error("probabilities", f"has {len(values)} numbers for {len(places)} {key}")
    if any(b <= a for a, b in itertools.pairwise(places)):
        raise node.error(key, "must rise from each number to the next")
    if method is Method.COSINE and not (places[0] >= -1.0 and places[-1] <= 1.0):
        raise node.error(key, "must lie between -1 and 1")
    if any(b < a for a, b in itertools.pairwise(values)):
        raise node.error("probabilities", "must never fall: a higher score is never less probable")
    if not (values[0] >= 0.0 and values[-1] <= 1.0):
        raise node.error("probabilities", "must lie between 0 and 1")
    return Isotonic(log_odds=places, probabilities=values)
