"""Draws that the same things always give and nobody without the key can foresee.

Knows HMAC; what is drawn, and how often, is the caller's matter.
"""

from __future__ import annotations

import hmac


def derived_key(key: bytes, purpose: str) -> bytes:
    """A key for one purpose alone, 32 bytes: who has it learns nothing of the others."""
    return hmac.digest(key, purpose.encode(), "sha256")


def place(key: bytes, *parts: str) -> float:
    """Where these parts fall, evenly between 0 and 1: below a share p with probability p.

    What is drawn at one share is drawn at every higher one. The parts are length-prefixed, so
    that no two lists of them collide.
    """
    text = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return int.from_bytes(hmac.digest(key, text, "sha256")[:8], "big") / 2.0**64
