"""The tables of the messages about how well people decide."""

from __future__ import annotations

from imagesieve import quality_results
from imagesieve.review_wire import OUTCOMES
from imagesieve.tables import TEXTS, TIME, Many, One, Table, plain
from imagesieve.v1 import quality_pb2 as pb

ESTIMATE = Table(quality_results.Estimate, pb.Estimate, plain("value", "low", "high"))
FIGURES = Table(
    quality_results.QualityFigures,
    pb.QualityFigures,
    plain("name", "pairs", "agreed", "only_first_rejected", "only_second_rejected")
    | plain("golden", "golden_right", "golden_passed", "decisions", "contested", "overturned")
    | {
        "agreement": One(ESTIMATE),
        "kappa": One(ESTIMATE),
        "golden_accuracy": One(ESTIMATE),
        "overturn_rate": One(ESTIMATE),
    },
)
QUALITY = Table(
    quality_results.Quality,
    pb.GetQualityResponse,
    plain("partial")
    | {
        "since": TIME,
        "until": TIME,
        "total": One(FIGURES),
        "categories": Many(FIGURES),
        "reviewers": Many(FIGURES),
    },
)
GOLDEN = Table(
    quality_results.Golden,
    pb.Golden,
    plain("item_id", "sha256", "category", "note", "marked_by", "given")
    | {"outcome": OUTCOMES, "labels": TEXTS, "marked_at": TIME},
)
