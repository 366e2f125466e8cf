"""The path of one image, on one page.

    policy → known already? → seen before, or decode → room for its views → encode
        → score → decide
        → keep what is flagged, remember what is allowed (and keep a sample of it)
        → show it to onlookers → answer

It knows the order and which failure goes where: what the parts do is behind the ports of
``core/ports/``, the rules are in ``core``, and ``grpc_api`` is in front of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from imagesieve_server.alarms import Alarms
from imagesieve_server.audit_sampling import AuditSampler
from imagesieve_server.content_cache import ContentCache, ContentKey, Seen
from imagesieve_server.core.answer import Answer
from imagesieve_server.core.errors import EncoderUnavailable, ImageUndecodable, StoreUnavailable
from imagesieve_server.core.failure import judge_undecodable, judge_without_encoder
from imagesieve_server.core.policy import OnUndecodable, Policy
from imagesieve_server.core.ports import (
    Encoder,
    ImageDecoder,
    Metrics,
    Onlooker,
    Place,
    PolicySource,
    ReviewQueue,
)
from imagesieve_server.core.records import answer_of, flag_of, judged_image, stored_answer
from imagesieve_server.core.request import ModerationRequest
from imagesieve_server.core.scoring import score_image
from imagesieve_server.core.verdict import Judgement, Verdict, decide
from imagesieve_server.core.views import DecodedImage, Embeddings, ViewPlan
from imagesieve_server.flood_watch import FloodWatch
from imagesieve_server.pipeline_counts import PipelineCounts
from imagesieve_server.recent_answers import RecentAnswers
from imagesieve_server.undecodable_quota import UndecodableQuota

LOOKUP_S = 1.0
"""A store that takes longer to say whether it knows a request counts as down, seconds."""


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
        content: ContentCache,
        undecodable: UndecodableQuota,
        audit: AuditSampler,
        onlookers: Sequence[Onlooker] = (),
        floods: FloodWatch | None = None,
    ) -> None:
        self._decoder = decoder
        self._encoder = encoder
        self._policies = policies
        self._queue = queue
        self._counts = PipelineCounts(metrics=metrics)
        self._recent = recent
        self._content = content
        self._undecodable = undecodable
        self._audit = audit
        self._onlookers = onlookers
        self._floods = floods
        self._alarms = Alarms()

    async def moderate(
        self, request: ModerationRequest, *, place: Place, deadline: float
    ) -> Answer:
        """Judge one image; when this returns, a flag survives a power cut.

        A flag that cannot be kept raises StoreUnavailable; an ALLOW is answered all the same.
        Raises any RequestError, CapacityError or DependencyError of ``core/errors.py``.
        """
        policy = self._policies.get(request.policy)
        policy.subset(request.categories)  # an unknown category is refused before any work
        sha256 = request.sha256()
        digest = request.digest(sha256=sha256, policy=policy.name)
        may_be_remembered = not request.dry_run
        if not request.dry_run:
            try:
                if known := await self._known(request, digest):
                    return known
            except (StoreUnavailable, TimeoutError):
                # Perhaps it was flagged before: ``submit`` would find that, an ALLOW would not.
                may_be_remembered = False

        try:
            judgement, image, embeddings = await self._judge(
                request, policy, sha256, place, deadline
            )
        except ImageUndecodable as error:
            judgement = self._without_picture(request, policy, sha256, error)
            image, embeddings = None, None
        answer = answer_of(
            request=request,
            policy=policy,
            model_version=self._encoder.spec.fingerprint,
            sha256=sha256,
            judgement=judgement,
            image=image,
        )
        if request.dry_run:
            pass  # the full answer; nothing is stored or remembered
        elif judgement.verdict is not Verdict.ALLOW:
            answer = await self._keep(request, policy, digest, answer, _looks(image))
        elif not judgement.degraded:  # a degraded one must not outlive the failure
            self._allow(request, policy, digest, answer, image, remember=may_be_remembered)
        self._counts.answered(policy, answer)
        if self._onlookers and not request.dry_run and image and embeddings is not None:
            self._show(request, policy, answer, image, embeddings)
        return answer

    def _allow(
        self,
        request: ModerationRequest,
        policy: Policy,
        digest: str,
        answer: Answer,
        image: DecodedImage | None,
        *,
        remember: bool,
    ) -> None:
        """An ALLOW is certain: remember it for repeats, and perhaps keep a sample of it."""
        if remember:
            self._recent.remember(tenant=request.tenant, request_digest=digest, answer=answer)
        self._audit.offer(
            request=request,
            policy=policy,
            digest=digest,
            answer=answer,
            picture_hash=_looks(image),
        )

    def _show(
        self,
        request: ModerationRequest,
        policy: Policy,
        answer: Answer,
        image: DecodedImage,
        embeddings: Embeddings,
    ) -> None:
        judged = judged_image(request, policy, answer, image, embeddings)
        for onlooker in self._onlookers:  # they neither wait nor raise
            onlooker.see(judged)

    async def _known(self, request: ModerationRequest, digest: str) -> Answer | None:
        """The answer this request_id got before; a repeat is neither worked on nor counted.

        Raises RequestIdReused where the id came with other content.
        """
        identity = {"tenant": request.tenant, "request_id": request.request_id}
        if answer := self._recent.find(**identity, request_digest=digest):
            return answer
        if self._queue.is_new(**identity):  # as nearly always
            return None
        with self._alarms.limit(time.monotonic() + LOOKUP_S):
            stored = await self._queue.answer_of(**identity, request_digest=digest)
        return stored_answer(stored) if stored else None

    async def _judge(
        self,
        request: ModerationRequest,
        policy: Policy,
        sha256: str,
        place: Place,
        deadline: float,
    ) -> tuple[Judgement, DecodedImage, Embeddings | None]:
        """Look at the picture, unless these bytes were just seen. There are no embeddings
        where the encoder is down and the policy judges without them."""
        plan = ViewPlan(coverage=policy.coverage, max_views=policy.max_views)
        seen = await self._content.seen(
            ContentKey(request.tenant, sha256, plan),
            lambda: self._look(request.image, plan, place, deadline),
            deadline=deadline,
        )
        if seen.problem is not None:  # raised again where the policy says hold
            return judge_without_encoder(policy, seen.problem), seen.image, None
        assert seen.embeddings is not None  # as there is no problem
        with self._counts.stage("score"):
            judgement = _score_and_decide(request, policy, seen.image, seen.embeddings)
        return judgement, seen.image, seen.embeddings

    async def _look(self, data: bytes, plan: ViewPlan, place: Place, deadline: float) -> Seen:
        """What decoder and encoder see; the pixels are let go."""
        with self._counts.decoding():
            image = await self._decoder.decode(data, plan=plan, deadline=deadline)
        self._counts.views(len(image.views))
        place.take_views(len(image.views))  # raises where the pixels have no room
        try:
            with self._counts.stage("encode"):
                embeddings = await self._encoder.encode(image.pixels, deadline=deadline)
        except EncoderUnavailable as error:
            return Seen(image=image.without_pixels(), embeddings=None, problem=error)
        return Seen(image=image.without_pixels(), embeddings=embeddings)

    def _without_picture(
        self, request: ModerationRequest, policy: Policy, sha256: str, error: ImageUndecodable
    ) -> Judgement:
        """REVIEW, within the tenant's quota, or ``error`` where the policy refuses such files."""
        if policy.on_undecodable is OnUndecodable.REJECT:
            raise error
        if not request.dry_run:
            with self._counts.quotas():
                self._undecodable.take(tenant=request.tenant, sha256=sha256)
        return judge_undecodable(error.detail)

    async def _keep(
        self, request: ModerationRequest, policy: Policy, digest: str, answer: Answer, looks: str
    ) -> Answer:
        """Queue a flag durably, and answer what the store holds: this answer with its item's
        id, or that of an equal request which came first."""
        flag = flag_of(
            request=request,
            policy=policy,
            request_digest=digest,
            answer=answer,
            picture_hash=looks,
        )
        with self._counts.stage("keep"):
            # A caller that leaves now must not take back a flag that is already being kept.
            recorded = await asyncio.shield(self._queue.submit(flag, request.image))
        if self._floods is not None and not recorded.repeated:
            self._floods.flagged(
                tenant=request.tenant,
                uploader_ref=request.uploader_ref,
                group_id=recorded.group_id,
            )
        return stored_answer(recorded)


def _looks(image: DecodedImage | None) -> str:
    return image.comparable if image else ""


def _score_and_decide(
    request: ModerationRequest, policy: Policy, image: DecodedImage, embeddings: Embeddings
) -> Judgement:
    scored = score_image(
        policy=policy,
        categories=policy.subset(request.categories),
        embeddings=embeddings,
        views=image.views,
    )
    return decide(
        policy=policy,
        scores=scored.scores,
        scores_valid=scored.valid,
        coverage=image.coverage,
        truncated=image.truncated,
    )
