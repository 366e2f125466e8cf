"""A worker runs hostile bytes through native code: its answers are checked, field by field."""

from __future__ import annotations

import dataclasses
import mmap
import os
from typing import Any

import pytest

from imagesieve_server.core.errors import UndecodableDetail
from imagesieve_server.core.near_duplicates import PictureHash
from imagesieve_server.core.views import (
    Background,
    Coverage,
    DecodeInfo,
    Preprocessing,
    PreviewPlan,
    View,
    ViewKind,
    ViewPlan,
)
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.worker_messages import (
    Done,
    Failed,
    NoRoom,
    Request,
    Setup,
    Shown,
    dump_setup,
    load_setup,
)
from imagesieve_server.images.worker_packing import (
    ANSWER_MAX,
    LENGTH_BYTES,
    REQUEST_BYTES,
    BadMessage,
    answer_bytes,
    dump_answer,
    dump_request,
    load_answer,
    load_request,
    load_shown,
    missing_bytes,
    split_answers,
)
from imagesieve_server.shared_slots import attach_slot, create_slot

DONE = Done(
    generation=7,
    views=(
        View(kind=ViewKind.TILE, box=(0, 0, 9, 9)),
        View(kind=ViewKind.FRAME, box=(1, 2, 3, 4), frame=5, background=Background.WHITE),
    ),
    info=DecodeInfo(format="PNG", width=18, height=9, mode="I;16", frames=6, has_alpha=True),
    coverage=0.5,
    crop_fraction=1.0,
    truncated=("tiles", "frames"),
    picture_hash=PictureHash(bits="0f" * 32, quality=99),
)


SHOWN = Shown(generation=7, width=20, height=10, frame=3, info=DONE.info)
FAILED = Failed(generation=7, detail=UndecodableDetail.TRUNCATED)
NO_ROOM = NoRoom(generation=7)


@pytest.mark.parametrize("plan", [ViewPlan(coverage=Coverage.SQUASH, max_views=3), PreviewPlan()])
def test_every_message_survives_the_way(plan: ViewPlan | PreviewPlan) -> None:
    """Both directions, all fields."""
    setup = Setup(preprocessing=Preprocessing(size=9), limits=Limits(wall_s=1.5), frame_key="ab")
    assert load_setup(dump_setup(setup)) == setup
    request = Request(generation=2, size=77, start=9, following=3, plan=plan, is_long=True)
    packed = dump_request(request)
    assert len(packed) == REQUEST_BYTES
    assert load_request(packed) == request
    for answer in (DONE, dataclasses.replace(DONE, picture_hash=None, truncated=())):
        assert load_answer(dump_answer(answer), generation=7, max_views=2) == answer
    for answer in (FAILED, NO_ROOM):
        assert load_answer(dump_answer(answer), generation=7, max_views=2) == answer
    assert load_shown(dump_answer(SHOWN), generation=7, side=20) == SHOWN
    assert load_shown(dump_answer(FAILED), generation=7, side=20) == FAILED


@pytest.mark.parametrize("detail", UndecodableDetail)
def test_every_failure_can_be_said(detail: UndecodableDetail) -> None:
    failed = Failed(generation=1, detail=detail)
    assert load_answer(dump_answer(failed), generation=1, max_views=1) == failed


def test_an_answer_says_how_long_it_is() -> None:
    packed = dump_answer(DONE)
    assert answer_bytes(packed[:LENGTH_BYTES]) == len(packed)
    for length in (0, 9, ANSWER_MAX + 1, 0xFFFF_FFFF):
        with pytest.raises(BadMessage):
            answer_bytes(length.to_bytes(4, "little"))


def test_answers_behind_each_other_are_told_apart() -> None:
    """They may come in any pieces; more than was asked for is nonsense."""
    each = [dump_answer(answer) for answer in (DONE, FAILED, NO_ROOM)]
    packed = b"".join(each)
    assert split_answers(packed, 3) == each
    assert [missing_bytes(packed[:end], 3) > 0 for end in range(len(packed))] == [True] * len(
        packed
    )
    assert missing_bytes(packed, 3) == 0
    with pytest.raises(BadMessage):
        missing_bytes(packed, 2)
    with pytest.raises(BadMessage):
        missing_bytes(each[0] + b"\xff" * LENGTH_BYTES, 2)


