"""What a start says of audit samples, and that the end hands over what waits."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import Any

import pytest

from imagesieve_server.assembly import judging
from imagesieve_server.config import ServerSettings, Settings
from imagesieve_server.core.audit import FAR
from imagesieve_server.core.policy import AuditRates
from imagesieve_server.core.records import answer_of
from imagesieve_server.core.request import ModerationRequest
from imagesieve_server.core.review import State
from imagesieve_server.core.verdict import Band, CategoryScore, Judgement, Verdict
from imagesieve_server.review_queue.evidence import MemoryEvidence
from imagesieve_server.review_queue.memory import memory_store
from imagesieve_server.review_queue.writer import QueueWriter
from imagesieve_server.server_secret import ServerSecret
from imagesieve_server.testing import RecordingMetrics, StaticPolicies, colour_policy

AUDITING = replace(colour_policy(), audit=AuditRates(rate=1.0))
SECRET = ServerSecret(b"s" * 32)


@pytest.mark.parametrize(
    ("policy", "file", "warned"),
    [(AUDITING, "", True), (AUDITING, "secret", False), (colour_policy(), "", False)],
    ids=["no secret", "secret", "no audit"],
)
async def test_a_start_warns_where_the_draws_will_not_last(
    policy: Any, file: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    metrics: Any = RecordingMetrics()
    policies: Any = StaticPolicies(policy)
    queue = QueueWriter(
        store=memory_store(clock=time.time), evidence=MemoryEvidence(), metrics=metrics
    )
    settings = Settings(server=ServerSettings(secret_file=file))
    async with contextlib.AsyncExitStack() as stack:
        sampler = judging.build_audit(settings, SECRET, policies, queue, metrics, stack)
        score = CategoryScore(
            category="red", score=0.1, log_odds=-9.0, neutral_score=0.0, threshold=None,
            block_threshold=None, margin=-9.0, band=Band.CLEAR, view=0, severity=2,
            mode=policy.categories[0].mode,
        )  # fmt: skip
        request = ModerationRequest(tenant="t", request_id="r", image=b"picture")
        judgement = Judgement(verdict=Verdict.ALLOW, reasons=(), scores=(score,))
        answer = answer_of(
            request=request, policy=policy, model_version="m", sha256=request.sha256(),
            judgement=judgement, image=None,
        )  # fmt: skip
        sampler.offer(request=request, policy=policy, digest="d", answer=answer)
    assert ("audit samples change with every start" in caplog.text) is warned
    kept = (await queue.stats(tenant="t")).by_state[State.READY]
    counts = await queue.calls.call("counts", lambda store: store.counts(tenant="t"))
    assert (kept, [c.band for c in counts]) == ((1, [FAR, FAR]) if policy.audit else (0, []))
    await queue.close()
