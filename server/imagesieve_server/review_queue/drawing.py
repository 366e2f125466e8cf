"""Draws with a key of the database, so that all servers on it draw alike, for good.

Knows where the key lies; what is drawn is the core's matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from imagesieve_server.core import second_review
from imagesieve_server.core.draws import derived_key
from imagesieve_server.core.review import Flag
from imagesieve_server.review_queue.rows import CURSOR_MARK, Transaction


def key_for(tx: Transaction, purpose: str) -> bytes:
    """The database's key for one purpose."""
    return derived_key(bytes.fromhex(tx.mark(CURSOR_MARK) or ""), purpose)


def drawn(tx: Transaction, flags: Sequence[Flag]) -> Sequence[Flag]:
    """The flags; those drawn for a second review need two reviewers."""
    if not any(flag.second_review_share for flag in flags):
        return flags
    key = key_for(tx, second_review.PURPOSE)
    return [
        replace(
            flag,
            reviews_needed=second_review.reviews_needed(
                key=key,
                tenant=flag.tenant,
                sha256=flag.sha256,
                share=flag.second_review_share,
                needed=flag.reviews_needed,
            ),
        )
        for flag in flags
    ]
