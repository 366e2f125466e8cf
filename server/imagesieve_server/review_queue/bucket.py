"""A bucket of an S3-compatible object store: whole objects by key. All of ``obstore`` is here.

Every call is bounded in time, retries included. What the store said is told in a few words of its
own: its answers carry the key id, and addresses and hashes that do not belong into a log. Knows
nothing of evidence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from imagesieve_server.extras import need

T = TypeVar("T")

PATIENCE_S = 24.0
"""The longest that a call may take, seconds: less than the queue's own patience of 30."""
CONNECT_S = 3.0
STALLED_S = 5.0
"""An answer that sends nothing for so long, seconds, is given up."""
RETRIES = 6
MAX_OBJECT = 256 * 1024 * 1024
"""Bytes of an object that is still read: somebody else may have put one there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketPlace:
    """Which bucket, and how to be let in. Empty texts leave the choice to the standard ``AWS_``
    variables, a web identity or the machine's role."""

    bucket: str
    endpoint: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    authorities: str = ""  # PEM, besides the known ones
    allow_http: bool = False


class BucketTrouble(Exception):
    """The store did not do it. ``reason`` is fit for a log and for an operator."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NoObject(Exception):
    """There is no object with that key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One object of a listing."""

    key: str
    changed_at: float  # seconds since the epoch, on the store's clock


class Bucket:
    """Safe to call from several threads at once. Opening it asks nobody.

    Raises MissingExtra, and BucketTrouble where the place itself is impossible.
    """

    def __init__(self, place: BucketPlace, *, patience_s: float = PATIENCE_S) -> None:
        self._api = need("obstore")
        aws = need("obstore.store")
        self._errors = (need("obstore.exceptions").BaseError, OSError, ValueError)
        half = timedelta(seconds=patience_s / 2)
        client: dict[str, Any] = {
            "connect_timeout": timedelta(seconds=min(CONNECT_S, patience_s / 2)),
            "read_timeout": timedelta(seconds=min(STALLED_S, patience_s / 2)),
            "timeout": half,
            "allow_http": place.allow_http,
        }
        if place.authorities:
            client["root_certificate"] = place.authorities
        backoff = {
            "init_backoff": timedelta(seconds=0.1),
            "max_backoff": timedelta(seconds=2),
            "base": 2,
        }
        try:
            self._store = aws.S3Store(
                place.bucket,
                config=_config(place),
                client_options=client,
                credential_provider=_own_key(place),
                # No attempt begins after the first half, and each ends within the other.
                retry_config={"max_retries": RETRIES, "retry_timeout": half, "backoff": backoff},
            )
        except self._errors as problem:
            raise BucketTrouble(_told(problem)) from None

    def put(self, key: str, data: bytes) -> str | None:
        """Write the whole object, durably; the version it is where the bucket keeps versions.

        One request, with a sha256 that the store checks: nothing is ever half written.
        """
        done = self._asked(lambda: self._api.put(self._store, key, data, use_multipart=False))
        version: str | None = done["version"]
        return version

    def create(self, key: str, data: bytes) -> bool:
        """Write the object unless there is one; whether it was written. Raises BucketTrouble."""
        try:
            self._asked(
                lambda: self._api.put(self._store, key, data, use_multipart=False, mode="create")
            )
        except _Exists:
            return False
        return True

    def get(self, key: str) -> bytes:
        """Raises NoObject, BucketTrouble."""

        def read() -> bytes:
            result = self._api.get(self._store, key)
            if result.meta["size"] > MAX_OBJECT:
                raise BucketTrouble("an object is far larger than any picture")
            return bytes(result.bytes())

        return self._asked(read)

    def changed_at(self, key: str) -> float:
        """When the object was written, seconds since the epoch on the store's clock.

        Raises NoObject, BucketTrouble.
        """
        seconds: float = self._asked(
            lambda: self._api.head(self._store, key)["last_modified"].timestamp()
        )
        return seconds

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error. Raises BucketTrouble."""
        try:
            self._asked(lambda: self._api.delete(self._store, key))
        except NoObject:
            pass

    def below(self, folder: str) -> Iterator[Found]:
        """All objects below, a page of a thousand a request. Raises BucketTrouble."""
        pages = iter(self._asked(lambda: self._api.list(self._store, folder, chunk_size=1000)))
        while page := self._asked(lambda: next(pages, None)):
            for entry in page:
                yield Found(key=entry["path"], changed_at=entry["last_modified"].timestamp())

    def folders(self, folder: str) -> list[str]:
        """The names next below ``folder`` ("" is the bucket) that have something below
        themselves. Raises BucketTrouble."""
        found = self._asked(lambda: self._api.list_with_delimiter(self._store, folder or None))
        return [path.rpartition("/")[2] for path in found["common_prefixes"]]

    def _asked(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except BucketTrouble:
            raise
        except FileNotFoundError as problem:
            if "<Code>NoSuchBucket</Code>" in str(problem):
                raise BucketTrouble("there is no such bucket") from None
            raise NoObject from None
        except self._errors as problem:
            if type(problem).__name__ in ("AlreadyExistsError", "PreconditionError"):
                raise _Exists from None
            raise BucketTrouble(_told(problem)) from None
        except BaseException as problem:
            if type(problem).__name__ == "PanicException":  # of the library; no Exception
                raise BucketTrouble("the object store's client failed") from None
            raise


class _Exists(Exception):
    """There is an object with that key already."""


def _config(place: BucketPlace) -> dict[str, Any]:
    given = {"endpoint": place.endpoint.rstrip("/"), "region": place.region}
    return {
        **{key: value for key, value in given.items() if value},
        "checksum_algorithm": "sha256",
        # A batch can fail in part inside an answer that says 200.
        "disable_bulk_delete": True,
    }


def _own_key(place: BucketPlace) -> Callable[[], dict[str, str | None]] | None:
    """The settings' key, and nothing beside it: an ``AWS_SESSION_TOKEN`` of the environment belongs
    to another key, and perhaps to another store, which must not see it."""
    if not place.access_key:
        return None
    return lambda: {
        "access_key_id": place.access_key,
        "secret_access_key": place.secret_key,
        "token": None,
        "expires_at": None,
    }


def _told(problem: Exception) -> str:
    """What happened, without anything that the store's answer repeats of the request."""
    text = str(problem)
    code = re.search(r"<Code>([A-Za-z0-9]{1,60})</Code>", text)
    status = re.search(r"status code: (\d{3})", text)
    if code:
        return f"the object store answered {code[1]}"
    if status:
        return f"the object store answered with status {status[1]}"
    if type(problem).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        return "the object store refused access"
    if "metadata" in text or "credential" in text.lower():
        return "no credentials for the object store were found"
    if "builder" in text.lower() or type(problem).__name__ == "UnknownConfigurationKeyError":
        return "the object store's address or settings cannot be used"
    return "the object store did not answer"
