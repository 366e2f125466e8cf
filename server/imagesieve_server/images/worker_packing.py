"""How requests and answers travel between the server and a decode worker.

A request has a fixed length, an answer stands behind its own; both are packed numbers, for they
are said a thousand times a second. Several of either stand one behind the other. It refuses to
trust a worker: an answer is checked field by field, because hostile bytes run through native
codecs over there. Nothing is ever unpickled.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from imagesieve_server.core.errors import UndecodableDetail
from imagesieve_server.core.near_duplicates import PictureHash
from imagesieve_server.core.views import (
    Background,
    Coverage,
    DecodeInfo,
    PreviewPlan,
    View,
    ViewKind,
    ViewPlan,
)
from imagesieve_server.images.worker_messages import Done, Failed, NoRoom, Request, Shown

# Enums travel as their place in these tables, which both sides import.
_COVERAGES: Final = tuple(Coverage)
_BACKGROUNDS: Final = tuple(Background)
_KINDS: Final = tuple(ViewKind)
_DETAILS: Final = tuple(UndecodableDetail)
_CUT: Final = ("tiles", "frames")  # bit 0, bit 1

# generation, size, start, following, long?, preview?, word, number, side
_REQUEST: Final = struct.Struct("<QIIB??BII")
_LENGTH: Final = struct.Struct("<I")  # of the answer behind it
_HEAD: Final = struct.Struct("<BQ")  # which answer, generation
_FAILED: Final = struct.Struct("<BQB")  # and the detail
_INFO: Final = struct.Struct("<16s16sIIIBB??")
_SHOWN: Final = struct.Struct("<III")  # width, height, frame
_DONE: Final = struct.Struct("<ddB?B32sH")  # fractions, what was cut, hash?, its quality and bits
_VIEW: Final = struct.Struct("<BIIIIIB")  # kind, box, frame, background
_IS_DONE, _IS_SHOWN, _IS_FAILED, _IS_NO_ROOM = range(4)
_INT_END: Final = 1 << 31
_NONSENSE: Final = (ValueError, IndexError, struct.error)

ANSWER_MAX: Final = 64 * 1024  # bytes; 32 views need under 1 KiB

REQUEST_BYTES: Final = _REQUEST.size
LENGTH_BYTES: Final = _LENGTH.size


class BadMessage(Exception):
    """The other side sent something that this protocol does not have."""


def dump_request(request: Request) -> bytes:
    """``REQUEST_BYTES`` bytes. Raises ValueError for a plan that cannot be sent."""
    plan = request.plan
    try:
        if isinstance(plan, PreviewPlan):
            fields = (True, _BACKGROUNDS.index(plan.background), plan.frame, plan.side)
        else:
            fields = (False, _COVERAGES.index(plan.coverage), plan.max_views, 0)
        where = (request.generation, request.size, request.start, request.following)
        return _REQUEST.pack(*where, request.is_long, *fields)
    except struct.error as error:
        raise ValueError(f"{plan} cannot be sent") from error


def load_request(packed: bytes) -> Request:
    """The server's word is taken as it is."""
    fields = _REQUEST.unpack(packed)
    generation, size, start, following, is_long, is_preview, word, number, side = fields
    plan: ViewPlan | PreviewPlan = (
        PreviewPlan(frame=number, background=_BACKGROUNDS[word], side=side)
        if is_preview
        else ViewPlan(coverage=_COVERAGES[word], max_views=number)
    )
    return Request(
        generation=generation,
        size=size,
        start=start,
        following=following,
        plan=plan,
        is_long=is_long,
    )


def dump_answer(answer: Done | Shown | NoRoom | Failed) -> bytes:
    """The answer behind its length."""
    if isinstance(answer, NoRoom):
        body = _FAILED.pack(_IS_NO_ROOM, answer.generation, 0)
    elif isinstance(answer, Failed):
        body = _FAILED.pack(_IS_FAILED, answer.generation, _DETAILS.index(answer.detail))
    elif isinstance(answer, Shown):
        size = _SHOWN.pack(answer.width, answer.height, answer.frame)
        body = _HEAD.pack(_IS_SHOWN, answer.generation) + _packed_info(answer.info) + size
    else:
        body = _HEAD.pack(_IS_DONE, answer.generation) + _packed_info(answer.info)
        body += _packed_views(answer)
    return _LENGTH.pack(len(body)) + body


def _packed_info(info: DecodeInfo) -> bytes:
    return _INFO.pack(
        info.format.encode(),
        info.mode.encode(),
        info.width,
        info.height,
        info.frames,
        info.orientation,
        info.scale_denominator,
        info.has_alpha,
        info.icc_converted,
    )


def _packed_views(answer: Done) -> bytes:
    looks = answer.picture_hash
    head = _DONE.pack(
        answer.coverage,
        answer.crop_fraction,
        sum(1 << bit for bit, word in enumerate(_CUT) if word in answer.truncated),
        looks is not None,
        looks.quality if looks else 0,
        bytes.fromhex(looks.bits) if looks else b"",
        len(answer.views),
    )
    return head + b"".join(
        _VIEW.pack(
            _KINDS.index(view.kind), *view.box, view.frame, _BACKGROUNDS.index(view.background)
        )
        for view in answer.views
    )