def bytes_of(**changes: Any) -> bytes:
    """An answer that the worker's side does not make by itself."""
    return dump_answer(dataclasses.replace(DONE, **changes))


def with_byte(value: int, *, after: bytes, skip: int = 0) -> bytes:
    """The packed answer with another byte behind a text that stands in it once."""
    packed = bytearray(dump_answer(DONE))
    assert packed.count(after) == 1
    packed[packed.index(after) + len(after) + skip] = value
    return bytes(packed)


def view(**changes: Any) -> tuple[View, ...]:
    return (dataclasses.replace(DONE.views[0], **changes),)


INFO = DONE.info
HASH = PictureHash(bits="0f" * 32, quality=101)
KIND_AT = 2  # behind the hash's last byte comes the number of views, then the first view


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\x80\x81",
        b"[" * 100_000,
        bytes_of(generation=6),
        bytes_of(views=()),
        bytes_of(views=(*DONE.views, DONE.views[0])),
        bytes_of(views=view(box=(0, 0, 1, 1 << 31))),
        bytes_of(views=view(frame=1 << 31)),
        with_byte(3, after=b"\x0f" * 32, skip=KIND_AT),
        with_byte(9, after=b"PNG" + b"\0" * 12),
        bytes_of(info=dataclasses.replace(INFO, mode="<\x1b[31m")),
        bytes_of(info=dataclasses.replace(INFO, mode="\u00e9")),
        bytes_of(info=dataclasses.replace(INFO, width=1 << 31)),
        bytes_of(coverage=1.01),
        bytes_of(coverage=-0.01),
        bytes_of(coverage=float("nan")),
        bytes_of(crop_fraction=float("inf")),
        bytes_of(picture_hash=HASH),
        dump_answer(SHOWN),
        dump_answer(DONE)[:-1],
        dump_answer(DONE) + b"\0",
        dump_answer(FAILED)[:-1] + b"\xee",
        dump_answer(FAILED) + b"\0",
    ],
)
def test_nonsense_is_refused(packed: bytes) -> None:
    """A wrong number, length, kind or answer is not a picture."""
    with pytest.raises(BadMessage):
        load_answer(packed, generation=7, max_views=2)


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        dump_answer(DONE),
        dump_answer(dataclasses.replace(SHOWN, generation=8)),
        dump_answer(dataclasses.replace(SHOWN, width=21)),
        dump_answer(dataclasses.replace(SHOWN, height=0)),
        dump_answer(dataclasses.replace(SHOWN, frame=1 << 31)),
        dump_answer(SHOWN) + b"\0",
    ],
)
def test_nonsense_about_a_preview_is_refused(packed: bytes) -> None:
    with pytest.raises(BadMessage):
        load_shown(packed, generation=7, side=20)


def test_no_change_of_any_byte_goes_further_than_the_check() -> None:
    """Whatever a worker says, it is refused by name or is an answer within the limits."""
    packed = dump_answer(DONE)
    for at in range(len(packed)):
        for value in (0, 1, 0x7F, 0x80, 0xFF):
            changed = packed[:at] + bytes([value]) + packed[at + 1 :]
            try:
                answer = load_answer(changed, generation=7, max_views=2)
            except BadMessage:
                continue
            assert isinstance(answer, Done)
            assert len(answer.views) == 2
            assert 0 <= answer.coverage <= 1
            assert 0 <= answer.crop_fraction <= 1
            assert max(max(v.box) for v in answer.views) < 1 << 31


def test_a_plan_that_cannot_be_sent_is_an_error_here() -> None:
    for plan in (ViewPlan(max_views=-1), ViewPlan(coverage=object())):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"sent|tuple"):
            dump_request(Request(generation=1, size=1, plan=plan))


def test_a_slot_is_shared_and_cannot_be_resized() -> None:
    """Both sides see the same bytes; the worker's side cannot pull them away."""
    slot = create_slot(3 * mmap.PAGESIZE)
    other = attach_slot(os.dup(slot.fd))
    slot.memory[:3] = b"abc"
    assert other.memory[:3] == b"abc"
    assert other.size == slot.size
    if hasattr(os, "memfd_create"):
        for size in (0, mmap.PAGESIZE, 4 * mmap.PAGESIZE):
            with pytest.raises(PermissionError):
                os.ftruncate(other.fd, size)
    other.close()
    slot.close()
