"""The YAML that a policy person edits, checked and turned into plain values.

Knows the grammar of a policy; knows nothing about vectors, probes' numbers or models.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from imagesieve_server.core.policy import (
    AuditRates,
    Method,
    Mode,
    NearBand,
    OnPartialCoverage,
    OnUnavailable,
    OnUndecodable,
    Pooling,
    Scale,
    Threshold,
    Thresholds,
)
from imagesieve_server.core.second_review import SecondReview
from imagesieve_server.core.views import Coverage, ViewKind
from imagesieve_server.policy_files.calibration_key import CalibrationSource, read_calibration
from imagesieve_server.policy_files.second_review_key import read_second_review
from imagesieve_server.policy_files.yaml_reader import Node, read_mapping

_ID = re.compile(r"[a-z][a-z0-9_-]{0,63}")

_POLICY_KEYS = (
    "name", "description", "templates", "neutral", "coverage", "max_views", "pooling",
    "categories", "on_undecodable", "on_partial_coverage", "on_unavailable",
    "reviews_needed", "second_review", "reuse_decisions", "audit",
)  # fmt: skip
_AUDIT_KEYS = ("rate", "near")
_NEAR_KEYS = ("within", "rate")
_CATEGORY_KEYS = (
    "id", "title", "severity", "mode", "prompts", "counter_prompts", "method", "pooling",
    "probe", "review_at", "block_at", "views", "calibration",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CategorySource:
    """One category as written."""

    id: str
    title: str
    severity: int
    mode: Mode
    method: Method
    pooling: Pooling
    prompts: tuple[str, ...]
    counter_prompts: tuple[str, ...]
    thresholds: Thresholds
    per_view_kind: tuple[tuple[ViewKind, Thresholds], ...]
    probe: str  # file, relative to the policy's folder; "" for all other methods
    calibration: CalibrationSource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySource:
    """A whole policy as written, with ``warnings`` for what is legal but probably not meant."""

    name: str
    description: str
    templates: tuple[str, ...]
    neutral: tuple[str, ...]
    categories: tuple[CategorySource, ...]
    coverage: Coverage
    max_views: int
    on_undecodable: OnUndecodable
    on_partial_coverage: OnPartialCoverage
    on_unavailable: OnUnavailable
    reviews_needed: int
    second_review: SecondReview | None
    reuse_decisions: bool
    audit: AuditRates | None
    text: str
    warnings: tuple[str, ...]

    def prompt_texts(self) -> tuple[str, ...]:
        """Every distinct prompt, in order of first appearance."""
        ordered = dict.fromkeys(self.neutral)
        for category in self.categories:
            ordered.update(dict.fromkeys(category.prompts))
            ordered.update(dict.fromkeys(category.counter_prompts))
        return tuple(ordered)


def parse_policy(text: str, *, file: str) -> PolicySource:
    """Read a policy. Raises PolicyError, which names file, line and field."""
    top = read_mapping(text, file=file)
    top.only(_POLICY_KEYS)
    pooling = top.choice("pooling", Pooling, Pooling.MAX)
    warnings: list[str] = []
    categories: list[CategorySource] = []
    for node in top.children("categories"):
        category = _category(node, pooling, warnings)
        if any(category.id == other.id for other in categories):
            raise node.error("id", f"category {category.id!r} stands twice")
        categories.append(category)
    return PolicySource(
        name=_identifier(top, "name"),
        description=top.text("description", ""),
        templates=_templates(top),
        neutral=top.texts("neutral"),
        categories=tuple(categories),
        coverage=top.choice("coverage", Coverage, Coverage.TILES),
        max_views=top.whole("max_views", low=1, high=256, default=32),
        on_undecodable=top.choice("on_undecodable", OnUndecodable, OnUndecodable.REVIEW),
        on_partial_coverage=top.choice(
            "on_partial_coverage", OnPartialCoverage, OnPartialCoverage.REVIEW
        ),
        on_unavailable=top.choice("on_unavailable", OnUnavailable, OnUnavailable.HOLD),
        reviews_needed=top.whole("reviews_needed", low=1, high=9, default=1),
        second_review=read_second_review(top, [category.id for category in categories]),
        reuse_decisions=top.truth("reuse_decisions", default=False),
        audit=_audit(top),
        text=text,
        warnings=tuple(warnings),
    )


def _identifier(node: Node, key: str) -> str:
    value = node.text(key)
    if not _ID.fullmatch(value):
        raise node.error(
            key, f"{value!r} must be 1 to 64 of a-z, 0-9, _ and -, beginning with a letter"
        )
    return value


def _templates(top: Node) -> tuple[str, ...]:
    if not top.has("templates"):
        return ("{}",)
    templates = top.texts("templates")
    for template in templates:
        if template.count("{}") != 1:
            raise top.error("templates", f"{template!r} must contain {{}} exactly once")
    return templates


def _audit(top: Node) -> AuditRates | None:
    if not top.has("audit"):
        return None
    node = top.child("audit")
    node.only(_AUDIT_KEYS)
    rate = _rate(node)
    near: list[NearBand] = []
    for band in node.children("near") if node.has("near") else ():
        band.only(_NEAR_KEYS)
        within = band.number("within")
        if not 0.0 < within <= 100.0:
            raise band.error("within", f"must lie above 0, at most 100 log-odds, not {within:g}")
        if near and within <= near[-1].within:
            raise band.error("within", "must be wider than the band before it")
        near.append(NearBand(within=within, rate=_rate(band)))
    return AuditRates(rate=rate, near=tuple(near))


def _rate(node: Node) -> float:
    """A probability. 0 is refused: what is never looked at cannot be estimated."""
    rate = node.number("rate")
    if not 0.0 < rate <= 1.0:
        raise node.error("rate", f"must lie above 0, at most 1, not {rate:g}")
    return rate


def _category(node: Node, pooling: Pooling, warnings: list[str]) -> CategorySource:
    node.only(_CATEGORY_KEYS)
    identifier = _identifier(node, "id")
    method = node.choice("method", Method, Method.CONTRAST)
    mode = node.choice("mode", Mode, Mode.ENFORCE)
    prompts, counter = _prompts(node, method)
    thresholds = _thresholds(node, method)
    acts = thresholds.review_at is not None or thresholds.block_at is not None
    if mode is Mode.ENFORCE and not acts:
        raise node.error("review_at", "is missing (or set block_at, or mode: observe)")
    return CategorySource(
        id=identifier,
        title=node.text("title", identifier),
        severity=node.whole("severity", low=1, high=4),
        mode=mode,
        method=method,
        pooling=node.choice("pooling", Pooling, pooling),
        prompts=prompts,
        counter_prompts=counter,
        thresholds=thresholds,
        per_view_kind=_view_thresholds(node, identifier, method, thresholds, warnings),
        probe=_probe(node, method),
        calibration=read_calibration(node, method),
    )


def _prompts(node: Node, method: Method) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(prompts, counter-prompts); a probe has neither."""
    no_effect = f"have no effect with method {method.value}"
    counter = node.texts("counter_prompts", required=False)
    if counter and method is not Method.CONTRAST:
        raise node.error("counter_prompts", no_effect)
    if method is not Method.PROBE:
        return node.texts("prompts"), counter
    if node.has("prompts"):
        raise node.error("prompts", no_effect)
    return (), ()


