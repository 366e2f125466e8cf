"""An answer as it is kept while nobody asks for it: in a third of the memory.

Knows what answers under one policy have in common, which is kept once, and writes the rest as
bytes that never leave the process; refuses to know who asks and how long it is kept. What comes
back equals what went in, to the last bit of its scores.
"""

from __future__ import annotations

import marshal
from array import array
from collections.abc import Iterator
from itertools import chain
from operator import attrgetter
from typing import Any, Final, NamedTuple

from imagesieve_server.core.answer import Answer
from imagesieve_server.core.policy import Mode, Threshold
from imagesieve_server.core.verdict import Band, CategoryScore, Judgement, Reason, Verdict
from imagesieve_server.core.views import Background, DecodeInfo, View, ViewKind

_KINDS: Final = tuple(ViewKind)
_BACKGROUNDS: Final = tuple(Background)
_KIND_AT: Final = {kind: at for at, kind in enumerate(_KINDS)}
_INFO: Final = tuple(DecodeInfo.__dataclass_fields__)
_info_of: Final = attrgetter(*_INFO)
_BACKGROUND_AT: Final = {background: at for at, background in enumerate(_BACKGROUNDS)}


_of_policy: Final = attrgetter(
    "category", "threshold", "block_threshold", "band", "severity", "mode"
)
"""Of a score, what the policy says and not the picture."""
_measured: Final = attrgetter("score", "log_odds", "neutral_score", "margin")
_MEASURED: Final = 4
_view_of: Final = attrgetter("view")
_probability_of: Final = attrgetter("probability")

_Category = tuple[str, Threshold | None, Threshold | None, Band, int, Mode]
"""What ``_of_policy`` gives."""


class Common(NamedTuple):
    """What many answers share. A tuple, for tuples are compared by identity first."""

    categories: tuple[_Category, ...]
    verdict: Verdict
    reasons: tuple[Reason, ...]
    degraded: bool
    policy: str
    policy_version: str
    model_version: str
    dry_run: bool


class PackedAnswer(NamedTuple):
    """One answer without its request_id, which whoever keeps it has as a key."""

    common: Common
    own: bytes


class AnswerPacker:
    """Packs answers, and keeps once what they have in common."""

    def __init__(self, *, most_common: int = 256) -> None:
        """``most_common``: kinds of answers known at a time; beyond it all are learned anew."""
        self._most = most_common
        self._known: dict[Common, Common] = {}
        self._last: Common | None = None

    def pack(self, answer: Answer) -> PackedAnswer:
        """The answer in few bytes."""
        return PackedAnswer(self._shared(_common_of(answer)), marshal.dumps(_own_of(answer)))

    def _shared(self, common: Common) -> Common:
        # Mostly as the one before; and to compare is cheaper than to hash.
        if self._last is None or self._last != common:
            if len(self._known) >= self._most:
                self._known.clear()
            self._last = self._known.setdefault(common, common)
        return self._last


def unpack(packed: PackedAnswer, *, request_id: str) -> Answer:
    """The answer that was packed."""
    common = packed.common
    own: Any = marshal.loads(packed.own)  # written by this process, below
    sha256, measured, worst, probabilities, views, *rest = own
    coverage, crop, info, surface, content, uploader, labels, item = rest
    return Answer(
        request_id=request_id,
        sha256=sha256,
        judgement=Judgement(
            verdict=common.verdict,
            reasons=common.reasons,
            scores=tuple(_scores(common.categories, measured, worst, probabilities)),
            degraded=common.degraded,
        ),
        policy=common.policy,
        policy_version=common.policy_version,
        model_version=common.model_version,
        dry_run=common.dry_run,
        views=tuple(map(_view, views)),
        coverage=coverage,
        crop_fraction=crop,
        decode_info=None if info is None else DecodeInfo(**dict(zip(_INFO, info, strict=True))),
        surface=surface,
        content_ref=content,
        uploader_ref=uploader,
        labels=labels,
        item_id=item,
    )


def _common_of(answer: Answer) -> Common:
    judgement = answer.judgement
    return Common(
        tuple(map(_of_policy, judgement.scores)),
        judgement.verdict,
        judgement.reasons,
        judgement.degraded,
        answer.policy,
        answer.policy_version,
        answer.model_version,
        answer.dry_run,
    )


def _own_of(answer: Answer) -> tuple[Any, ...]:
    """Plain values only: what else marshal takes for bytes, numpy's numbers for one."""
    info = answer.decode_info
    return (
        answer.sha256,
        *_numbers_of(answer.judgement.scores),
        tuple(
            [(_KIND_AT[v.kind], v.box, v.frame, _BACKGROUND_AT[v.background]) for v in answer.views]
        ),
        float(answer.coverage),
        float(answer.crop_fraction),
        None if info is None else _info_of(info),
        answer.surface,
        answer.content_ref,
        answer.uploader_ref,
        dict(answer.labels),
        answer.item_id,
    )


def _numbers_of(scores: tuple[CategoryScore, ...]) -> tuple[bytes, tuple[int, ...], Any]:
    """What was measured, as float64; the worst views; probabilities, where there are any."""
    probabilities: list[float | None] = list(map(_probability_of, scores))
    if any(p is not None for p in probabilities):
        probabilities = [None if p is None else float(p) for p in probabilities]
    return (
        array("d", chain.from_iterable(map(_measured, scores))).tobytes(),
        tuple(map(_view_of, scores)),
        probabilities,
    )


def _scores(
    categories: tuple[_Category, ...],
    measured: bytes,
    views: tuple[int, ...],
    probabilities: list[float | None],
) -> Iterator[CategoryScore]:
    numbers = iter(array("d", measured))
    rows = zip(*[numbers] * _MEASURED, strict=True)
    for category, row, view, probability in zip(
        categories, rows, views, probabilities, strict=True
    ):
        name, threshold, block_threshold, band, severity, mode = category
        score, log_odds, neutral_score, margin = row
        yield CategoryScore(
            category=name,
            score=score,
            log_odds=log_odds,
            neutral_score=neutral_score,
            threshold=threshold,
            block_threshold=block_threshold,
            margin=margin,
            band=band,
            view=view,
            severity=severity,
            mode=mode,
            probability=probability,
        )


def _view(packed: tuple[int, tuple[int, int, int, int], int, int]) -> View:
    kind, box, frame, background = packed
    return View(
        kind=_KINDS[kind],
        box=box,
        frame=frame,
        background=_BACKGROUNDS[background],
    )
