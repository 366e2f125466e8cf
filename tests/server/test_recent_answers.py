"""What is kept of an answer is small, and comes back as it was."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesieve_server.core.answer import Answer
from imagesieve_server.core.errors import RequestIdReused
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
from imagesieve_server.packed_answer import AnswerPacker, unpack
from imagesieve_server.recent_answers import RecentAnswers

words = st.text(max_size=5)
numbers = st.floats(allow_nan=False)
counts = st.integers(0, 2**31 - 1)
limits = st.none() | st.builds(Threshold, value=numbers, scale=st.sampled_from(Scale))
scores = st.builds(
    CategoryScore,
    category=words, score=numbers, log_odds=numbers, neutral_score=numbers, threshold=limits,
    block_threshold=limits, margin=numbers, band=st.sampled_from(Band), view=counts,
    severity=st.integers(1, 4), mode=st.sampled_from(Mode), probability=st.none() | numbers,
)  # fmt: skip
reasons = st.builds(Reason, code=st.sampled_from(ReasonCode), category=words, detail=words)
judgements = st.builds(
    Judgement,
    verdict=st.sampled_from(Verdict),
    reasons=st.lists(reasons, max_size=2).map(tuple),
    scores=st.lists(scores, max_size=3).map(tuple),
    degraded=st.booleans(),
)
views = st.builds(
    View,
    kind=st.sampled_from(ViewKind), box=st.tuples(counts, counts, counts, counts), frame=counts,
    background=st.sampled_from(Background),
)  # fmt: skip
infos = st.builds(
    DecodeInfo,
    format=words, width=counts, height=counts, mode=words, frames=counts, orientation=counts,
    has_alpha=st.booleans(), icc_converted=st.booleans(), scale_denominator=counts,
)  # fmt: skip
answers = st.builds(
    Answer,
    request_id=words, sha256=words, judgement=judgements, policy=words, policy_version=words,
    model_version=words, dry_run=st.booleans(), views=st.lists(views, max_size=3).map(tuple),
    coverage=numbers, crop_fraction=numbers, decode_info=st.none() | infos, surface=words,
    content_ref=words, uploader_ref=words, labels=st.dictionaries(words, words, max_size=2),
    item_id=words,
)  # fmt: skip


@given(st.lists(answers, min_size=1, max_size=4))
def test_every_answer_comes_back_as_it_was(made: list[Answer]) -> None:
    packer = AnswerPacker(most_common=2)
    packed = [packer.pack(answer) for answer in made]
    for answer, kept in zip(made, packed, strict=True):
        found = unpack(kept, request_id=answer.request_id)
        assert found == answer
    alone = AnswerPacker().pack(made[0])
    # By its text too, where −0.0 is not 0.0 and True not 1.
    assert repr(unpack(alone, request_id=made[0].request_id)) == repr(made[0])


def test_every_field_is_drawn() -> None:
    """Else a field that is added would be lost in silence."""
    for cls, drawn in (
        (Answer, 16), (Judgement, 4), (CategoryScore, 12), (View, 4), (DecodeInfo, 9),
    ):  # fmt: skip
        assert len(dataclasses.fields(cls)) == drawn, f"{cls.__name__}: draw and pack its new field"


def answer(number: int) -> Answer:
    """As the demo's policy makes them: six categories, two views."""
    threshold = Threshold(value=0.6, scale=Scale.SCORE)
    return Answer(
        request_id=f"request-{number:028}",
        sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        judgement=Judgement(
            verdict=Verdict.ALLOW,
            reasons=(),
            scores=tuple(
                CategoryScore(
                    category=name, score=1 / (number + at + 2),
                    log_odds=-math.pi / (number + at + 1), neutral_score=0.1 / (number + 1),
                    threshold=threshold, block_threshold=None,
                    margin=-math.e / (number + at + 1), band=Band.CLEAR, view=0, severity=3,
                    mode=Mode.ENFORCE,
                )
                for at, name in enumerate(NAMES)
            ),
        ),
        policy="demo",
        policy_version="p" * 64,
        model_version="m" * 64,
        views=tuple(
            View(kind=ViewKind.TILE, box=(left, 0, left + 480 + number, 480 + number))
            for left in (0, 160)
        ),
        coverage=1.0,
        crop_fraction=0.75 + number * 1e-9,
        decode_info=DecodeInfo(format="JPEG", width=640 + number, height=480 + number, mode="RGB"),
    )  # fmt: skip


NAMES = ("weapons", "drugs", "gambling", "death", "insults", "alcohol")


def test_what_is_kept_of_an_answer_takes_little_memory() -> None:
    """Ten thousand of them are what a server's memory grows by in its first hours."""
    recent = RecentAnswers()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(500):
            made = answer(number)
            recent.remember(tenant="t", request_digest=made.sha256[::-1], answer=made)
        del made
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / 500
    finally:
        tracemalloc.stop()
    assert each < 1300  # bytes; as objects they take 2 600


def test_a_repeat_is_answered_alike_and_a_reused_id_is_refused() -> None:
    recent = RecentAnswers(capacity=2)
    first, second, third = (answer(number) for number in range(3))
    for made in (first, second, third):
        recent.remember(tenant="t", request_digest="d", answer=made)
    found = recent.find(tenant="t", request_id=third.request_id, request_digest="d")
    assert found == third
    assert recent.find(tenant="t", request_id=first.request_id, request_digest="d") is None
    assert recent.find(tenant="u", request_id=third.request_id, request_digest="d") is None
    with pytest.raises(RequestIdReused):
        recent.find(tenant="t", request_id=third.request_id, request_digest="other")