def _probe(node: Node, method: Method) -> str:
    if method is Method.PROBE:
        return node.text("probe")
    if node.has("probe"):
        raise node.error("probe", f"has no effect with method {method.value}")
    return ""


def _thresholds(node: Node, method: Method) -> Thresholds:
    review = _threshold(node, "review_at", method)
    block = _threshold(node, "block_at", method)
    if review and block and _place(block) < _place(review):
        raise node.error("block_at", "lies below review_at")
    return Thresholds(review_at=review, block_at=block)


def _threshold(node: Node, key: str, method: Method) -> Threshold | None:
    if not node.has(key):
        return None
    if node.is_mapping(key):
        if method is Method.COSINE:
            raise node.error(key, "a cosine has no logit; write a plain number")
        inner = node.child(key)
        inner.only(("logit",))
        return Threshold(value=inner.number("logit"), scale=Scale.LOGIT)
    value = node.number(key)
    low, high = (-1.0, 1.0) if method is Method.COSINE else (0.0, 1.0)
    if not low < value < high:
        raise node.error(key, f"must lie between {low:g} and {high:g}, not {value:g}")
    return Threshold(value=value)


def _view_thresholds(
    node: Node, category: str, method: Method, still: Thresholds, warnings: list[str]
) -> tuple[tuple[ViewKind, Thresholds], ...]:
    if not node.has("views"):
        return ()
    views = node.child("views")
    views.only([kind.value for kind in ViewKind if kind is not ViewKind.STILL])
    found: list[tuple[ViewKind, Thresholds]] = []
    for key in views.names():
        inner = views.child(key)
        inner.only(("review_at", "block_at"))
        limits = _thresholds(inner, method)
        if _laxer(limits.review_at, still.review_at) or _laxer(limits.block_at, still.block_at):
            warnings.append(
                f"category {category!r}: the {key} thresholds are laxer than the still's, so a "
                f"{key} needs a higher score to be flagged"
            )
        found.append((ViewKind(key), limits))
    return tuple(found)


def _place(threshold: Threshold) -> float:
    """Where a threshold lies, comparable across scales."""
    if threshold.scale is Scale.LOGIT or not 0.0 < threshold.value < 1.0:
        return threshold.value
    return threshold.log_odds()


def _laxer(other: Threshold | None, still: Threshold | None) -> bool:
    if still is None:
        return False
    return other is None or _place(other) > _place(still) or math.isnan(_place(other))
