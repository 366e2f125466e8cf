"""What is answered about one image, and what the queue keeps of it. Mapping, no rules."""

from __future__ import annotations

from dataclasses import replace

from imagesieve_server.core.answer import Answer, from_json, to_json
from imagesieve_server.core.audit import Draw
from imagesieve_server.core.kept import JudgedImage
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.request import ModerationRequest
from imagesieve_server.core.review import Flag, Recorded
from imagesieve_server.core.verdict import Judgement, ReasonCode
from imagesieve_server.core.views import DecodedImage, Embeddings


def answer_of(
    *,
    request: ModerationRequest,
    policy: Policy,
    model_version: str,
    sha256: str,
    judgement: Judgement,
    image: DecodedImage | None,
) -> Answer:
    """The whole answer; ``image`` is None where no picture could be made of the file."""
    return Answer(
        request_id=request.request_id,
        sha256=sha256,
        judgement=judgement,
        policy=policy.name,
        policy_version=policy.version,
        model_version=model_version,
        dry_run=request.dry_run,
        views=image.views if image else (),
        coverage=image.coverage if image else 0.0,
        crop_fraction=image.crop_fraction if image else 0.0,
        decode_info=image.info if image else None,
        surface=request.surface,
        content_ref=request.content_ref,
        uploader_ref=request.uploader_ref,
        labels=dict(request.labels),
    )


def judged_image(
    request: ModerationRequest,
    policy: Policy,
    answer: Answer,
    image: DecodedImage,
    embeddings: Embeddings,
) -> JudgedImage:
    """What onlookers see; it does not hold on to the upload's bytes."""
    return JudgedImage(
        tenant=request.tenant,
        sha256=answer.sha256,
        surface=request.surface,
        categories=request.categories,
        policy=policy,
        judgement=answer.judgement,
        views=image.views,
        coverage=image.coverage,
        truncated=image.truncated,
        embeddings=embeddings,
    )


def stored_answer(recorded: Recorded) -> Answer:
    """The answer the store keeps, with its item's id; a repeat's is that of the first request."""
    return replace(from_json(recorded.answer), item_id=recorded.item_id)


def flag_of(
    *,
    request: ModerationRequest,
    policy: Policy,
    request_digest: str,
    answer: Answer,
    picture_hash: str = "",
) -> Flag:
    """What the queue keeps of a flagged answer; ``picture_hash`` is ``DecodedImage.comparable``.

    Without an acting category (undecodable, unscored, truncated) the policy's highest
    severity and a score of 1 rank the item: nobody knows yet how bad it is.
    """
    worst = answer.judgement.worst  # may be a category that only came nearest
    acting = worst if worst is not None and worst.acts else None
    category = acting.category if acting else ""
    info = answer.decode_info
    return Flag(
        tenant=request.tenant,
        request_id=request.request_id,
        request_digest=request_digest,
        sha256=answer.sha256,
        size_bytes=len(request.image),
        media_type=f"image/{info.format.lower()}" if info else "application/octet-stream",
        verdict=answer.judgement.verdict,
        policy=policy.name,
        policy_version=policy.version,
        model_version=answer.model_version,
        reasons=tuple(reason.code for reason in answer.judgement.reasons),
        category=category,
        severity=acting.severity if acting else policy.severity,
        score=acting.score if acting else 1.0,
        answer=to_json(answer),
        surface=request.surface,
        content_ref=request.content_ref,
        uploader_ref=request.uploader_ref,
        labels=dict(request.labels),
        reviews_needed=policy.reviews_needed,
        second_review_share=_share(policy, category),
        reuse_decision=policy.reuse_decisions,
        blind=policy.audit is not None,
        picture_hash=picture_hash,
    )


def sample_of(
    *,
    request: ModerationRequest,
    policy: Policy,
    request_digest: str,
    answer: Answer,
    draw: Draw,
    picture_hash: str = "",
) -> Flag:
    """What the queue keeps of an allowed answer that was selected: an item as a flag of the
    category it came nearest to would be, and the answer as its uploader got it."""
    score = next(s.score for s in answer.judgement.scores if s.category == draw.category)
    flag = flag_of(
        request=request,
        policy=policy,
        request_digest=request_digest,
        answer=answer,
        picture_hash=picture_hash,
    )
    return replace(
        flag,
        audit=True,
        inclusion_probability=draw.probability,
        reasons=(ReasonCode.AUDIT_SAMPLE, *flag.reasons),
        category=draw.category,
        second_review_share=_share(policy, draw.category),
        severity=draw.severity,
        score=score,
        reuse_decision=False,
    )


def _share(policy: Policy, category: str) -> float:
    return policy.second_review.of(category) if policy.second_review else 0.0
