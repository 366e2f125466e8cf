"""Evidence in a bucket of an object store, which several servers share.

Knows keys and hashes. What a bucket is and how it is asked is ``bucket``'s matter.
"""

from __future__ import annotations

import hashlib
import logging
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

from imagesieve_server.core.errors import StoreNotUsable, StoreUnavailable
from imagesieve_server.core.tenant_folders import folder_name, tenant_of
from imagesieve_server.review_queue import checks
from imagesieve_server.review_queue.bucket import Bucket, BucketTrouble, NoObject
from imagesieve_server.review_queue.evidence import SCRATCH_AGE_S, not_found, require_match

log = logging.getLogger(__name__)

CLOCKS_APART_S = 900.0
"""An object's age is the difference between two clocks, seconds. A server whose clock is further
from the store's cannot sign a request (S3 refuses it as RequestTimeTooSkewed), so an object that
seems older by this margin is old."""
_PROBES = ".probes"
_MARK = ".database"


class BucketEvidence:
    """``<prefix>/<tenant>/<first two digits>/<sha256>``, one object per tenant and content.

    ``shown`` is the place as an operator knows it. ``clock`` tells seconds since the epoch.
    """

    def __init__(
        self,
        *,
        bucket: Bucket,
        prefix: str,
        shown: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._clock = clock
        self.shown = shown

    def put(self, *, tenant: str, sha256: str, data: bytes) -> None:
        """Always writes, also what is there: a write that stops at an existing object would send
        the same bytes, trust an object that nobody looked at, and leave it old enough to be
        removed by another server before its row is kept."""
        require_match(sha256, data)
        try:
            self._bucket.put(self._key(tenant, sha256), data)
        except (BucketTrouble, NoObject) as problem:
            raise _unavailable("written", problem) from problem

    def get(self, *, tenant: str, sha256: str) -> bytes:
        checks.sha256("sha256", sha256)
        try:
            data = self._bucket.get(self._key(tenant, sha256))
        except NoObject:
            raise not_found() from None
        except BucketTrouble as problem:
            raise _unavailable("read", problem) from problem
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StoreUnavailable("the evidence in the object store is damaged")
        return data

    def has(self, *, tenant: str, sha256: str) -> bool:
        checks.sha256("sha256", sha256)
        try:
            self._bucket.changed_at(self._key(tenant, sha256))
        except NoObject:
            return False
        except BucketTrouble as problem:
            raise _unavailable("read", problem) from problem
        return True

    def remove(self, *, tenant: str, sha256: str, older_than_s: float = 0.0) -> bool:
        checks.sha256("sha256", sha256)
        key = self._key(tenant, sha256)
        try:
            if older_than_s and self._bucket.changed_at(key) > self._before(older_than_s):
                return False
            self._bucket.delete(key)
        except NoObject:
            return True
        except BucketTrouble as problem:
            raise _unavailable("removed", problem) from problem
        return True

    def older(self, *, part: int, older_than_s: float) -> Mapping[str, Sequence[str]]:
        before = self._before(older_than_s)
        found: dict[str, Sequence[str]] = {}
        try:
            for name in self._bucket.folders(self._prefix.rstrip("/")):
                tenant = tenant_of(name)
                if tenant is not None:
                    found[tenant] = self._older_in(f"{self._prefix}{name}/{part:02x}", before)
        except (BucketTrouble, NoObject) as problem:
            raise _unavailable("listed", problem) from problem
        return found

    def sweep(self) -> None:
        """A write is one request, so nothing is ever half written."""

    def prove_usable(self, *, versions_allowed: bool) -> None:
        """Write, read, list and remove an object, as a server will have to. Raises
        StoreNotUsable, also for a bucket that keeps what is removed, unless
        ``versions_allowed``."""
        key, data = f"{self._prefix}{_PROBES}/{secrets.token_hex(8)}", b"probe"
        try:
            version = self._bucket.put(key, data)
            same = self._bucket.get(key) == data
            self._bucket.delete(key)
            self._remove_old_probes()
        except NoObject:
            raise StoreNotUsable(
                f"the evidence {self.shown} does not have what was just written to it"
            ) from None
        except BucketTrouble as problem:
            raise StoreNotUsable(
                f"the evidence {self.shown} is not usable: {problem.reason}"
            ) from problem
        if not same:
            raise StoreNotUsable(f"the evidence {self.shown} returned other bytes")
        if version is not None and not versions_allowed:
            raise StoreNotUsable(
                f"the evidence {self.shown} keeps old versions, so a picture that is "
                "deleted by law would stay; turn versioning off, or let a lifecycle rule expire "
                "noncurrent versions within a day and say so in queue.evidence_versions"
            )

    def mark(self) -> str | None:
        """The mark that lies with the evidence; see ``evidence_mark``. Raises StoreNotUsable."""
        try:
            return self._bucket.get(f"{self._prefix}{_MARK}").decode("ascii", "replace").strip()
        except NoObject:
            return None
        except BucketTrouble as problem:
            raise self._not_marked(problem) from problem

    def made_mark(self) -> str:
        """The mark, made where it is missing. Raises StoreNotUsable."""
        try:
            self._bucket.create(f"{self._prefix}{_MARK}", secrets.token_hex(16).encode())
        except (BucketTrouble, NoObject) as problem:
            raise self._not_marked(problem) from problem
        return self.mark() or ""

    def _remove_old_probes(self) -> None:
        """Those of servers that were killed as they started."""
        before = self._before(SCRATCH_AGE_S)
        for found in self._bucket.below(f"{self._prefix}{_PROBES}"):
            if found.changed_at <= before:
                self._bucket.delete(found.key)

    def _not_marked(self, problem: Exception) -> StoreNotUsable:
        return StoreNotUsable(f"the evidence {self.shown} cannot be used: {problem}")

    def _older_in(self, folder: str, before: float) -> list[str]:
        names = (
            found.key.rpartition("/")[2]
            for found in self._bucket.below(folder)
            if found.changed_at <= before
        )
        return sorted(name for name in names if checks.is_sha256(name))

    def _before(self, older_than_s: float) -> float:
        """What was written by then is older, whichever of the two clocks is ahead."""
        return self._clock() - older_than_s - CLOCKS_APART_S if older_than_s else math.inf

    def _key(self, tenant: str, sha256: str) -> str:
        return f"{self._prefix}{folder_name(tenant)}/{sha256[:2]}/{sha256}"


def _unavailable(what: str, problem: Exception) -> StoreUnavailable:
    """The reason is the operator's; a caller is told no more than of a folder."""
    log.warning("object store", extra={"evidence": f"not {what}", "problem": str(problem)})
    return StoreUnavailable(f"the evidence cannot be {what}")
