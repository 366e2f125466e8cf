"""Answers of recent ALLOW requests, so that a retry gets the same one.

Bounded and in memory: best effort by design. Flagged requests are remembered by the durable
store, which this module knows nothing about.
"""

from __future__ import annotations

from collections import OrderedDict

from imagesieve_server.core.answer import Answer
from imagesieve_server.core.errors import RequestIdReused
from imagesieve_server.packed_answer import AnswerPacker, PackedAnswer, unpack


class RecentAnswers:
    """The last ``capacity`` ALLOW answers by (tenant, request_id), least recently made first."""

    def __init__(self, *, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._packer = AnswerPacker()
        self._answers: OrderedDict[tuple[str, str], tuple[str, PackedAnswer]] = OrderedDict()

    def find(self, *, tenant: str, request_id: str, request_digest: str) -> Answer | None:
        """The answer of that request, or None. Raises RequestIdReused for another digest."""
        known = self._answers.get((tenant, request_id))
        if known is None:
            return None
        digest, packed = known
        if digest != request_digest:
            raise RequestIdReused(request_id)
        return unpack(packed, request_id=request_id)

    def remember(self, *, tenant: str, request_digest: str, answer: Answer) -> None:
        """Keep an answer, dropping the oldest beyond the capacity."""
        packed = self._packer.pack(answer)
        self._answers[(tenant, answer.request_id)] = (request_digest, packed)
        while len(self._answers) > self._capacity:
            self._answers.popitem(last=False)
