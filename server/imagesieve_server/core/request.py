"""One moderation request as the core knows it, and the digest that makes it idempotent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ModerationRequest:
    """What an uploader asks, after authentication and validation at the edge."""

    tenant: str
    request_id: str
    image: bytes = field(repr=False)  # the original upload
    policy: str = ""  # "" is the server's default policy
    categories: tuple[str, ...] = ()  # () is all of the policy's
    dry_run: bool = False
    surface: str = ""
    content_ref: str = ""
    uploader_ref: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def sha256(self) -> str:
        """Hex digest of the image's bytes."""
        return hashlib.sha256(self.image).hexdigest()

    def digest(self, *, sha256: str, policy: str) -> str:
        """Hex digest over what must not differ under one request_id.

        ``policy`` is the resolved name, so that naming the default policy and leaving it out
        are the same request. Each part is length-prefixed: no two part lists collide.
        """
        parts = [sha256, policy, self.surface, str(self.dry_run), *sorted(set(self.categories))]
        raw = [part.encode() for part in parts]
        text = b"".join(len(part).to_bytes(4, "big") + part for part in raw)
        return hashlib.sha256(text).hexdigest()
