"""A worker runs hostile bytes through native code: its answers are checked, field by field."""

from __future__ import annotations

import json
import mmap
import os

import pytest

from imagesieve_server.core.errors import UndecodableDetail
from imagesieve_server.core.near_duplicates import PictureHash
from imagesieve_server.core.views import (
    Background,
    Coverage,
    DecodeInfo,
    Preprocessing,
    View,
    ViewKind,
    ViewPlan,
)
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.worker_messages import (
    BadMessage,
    Done,
    Failed,
    Request,
    Setup,
    dump,
    load_answer,
    load_request,
    load_setup,
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


def test_every_message_survives_the_way() -> None:
    """Both directions, all fields."""
    setup = Setup(preprocessing=Preprocessing(size=9), limits=Limits(wall_s=1.5), frame_key="ab")
    assert load_setup(dump(setup)) == setup
    plan = ViewPlan(coverage=Coverage.SQUASH, max_views=3)
    request = Request(generation=2, size=77, plan=plan)
    assert load_request(dump(request)) == request
    assert load_answer(dump(DONE), generation=7, max_views=2) == DONE
    failed = Failed(generation=7, detail=UndecodableDetail.TRUNCATED)
    assert load_answer(dump(failed), generation=7, max_views=2) == failed


def altered(**changes: object) -> bytes:
    return json.dumps(json.loads(dump(DONE)) | changes).encode()


VIEW = {"kind": "tile", "box": [0, 0, 1, 1], "frame": 0, "background": "none"}
INFO = json.loads(dump(DONE))["info"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\x80\x81",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"ready": true}',
        altered(generation=6),
        altered(generation=True),
        altered(views=[]),
        altered(views=[VIEW] * 3),
        altered(views=[VIEW | {"kind": "window"}]),
        altered(views=[VIEW | {"box": [0, 0, 1]}]),
        altered(views=[VIEW | {"box": [0, 0, 1, -1]}]),
        altered(views=[VIEW | {"frame": 1 << 31}]),
        altered(info={}),
        altered(info=INFO | {"mode": "<script>alert(1)</script>"}),
        altered(info=INFO | {"width": "18"}),
        altered(coverage=1.01),
        altered(coverage="1"),
        altered(coverage=float("nan")),
        altered(crop_fraction=None),
        altered(truncated=7),
        altered(picture_hash={"bits": "0f", "quality": 9}),
        altered(picture_hash={"bits": "0F" * 32, "quality": 9}),
        altered(picture_hash={"bits": "0f" * 32, "quality": 101}),
        altered(picture_hash={"bits": ["0f" * 32], "quality": 9}),
        altered(detail="NO_SUCH_DETAIL"),
    ],
)
def test_nonsense_is_refused(line: bytes) -> None:
    """A wrong number, type, kind or answer is not a picture."""
    with pytest.raises(BadMessage):
        load_answer(line, generation=7, max_views=2)


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
