"""The tables of moderation and policy messages, and the request for one image.

Results can be written as well as read because ``imagesieve.testing`` answers with them. A
verdict newer than this client reads as UNDECIDED, never as ALLOW.
"""

from __future__ import annotations

from imagesieve import policy_results, results
from imagesieve.results import (
    Background,
    Band,
    CategoryMode,
    ModerationResult,
    ThresholdScale,
    Upload,
    Verdict,
    ViewKind,
)
from imagesieve.tables import MAYBE, PAIRS, TEXTS, EnumField, Many, One, Table, plain
from imagesieve.v1 import moderation_pb2 as pb
from imagesieve.v1 import policy_pb2 as ppb
from imagesieve.v1 import verdict_pb2 as vpb

VERDICT_UNKNOWN = "VERDICT_UNKNOWN"
"""``undecided_reason`` where the server's verdict means nothing to this client."""

VERDICTS = EnumField(
    {
        vpb.VERDICT_ALLOW: Verdict.ALLOW,
        vpb.VERDICT_REVIEW: Verdict.REVIEW,
        vpb.VERDICT_BLOCK: Verdict.BLOCK,
    },
    fallback=Verdict.UNDECIDED,
)
_BANDS = EnumField(
    {vpb.BAND_CLEAR: Band.CLEAR, vpb.BAND_REVIEW: Band.REVIEW, vpb.BAND_BLOCK: Band.BLOCK},
    fallback=Band.UNKNOWN,
)
_MODES = EnumField(
    {
        vpb.CATEGORY_MODE_ENFORCE: CategoryMode.ENFORCE,
        vpb.CATEGORY_MODE_OBSERVE: CategoryMode.OBSERVE,
    },
    fallback=CategoryMode.UNKNOWN,
)
_VIEW_KINDS = EnumField(
    {
        vpb.VIEW_KIND_STILL: ViewKind.STILL,
        vpb.VIEW_KIND_TILE: ViewKind.TILE,
        vpb.VIEW_KIND_FRAME: ViewKind.FRAME,
    },
    fallback=ViewKind.UNKNOWN,
)
_BACKGROUNDS = EnumField(
    {
        vpb.BACKGROUND_NONE: Background.NONE,
        vpb.BACKGROUND_WHITE: Background.WHITE,
        vpb.BACKGROUND_BLACK: Background.BLACK,
    },
    fallback=Background.UNKNOWN,
)
_SCALES = EnumField(
    {
        vpb.THRESHOLD_SCALE_SCORE: ThresholdScale.SCORE,
        vpb.THRESHOLD_SCALE_LOGIT: ThresholdScale.LOGIT,
    },
    fallback=ThresholdScale.UNKNOWN,
)

_THRESHOLD = Table(results.Threshold, vpb.Threshold, plain("value") | {"scale": _SCALES})
_REASON = Table(results.Reason, vpb.Reason, plain("code", "category", "detail"))
_VIEW = Table(
    results.View,
    vpb.View,
    plain("left", "upper", "right", "lower", "frame")
    | {"kind": _VIEW_KINDS, "background": _BACKGROUNDS},
)
_DECODE_INFO = Table(
    results.DecodeInfo,
    vpb.DecodeInfo,
    plain("format", "width", "height", "mode", "frames", "orientation", "has_alpha")
    | plain("icc_converted", "scale_denominator"),
)
_SCORE = Table(
    results.CategoryScore,
    vpb.CategoryScore,
    plain("category", "score", "log_odds", "neutral_score", "view", "severity")
    | {
        "review_threshold": One(_THRESHOLD),
        "block_threshold": One(_THRESHOLD),
        "margin": MAYBE,
        "probability": MAYBE,
        "band": _BANDS,
        "mode": _MODES,
    },
)
RESULT = Table(
    ModerationResult,
    pb.ModerateResponse,
    plain("request_id", "worst_category", "coverage", "crop_fraction", "sha256", "item_id")
    | plain("policy", "policy_version", "model_version", "degraded", "dry_run")
    | plain("content_ref", "uploader_ref", "surface")
    | {
        "verdict": VERDICTS,
        "reasons": Many(_REASON),
        "scores": Many(_SCORE),
        "views": Many(_VIEW),
        "decode_info": One(_DECODE_INFO),
        "labels": PAIRS,
    },
)
_CATEGORY = Table(
    policy_results.PolicyCategory,
    ppb.PolicyCategory,
    plain("id", "title", "severity", "method")
    | {
        "mode": _MODES,
        "review_threshold": One(_THRESHOLD),
        "block_threshold": One(_THRESHOLD),
    },
)
POLICY = Table(
    policy_results.Policy,
    ppb.Policy,
    plain("name", "version", "model_version", "on_undecodable", "on_partial_coverage")
    | plain("on_unavailable", "coverage", "is_default", "source")
    | {"categories": Many(_CATEGORY)},
)
RELOAD = Table(
    policy_results.PolicyReload,
    ppb.ReloadPoliciesResponse,
    {"policies": Many(POLICY), "problems": TEXTS},
)


def write_request(
    upload: Upload,
    image: bytes,
    *,
    request_id: str,
    policy: str,
    categories: tuple[str, ...],
    dry_run: bool,
) -> pb.ModerateRequest:
    """The request for one image; ``image`` are the bytes that ``upload.image`` stands for."""
    return pb.ModerateRequest(
        request_id=request_id,
        image=image,
        content_ref=upload.content_ref,
        uploader_ref=upload.uploader_ref,
        surface=upload.surface,
        policy=policy,
        categories=categories,
        labels=upload.labels,
        mode=pb.MODERATE_MODE_DRY_RUN if dry_run else pb.MODERATE_MODE_ENFORCE,
    )


def read_result(message: pb.ModerateResponse, *, elapsed_s: float) -> ModerationResult:
    """The result of one image."""
    undecided = VERDICTS.of(message.verdict) is Verdict.UNDECIDED
    return RESULT.read(
        message,
        undecided_reason=VERDICT_UNKNOWN if undecided else "",
        undecided_message="the server's verdict is newer than this client" if undecided else "",
        elapsed_s=elapsed_s,
    )
