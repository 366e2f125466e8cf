"""The path of one image, on one page.

    known already? → decode → encode → score → decide → keep what is flagged → answer

It knows the order and nothing else: what the parts do is behind the ports of ``core/ports.py``,
the rules are in ``core``, and ``grpc_api`` is in front of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from imagesieve_server.core.answer import Answer, from_json, to_json
from imagesieve_server.core.errors import (
    EncoderUnavailable,
    ImageUndecodable,
    RequestError,
    StoreUnavailable,
)
from imagesieve_server.core.failure import judge_undecodable, judge_without_encoder
from imagesieve_server.core.policy import OnUndecodable, Policy
from imagesieve_server.core.ports import Encoder, ImageDecoder, Metrics, PolicySource, ReviewQueue
from imagesieve_server.core.request import ModerationRequest
from imagesieve_server.core.review import Flag, Recorded
from imagesieve_server.core.scoring import score_image
from imagesieve_server.core.verdict import Judgement, Verdict, decide
from imagesieve_server.core.views import DecodedImage, ViewPlan
from imagesieve_server.recent_answers import RecentAnswers


class Pipeline:
    """Answers moderation requests. Deadlines are seconds of ``time.monotonic``."""

    def __init__(
        self,
        *,
        decoder: ImageDecoder,
        encoder: Encoder,
        policies: PolicySource,
        queue: ReviewQueue,
        metrics: Metrics,
        recent: RecentAnswers,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._decoder = decoder
        self._encoder = encoder
        self._policies = policies
        self._queue = queue
        self._metrics = metrics
        self._recent = recent
        self._clock = clock

    async def moderate(self, request: ModerationRequest, *, deadline: float) -> Answer:
        """Judge one image; when this returns, a flag survives a power cut.

        Raises any RequestError, CapacityError or DependencyError of ``core/errors.py``.
        """
        policy = self._policies.get(request.policy)
        policy.subset(request.categories)  # an unknown category is refused before any work
        sha256 = request.sha256()
        digest = request.digest(sha256=sha256, policy=policy.name)
        if known := await self._known(request, digest):
            return known

        judgement, image = await self._judge(request, policy, deadline)
        answer = self._answer(request, policy, sha256, judgement, image)
        if request.dry_run:
            pass  # the full answer; nothing is stored or remembered
        elif judgement.verdict is not Verdict.ALLOW:
            answer = await self._keep(request, policy, digest, answer)
        elif not judgement.degraded:  # an ALLOW without a look must not outlive the failure
            self._recent.remember(tenant=request.tenant, request_digest=digest, answer=answer)
        self._count(policy, answer)
        return answer

    async def _known(self, request: ModerationRequest, digest: str) -> Answer | None:
        """The answer this request_id got before; a repeat does no work twice."""
        if request.dry_run:
            return None
        identity = {"tenant": request.tenant, "request_id": request.request_id}
        if answer := self._recent.find(**identity, request_digest=digest):
            return answer
        try:
            stored = await self._queue.answer_of(**identity, request_digest=digest)
        except StoreUnavailable:
            return None  # an ALLOW needs no store; ``submit`` knows a repeated flag anyway
        return None if stored is None else _stored_answer(stored)

    async def _judge(
        self, request: ModerationRequest, policy: Policy, deadline: float
    ) -> tuple[Judgement, DecodedImage | None]:
        plan = ViewPlan(coverage=policy.coverage, max_views=policy.max_views)
        try:
            with self._stage("decode"):
                image = await self._decoder.decode(request.image, plan=plan, deadline=deadline)
        except ImageUndecodable as error:
            self._metrics.decode_failed(error.detail)
            if policy.on_undecodable is OnUndecodable.REJECT:
                raise
            return judge_undecodable(error.detail), None
        except RequestError as error:
            self._metrics.decode_failed(error.reason)
            raise
        self._metrics.image_views(len(image.views))
        try:
            with self._stage("encode"):
                embeddings = await self._encoder.encode(image.pixels, deadline=deadline)
        except EncoderUnavailable as error:
            return judge_without_encoder(policy, error), image
        with self._stage("score"):
            scored = score_image(
                policy=policy,
                categories=policy.subset(request.categories),
                embeddings=embeddings,
                views=image.views,
            )
            judgement = decide(
                policy=policy,
                scores=scored.scores,
                scores_valid=scored.valid,
                coverage=image.coverage,
                truncated=image.truncated,
            )
        return judgement, image

    def _answer(
        self,
        request: ModerationRequest,
        policy: Policy,
        sha256: str,
        judgement: Judgement,
        image: DecodedImage | None,
    ) -> Answer:
        return Answer(
            request_id=request.request_id,
            sha256=sha256,
            judgement=judgement,
            policy=policy.name,
            policy_version=policy.version,
            model_version=self._encoder.spec.fingerprint,
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

    async def _keep(
        self, request: ModerationRequest, policy: Policy, digest: str, answer: Answer
    ) -> Answer:
        """Queue a flag durably; the answer gains the item's id."""
        flag = flag_of(request=request, policy=policy, request_digest=digest, answer=answer)
        with self._stage("keep"):
            # A caller that leaves now must not take back a flag that is already being kept.
            recorded = await asyncio.shield(self._queue.submit(flag, request.image))
        return _stored_answer(recorded)

    def _count(self, policy: Policy, answer: Answer) -> None:
        judgement = answer.judgement
        self._metrics.verdict(
            policy=policy.name, verdict=judgement.verdict, degraded=judgement.degraded
        )
        for reason in judgement.reasons:
            self._metrics.reason(policy=policy.name, code=reason.code)
        for score in judgement.scores:
            self._metrics.category_score(
                policy=policy.name,
                category=score.category,
                log_odds=score.log_odds,
                band=score.band,
            )

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        started = self._clock()
        try:
            yield
        finally:
            self._metrics.stage_seconds(name, self._clock() - started)


def _stored_answer(recorded: Recorded) -> Answer:
    """The answer as the store keeps it: the first one's, where the request was repeated."""
    return replace(from_json(recorded.answer), item_id=recorded.item_id)


def flag_of(
    *, request: ModerationRequest, policy: Policy, request_digest: str, answer: Answer
) -> Flag:
    """What the queue keeps of a flagged answer.

    Without an acting category (undecodable, unscored, truncated) the policy's highest
    severity and a score of 1 rank the item: nobody knows yet how bad it is.
    """
    worst = answer.judgement.worst
    acting = worst if worst is not None and worst.acts else None
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
        category=acting.category if acting else "",
        severity=acting.severity if acting else policy.severity,
        score=acting.score if acting else 1.0,
        answer=to_json(answer),
        surface=request.surface,
        content_ref=request.content_ref,
        uploader_ref=request.uploader_ref,
        labels=dict(request.labels),
    )
