"""Scores shadow policies on what was just answered, and counts how they differ.

On a thread of its own behind a bounded inbox: an answer never waits for a shadow, nor fails with
one. What finds no room is counted and forgotten. Nothing here acts on a verdict.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Protocol

from imagesieve_server.core.kept import JudgedImage
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.scoring import score_image
from imagesieve_server.core.verdict import Judgement, decide
from imagesieve_server.inbox import Inbox

log = logging.getLogger(__name__)

NO_BAND = "NONE"
"""The band of a category that one of the two does not have."""
CLOSE_S = 10.0


class Shadows(Protocol):
    """Where shadows are found (``policy_files.shadow``)."""

    def of(self, name: str) -> Policy | None:
        """The shadow of the live policy of that name."""
        ...


class ShadowCounts(Protocol):
    """What is counted here; ``metrics/recorder.py`` has the series."""

    def shadow_verdict(self, *, policy: str, version: str, live: str, shadow: str) -> None:
        """One image under the policy in force and under its shadow of that version."""
        ...

    def shadow_band(
        self, *, policy: str, version: str, category: str, live: str, shadow: str
    ) -> None:
        """One category's bands under both; NO_BAND where one of them does not have it."""
        ...

    def shadow_missed(self, reason: str) -> None:
        """An image that no shadow scored: "queue" (no room), "views" (other views), "error"."""
        ...


class ShadowScorer:
    """Implements the Onlooker port."""

    def __init__(
        self, *, shadows: Shadows, metrics: ShadowCounts, max_waiting_views: int = 1024
    ) -> None:
        """``max_waiting_views`` bounds what waits to be scored."""
        self._shadows = shadows
        self._metrics = metrics
        self._inbox: Inbox[JudgedImage] = Inbox(capacity=max_waiting_views)
        self._thread = threading.Thread(target=self._run, name="shadows", daemon=True)
        self._thread.start()

    def see(self, image: JudgedImage) -> None:
        """As the Onlooker port."""
        try:
            if self._shadows.of(image.policy.name) is None:
                return
            if not self._inbox.put(image, weight=len(image.views)):
                self._metrics.shadow_missed("queue")
        except Exception:
            log.exception("shadow not scored")
            self._metrics.shadow_missed("error")

    async def close(self) -> None:
        """Score what waits, and end."""
        self._inbox.close()
        await asyncio.to_thread(self._thread.join, CLOSE_S)

    def _run(self) -> None:
        while not self._inbox.finished:
            image = self._inbox.take(timeout_s=None)
            if isinstance(image, JudgedImage):
                try:
                    self._score(image)
                except Exception:
                    log.exception("shadow not scored")
                    self._metrics.shadow_missed("error")

    def _score(self, image: JudgedImage) -> None:
        shadow, live = self._shadows.of(image.policy.name), image.policy
        if shadow is None:  # taken away meanwhile
            return
        if (shadow.coverage, shadow.max_views) != (live.coverage, live.max_views):
            self._metrics.shadow_missed("views")  # for a moment, while one of them is replaced
            return
        judgement = judge_in_shadow(shadow, image)
        self._metrics.shadow_verdict(
            policy=live.name,
            version=shadow.version,
            live=image.judgement.verdict.value,
            shadow=judgement.verdict.value,
        )
        ours = {score.category: score.band.value for score in judgement.scores}
        theirs = {score.category: score.band.value for score in image.judgement.scores}
        for category in {**theirs, **ours}:
            self._metrics.shadow_band(
                policy=live.name,
                version=shadow.version,
                category=category,
                live=theirs.get(category, NO_BAND),
                shadow=ours.get(category, NO_BAND),
            )


def judge_in_shadow(shadow: Policy, image: JudgedImage) -> Judgement:
    """What the shadow says, of those of its categories that were asked for."""
    wanted = image.categories
    scored = score_image(
        policy=shadow,
        categories=[c for c in shadow.categories if not wanted or c.id in wanted],
        embeddings=image.embeddings,
        views=image.views,
    )
    return decide(
        policy=shadow,
        scores=scored.scores,
        scores_valid=scored.valid,
        coverage=image.coverage,
        truncated=image.truncated,
    )
