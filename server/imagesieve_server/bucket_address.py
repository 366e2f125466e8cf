"""Where a bucket of an object store is, as settings name it: ``s3://bucket/prefix`` and an
endpoint. Knows texts; asks nobody."""

from __future__ import annotations

import re
import urllib.parse

from imagesieve_server.addresses import is_loopback
from imagesieve_server.core.errors import ConfigError

SCHEME = "s3://"


def parse_bucket(url: str, *, setting: str) -> tuple[str, str]:
    """Bucket and prefix (without slashes at its ends, "" for none). Raises ConfigError."""
    bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
    parts = prefix.strip("/").split("/") if prefix.strip("/") else []
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", bucket):
        raise ConfigError(f"{setting}: must be like s3://bucket or s3://bucket/prefix")
    if not all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", part) for part in parts):
        raise ConfigError(
            f"{setting}: a prefix may hold letters, digits, '.', '_', '-' and single slashes"
        )
    return bucket, "/".join(parts)


def check_endpoint(endpoint: str, *, setting: str, insecure: bool) -> None:
    """Refuse what is no http address, holds a password, or would send pictures and signatures
    unencrypted to another machine. Raises ConfigError."""
    try:
        found = urllib.parse.urlsplit(endpoint)
        host, _ = found.hostname or "", found.port
    except ValueError:
        host = ""
        found = urllib.parse.urlsplit("")
    if found.scheme not in ("http", "https") or not host:
        raise ConfigError(f"{setting}: must be like https://objects.example.com")
    if "@" in found.netloc or found.query or found.fragment or found.path not in ("", "/"):
        raise ConfigError(f"{setting}: must be scheme, host and port alone")
    if found.scheme == "http" and not insecure and not is_loopback(host):
        raise ConfigError(
            f"{setting}: {found.scheme}://{host} would carry pictures unencrypted; use https, or "
            "say queue.evidence_insecure for a private network"
        )
