"""The complete answer to one moderation request, and its JSON form.

The JSON is what the store keeps beside a flag, so that a repeated request gets the very same
answer and a reviewer sees what the uploader was told. Unknown keys are ignored on reading:
an answer written by a newer server must stay readable.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagesieve_server.core.policy import Mode, Scale, Threshold
from imagesieve_server.core.verdict import (
    Band,
    CategoryScore,
    Judgement,
    Reason,
    ReasonCode,
    Verdict,
)
from imagesieve_server.core.views import Background, DecodeInfo, View, ViewKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the caller is told about one image."""

    request_id: str
    sha256: str  # hex digest of the bytes received
    judgement: Judgement
    policy: str
    policy_version: str
    model_version: str  # fingerprint of the bundle
    dry_run: bool = False
    views: tuple[View, ...] = ()
    coverage: float = 0.0
    crop_fraction: float = 0.0
    decode_info: DecodeInfo | None = None  # None where no picture could be made
    surface: str = ""
    content_ref: str = ""
    uploader_ref: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    item_id: str = ""  # the review item, where the image was flagged


def to_json(answer: Answer) -> str:
    """Serialise; infinities (a margin without a threshold) become null."""
    return json.dumps(_plain(dataclasses.asdict(answer)), separators=(",", ":"), sort_keys=True)


def from_json(text: str) -> Answer:
    """Read what ``to_json`` wrote. Raises ValueError or KeyError where it is something else."""
    raw = json.loads(text)
    raw["judgement"] = _judgement(raw["judgement"])
    raw["views"] = tuple(_view(v) for v in raw["views"])
    info = raw["decode_info"]
    raw["decode_info"] = None if info is None else _known(DecodeInfo, info)
    answer: Answer = _known(Answer, raw)
    return answer


def without_details(text: str) -> str:
    """The stored answer reduced to its verdict: without scores, views and what the uploader
    sent along. It still answers a repeated request."""
    raw: dict[str, Any] = json.loads(text)
    emptied: dict[str, Any] = {
        "views": [],
        "decode_info": None,
        "surface": "",
        "content_ref": "",
        "uploader_ref": "",
        "labels": {},
    }
    raw |= {key: value for key, value in emptied.items() if key in raw}
    if isinstance(raw.get("judgement"), dict):
        raw["judgement"] = {**raw["judgement"], "scores": []}
    return json.dumps(raw, separators=(",", ":"), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _known(cls: type[Any], raw: Mapping[str, Any]) -> Any:
    names = {f.name for f in dataclasses.fields(cls)}
    return cls(**{key: value for key, value in raw.items() if key in names})


def _threshold(raw: Mapping[str, Any] | None) -> Threshold | None:
    return None if raw is None else Threshold(value=raw["value"], scale=Scale(raw["scale"]))


def _score(raw: dict[str, Any]) -> CategoryScore:
    raw = dict(raw)
    raw["threshold"] = _threshold(raw["threshold"])
    raw["block_threshold"] = _threshold(raw["block_threshold"])
    raw["band"] = Band(raw["band"])
    raw["mode"] = Mode(raw["mode"])
    for key in ("score", "log_odds", "neutral_score"):
        raw[key] = math.nan if raw[key] is None else raw[key]
    raw["margin"] = -math.inf if raw["margin"] is None else raw["margin"]
    score: CategoryScore = _known(CategoryScore, raw)
    return score


def _judgement(raw: Mapping[str, Any]) -> Judgement:
    return Judgement(
        verdict=Verdict(raw["verdict"]),
        reasons=tuple(
            Reason(code=ReasonCode(r["code"]), category=r["category"], detail=r["detail"])
            for r in raw["reasons"]
        ),
        scores=tuple(_score(s) for s in raw["scores"]),
        degraded=raw["degraded"],
    )


def _view(raw: Mapping[str, Any]) -> View:
    return View(
        kind=ViewKind(raw["kind"]),
        box=(raw["box"][0], raw["box"][1], raw["box"][2], raw["box"][3]),
        frame=raw["frame"],
        background=Background(raw["background"]),
    )
