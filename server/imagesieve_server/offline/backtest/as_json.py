"""The report for other programs. Names are stable; infinities are null."""

from __future__ import annotations

import math
from typing import Any

from imagesieve_server.core.policy import Policy
from imagesieve_server.offline.backtest.forecast import Share
from imagesieve_server.offline.backtest.report import CategoryChange, Report
from imagesieve_server.offline.backtest.tally import VERDICTS, Example, Group, largest

FORMAT = 1
_BANDS = ("NOT_ASKED", "CLEAR", "REVIEW", "BLOCK")


def as_json(report: Report) -> dict[str, Any]:
    """The whole report as plain values."""
    tally = report.tally
    audit_a, audit_b = report.audit_per_day()
    return {
        "format": FORMAT,
        "a": _policy(tally.a),
        "b": _policy(tally.b),
        "images": tally.images,
        "views": tally.views,
        "days": {day.isoformat(): _group(tally.days[day]) for day in sorted(tally.days)},
        "left_out": {
            "other_policy": dict(sorted(tally.other_policy.items())),
            "other_plan": dict(sorted(tally.other_plan.items())),
            "damaged_files": list(report.damage),
        },
        "judged_by_a_before": {"images": tally.given, "otherwise": tally.given_otherwise},
        "within_rounding": {"a": tally.close_a, "b": tally.close_b},
        "verdicts": {
            one.value: {other.value: int(tally.verdicts[i, j]) for j, other in enumerate(VERDICTS)}
            for i, one in enumerate(VERDICTS)
        },
        "reviews": {
            "uploads_per_day": report.uploads_per_day,
            "uploads_given": report.uploads_given,
            "share": {
                "a": _share(report.share_a),
                "b": _share(report.share_b),
                "difference": _share(report.difference),
            },
            "per_day": {
                "a": _share(report.per_day(report.share_a)),
                "b": _share(report.per_day(report.share_b)),
                "difference": _share(report.per_day(report.difference)),
            },
            "audit_samples_per_day": {"a": audit_a, "b": audit_b},
        },
        "policy_changes": list(report.policy_changes),
        "categories": {one.id: _category(one) for one in report.categories},
        "tenants": {name: _group(group) for name, group in sorted(tally.tenants.items())},
        "surfaces": {name: _group(group) for name, group in sorted(tally.surfaces.items())},
        "examples": {
            "stricter": [_example(one) for one in largest(tally.stricter)],
            "laxer": [_example(one) for one in largest(tally.laxer)],
        },
    }


def _policy(policy: Policy) -> dict[str, str]:
    return {
        "name": policy.name,
        "version": policy.version,
        "model_fingerprint": policy.model_fingerprint,
    }


def _share(share: Share) -> dict[str, float]:
    return {"value": share.value, "low": share.low, "high": share.high}


def _group(group: Group) -> dict[str, int]:
    return {
        "images": group.images,
        "flagged_a": group.flagged_a,
        "flagged_b": group.flagged_b,
        "only_b": group.gained,
        "only_a": group.lost,
    }


def _category(one: CategoryChange) -> dict[str, Any]:
    flagged_a, flagged_b = one.flagged()
    return {
        "why": list(one.why),
        "flagged_a": flagged_a,
        "flagged_b": flagged_b,
        "higher_under_b": one.gained,
        "lower_under_b": one.lost,
        "bands": {
            name: {other: int(one.bands[i, j]) for j, other in enumerate(_BANDS)}
            for i, name in enumerate(_BANDS)
        },
    }


def _example(one: Example) -> dict[str, Any]:
    return {
        "sha256": one.sha256,
        "tenant": one.tenant,
        "surface": one.surface,
        "day": one.day.isoformat(),
        "verdict_a": one.verdict_a.value,
        "verdict_b": one.verdict_b.value,
        "margin_a": _finite(one.margin_a),
        "margin_b": _finite(one.margin_b),
        "categories": list(one.categories),
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
