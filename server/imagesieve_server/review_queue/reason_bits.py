"""The reasons of an item as one number, so that lists can be filtered by them in any database.

Knows which bit is whose. The numbers are in databases: a new reason takes the next bit, and a
bit is never given to another reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from imagesieve_server.core.verdict import ReasonCode

BIT: Final[Mapping[ReasonCode, int]] = {
    ReasonCode.CATEGORY_REVIEW: 1 << 0,
    ReasonCode.CATEGORY_BLOCK: 1 << 1,
    ReasonCode.UNDECODABLE: 1 << 2,
    ReasonCode.VIEWS_TRUNCATED: 1 << 3,
    ReasonCode.SCORE_INVALID: 1 << 4,
    ReasonCode.UNSCORED: 1 << 5,
    ReasonCode.POLICY_FAIL_OPEN: 1 << 6,
    ReasonCode.AUDIT_SAMPLE: 1 << 7,
}


def bits_of(reasons: Iterable[ReasonCode]) -> int:
    """All of them in one number."""
    number = 0
    for reason in reasons:
        number |= BIT[reason]
    return number
