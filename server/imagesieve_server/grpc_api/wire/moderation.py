"""ModerateRequest to ModerationRequest, Answer to ModerateResponse."""

from __future__ import annotations

import math
from collections.abc import Sequence

from imagesieve.v1 import moderation_pb2, verdict_pb2
from imagesieve_server.core.answer import Answer
from imagesieve_server.core.errors import ImageEmpty, ImageTooLarge, InvalidRequest, NotBuilt
from imagesieve_server.core.policy import Threshold
from imagesieve_server.core.request import ModerationRequest
from imagesieve_server.core.verdict import CategoryScore
from imagesieve_server.core.views import DecodeInfo, View
from imagesieve_server.grpc_api.wire import checks, enums

DEFAULT_MAX_IMAGE_BYTES = 20 * 2**20
MAX_BATCH_ITEMS = 64
MAX_BATCH_BYTES = 32 * 2**20

_DRY_RUN = {
    moderation_pb2.MODERATE_MODE_UNSPECIFIED: False,
    moderation_pb2.MODERATE_MODE_ENFORCE: False,
    moderation_pb2.MODERATE_MODE_DRY_RUN: True,
}


def read_request(
    message: moderation_pb2.ModerateRequest, image: bytes, *, tenant: str, max_image_bytes: int
) -> ModerationRequest:
    """Check and convert. ``image`` is the message's own, read once: each access is another copy.

    Raises InvalidRequest, NotBuilt, ImageEmpty, ImageTooLarge.
    """
    request_id = checks.text("request_id", message.request_id, limit=checks.MAX_ID, required=True)
    if message.mode not in _DRY_RUN:
        raise InvalidRequest("mode", "must be ENFORCE or DRY_RUN")
    return ModerationRequest(
        tenant=tenant,
        request_id=request_id,
        policy=checks.text("policy", message.policy, limit=checks.MAX_ID),
        categories=checks.texts("categories", message.categories),
        dry_run=_DRY_RUN[message.mode],
        surface=checks.text("surface", message.surface, limit=checks.MAX_ID),
        content_ref=checks.text("content_ref", message.content_ref, limit=checks.MAX_REF),
        uploader_ref=checks.text("uploader_ref", message.uploader_ref, limit=checks.MAX_REF),
        labels=checks.labels("labels", message.labels),
        image=_checked(image, message.WhichOneof("source"), max_image_bytes),
    )


def _checked(image: bytes, source: str | None, max_image_bytes: int) -> bytes:
    if source is None:
        raise InvalidRequest("source", "is required: the image's bytes")
    if source == "uri":
        raise NotBuilt(
            "this release reads images from the request only, not from a location",
            metadata={"field": "uri"},
        )
    if not image:
        raise ImageEmpty("the image has no bytes")
    if len(image) > max_image_bytes:
        raise ImageTooLarge(
            f"the image has {len(image)} bytes; at most {max_image_bytes} are accepted",
            metadata={"size_bytes": str(len(image)), "limit_bytes": str(max_image_bytes)},
        )
    return image


def check_batch(images: Sequence[bytes]) -> int:
    """The bytes of a batch's images in sum. Raises InvalidRequest beyond the batch's limits."""
    if not images:
        raise InvalidRequest("requests", "is empty")
    if len(images) > MAX_BATCH_ITEMS:
        raise InvalidRequest(
            "requests", f"has {len(images)} items; at most {MAX_BATCH_ITEMS} are allowed"
        )
    size_bytes = sum(map(len, images))
    if size_bytes > MAX_BATCH_BYTES:
        raise InvalidRequest(
            "requests", f"has {size_bytes} bytes of images; at most {MAX_BATCH_BYTES} are allowed"
        )
    return size_bytes


def response_of(answer: Answer) -> moderation_pb2.ModerateResponse:
    """The whole answer as a message."""
    judgement = answer.judgement
    worst = judgement.worst
    return moderation_pb2.ModerateResponse(
        request_id=answer.request_id,
        verdict=enums.VERDICTS[judgement.verdict],
        reasons=[
            verdict_pb2.Reason(code=r.code, category=r.category, detail=r.detail)
            for r in judgement.reasons
        ],
        scores=[_score(score) for score in judgement.scores],
        worst_category=worst.category if worst else "",
        views=[_view(view) for view in answer.views],
        coverage=answer.coverage,
        crop_fraction=answer.crop_fraction,
        decode_info=_decode_info(answer.decode_info) if answer.decode_info else None,
        sha256=answer.sha256,
        policy=answer.policy,
        policy_version=answer.policy_version,
        model_version=answer.model_version,
        degraded=judgement.degraded,
        item_id=answer.item_id,
        content_ref=answer.content_ref,
        uploader_ref=answer.uploader_ref,
        surface=answer.surface,
        labels=answer.labels or None,  # an empty map costs as much as a category
        dry_run=answer.dry_run,
    )


def threshold_of(threshold: Threshold | None) -> verdict_pb2.Threshold | None:
    """A threshold as a message, None where the band does not exist."""
    if threshold is None:
        return None
    return verdict_pb2.Threshold(value=threshold.value, scale=enums.SCALES[threshold.scale])


def _score(score: CategoryScore) -> verdict_pb2.CategoryScore:
    return verdict_pb2.CategoryScore(
        category=score.category,
        score=score.score,
        log_odds=score.log_odds,
        neutral_score=score.neutral_score,
        review_threshold=threshold_of(score.threshold),
        block_threshold=threshold_of(score.block_threshold),
        margin=score.margin if math.isfinite(score.margin) else None,
        band=enums.BANDS[score.band],
        view=score.view,
        severity=score.severity,
        mode=enums.MODES[score.mode],
        probability=score.probability,
    )


def _view(view: View) -> verdict_pb2.View:
    left, upper, right, lower = view.box
    return verdict_pb2.View(
        kind=enums.VIEW_KINDS[view.kind],
        left=left,
        upper=upper,
        right=right,
        lower=lower,
        frame=view.frame,
        background=enums.BACKGROUNDS[view.background],
    )


def _decode_info(info: DecodeInfo) -> verdict_pb2.DecodeInfo:
    return verdict_pb2.DecodeInfo(
        format=info.format,
        width=info.width,
        height=info.height,
        mode=info.mode,
        frames=info.frames,
        orientation=info.orientation,
        has_alpha=info.has_alpha,
        icc_converted=info.icc_converted,
        scale_denominator=info.scale_denominator,
    )