def answer_bytes(head: bytes) -> int:
    """How long the answer is whose first ``LENGTH_BYTES`` these are, those included.

    Raises BadMessage for a length that no answer has.
    """
    length: int = _LENGTH.unpack_from(head)[0]
    if not _HEAD.size < length <= ANSWER_MAX:
        raise BadMessage(f"an answer of {length} bytes")
    return LENGTH_BYTES + length


def missing_bytes(found: bytes, answers: int) -> int:
    """How many bytes at least are still to come of so many answers; 0 where all are there.

    Raises BadMessage for what can be no answers, and for more than these.
    """
    at = 0
    for _ in range(answers):
        if at + LENGTH_BYTES > len(found):
            return at + LENGTH_BYTES - len(found)
        at += answer_bytes(found[at : at + LENGTH_BYTES])
    if at < len(found):
        raise BadMessage("more than was asked for")
    return at - len(found)


def split_answers(packed: bytes, answers: int) -> Sequence[bytes]:
    """Each answer with its length, of so many that are all there."""
    found, at = [], 0
    for _ in range(answers):
        end = at + answer_bytes(packed[at : at + LENGTH_BYTES])
        found.append(packed[at:end])
        at = end
    return found


def load_answer(packed: bytes, *, generation: int, max_views: int) -> Done | Failed | NoRoom:
    """A worker's answer about views, every field checked. Raises BadMessage."""
    try:
        which = _which(packed, generation, _IS_DONE, _IS_NO_ROOM)
        if which == _IS_NO_ROOM:
            return NoRoom(generation=generation)
        if which == _IS_FAILED:
            return _failed(packed)
        at = LENGTH_BYTES + _HEAD.size
        info = _info(packed, at)
        coverage, crop, cut, has_hash, quality, bits, count = _DONE.unpack_from(
            packed, at + _INFO.size
        )
        at += _INFO.size + _DONE.size
        if not 1 <= count <= max_views or len(packed) != at + count * _VIEW.size:
            raise BadMessage(f"{count} views")
        if cut >= 1 << len(_CUT) or quality > 100:
            raise BadMessage("a number out of range")
        return Done(
            generation=generation,
            views=tuple(_view(view) for view in _VIEW.iter_unpack(packed[at:])),
            info=info,
            coverage=_fraction(coverage),
            crop_fraction=_fraction(crop),
            truncated=tuple(word for bit, word in enumerate(_CUT) if cut >> bit & 1),
            picture_hash=PictureHash(bits=bits.hex(), quality=quality) if has_hash else None,
        )
    except _NONSENSE as error:
        raise BadMessage("an answer without the fields of one") from error


def load_shown(packed: bytes, *, generation: int, side: int) -> Shown | Failed:
    """A worker's answer about a preview, every field checked. Raises BadMessage."""
    try:
        if _which(packed, generation, _IS_SHOWN) == _IS_FAILED:
            return _failed(packed)
        at = LENGTH_BYTES + _HEAD.size
        if len(packed) != at + _INFO.size + _SHOWN.size:
            raise BadMessage("an answer of another length")
        width, height, frame = _SHOWN.unpack_from(packed, at + _INFO.size)
        if not (1 <= width <= side and 1 <= height <= side):
            raise BadMessage(f"a preview of {width} × {height} px")
        return Shown(
            generation=generation,
            width=width,
            height=height,
            frame=_int(frame),
            info=_info(packed, at),
        )
    except _NONSENSE as error:
        raise BadMessage("an answer without the fields of one") from error


def _which(packed: bytes, generation: int, *expected: int) -> int:
    """Which answer this is: an expected one or a failure."""
    which, repeated = _HEAD.unpack_from(packed, LENGTH_BYTES)
    if repeated != generation:
        raise BadMessage("an answer to another image")
    if which not in (*expected, _IS_FAILED):
        raise BadMessage("an answer to another question")
    return int(which)


def _failed(packed: bytes) -> Failed:
    if len(packed) != LENGTH_BYTES + _FAILED.size:
        raise BadMessage("an answer of another length")
    _, generation, detail = _FAILED.unpack_from(packed, LENGTH_BYTES)
    return Failed(generation=generation, detail=_DETAILS[detail])


def _view(fields: tuple[int, ...]) -> View:
    kind, left, upper, right, lower, frame, background = fields
    if max(left, upper, right, lower, frame) >= _INT_END:
        raise BadMessage("a number out of range")
    return View(
        kind=_KINDS[kind],
        box=(left, upper, right, lower),
        frame=frame,
        background=_BACKGROUNDS[background],
    )


def _info(packed: bytes, at: int) -> DecodeInfo:
    format_, mode, width, height, frames, orientation, scale, has_alpha, icc = _INFO.unpack_from(
        packed, at
    )
    if max(width, height, frames) >= _INT_END:
        raise BadMessage("a number out of range")
    return DecodeInfo(
        format=_word(format_),
        width=width,
        height=height,
        mode=_word(mode),
        frames=frames,
        orientation=orientation,
        has_alpha=has_alpha,
        icc_converted=icc,
        scale_denominator=scale,
    )


def _int(value: int) -> int:
    if value >= _INT_END:
        raise BadMessage("a number out of range")
    return value


def _fraction(value: float) -> float:
    if not 0 <= value <= 1:  # nor is NaN
        raise BadMessage("a fraction out of range")
    return value


def _word(padded: bytes) -> str:
    word = padded.rstrip(b"\0").decode("ascii")
    if not word.isprintable():
        raise BadMessage("not a word")
    return word
