"""Where the original pictures lie, as the settings say: one folder, or a bucket.

The one place that tells the two apart. Knows settings and both openings, and no rule.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagesieve_server.bucket_address import check_endpoint, parse_bucket
from imagesieve_server.config import QueueSettings
from imagesieve_server.core.errors import ConfigError, StoreNotUsable
from imagesieve_server.review_queue.bucket import Bucket, BucketPlace, BucketTrouble
from imagesieve_server.review_queue.evidence import EvidenceStore, FolderEvidence
from imagesieve_server.review_queue.evidence_bucket import BucketEvidence
from imagesieve_server.review_queue.evidence_mark import EvidenceMark, FolderMark

DISK_THREADS = 4
BUCKET_THREADS = 32
"""Pictures on their way at once: a bucket takes a network's time for each, not a disk's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidencePlace:
    """Evidence that a server may use."""

    store: EvidenceStore
    mark: EvidenceMark
    threads: int  # how many may work in it at once


def open_evidence(queue: QueueSettings) -> EvidencePlace:
    """A server's, proved to be writable. Raises StartupError subclasses."""
    if not queue.evidence_is_bucket:
        root = Path(queue.evidence)
        return EvidencePlace(
            store=FolderEvidence(root=root), mark=FolderMark(root), threads=DISK_THREADS
        )
    evidence = _bucket_evidence(queue)
    evidence.prove_usable(versions_allowed=queue.evidence_versions)
    return EvidencePlace(store=evidence, mark=evidence, threads=BUCKET_THREADS)


def evidence_to_read(queue: QueueSettings) -> EvidenceStore:
    """For a look beside the servers; a bucket may refuse it to write. Raises StartupError
    subclasses."""
    if queue.evidence_is_bucket:
        return _bucket_evidence(queue)
    return FolderEvidence(root=Path(queue.evidence))


def _bucket_evidence(queue: QueueSettings) -> BucketEvidence:
    name, prefix = parse_bucket(queue.evidence, setting="queue.evidence")
    place = _place(queue, name, os.environ)
    try:
        bucket = Bucket(place)
    except BucketTrouble as problem:
        raise StoreNotUsable(
            f"the evidence bucket {queue.evidence} is not usable: {problem.reason}"
        ) from problem
    return BucketEvidence(bucket=bucket, prefix=prefix, shown=f"bucket {queue.evidence}")


def _place(queue: QueueSettings, bucket: str, environ: Mapping[str, str]) -> BucketPlace:
    """Endpoints from the environment are held to the same rule as those from settings."""
    endpoint = queue.evidence_endpoint
    for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        if not endpoint and environ.get(variable):
            endpoint = environ[variable]
            check_endpoint(endpoint, setting=variable, insecure=queue.evidence_insecure)
    secret = ""
    if queue.evidence_secret_key_file:
        secret = _read(queue.evidence_secret_key_file, "queue.evidence_secret_key_file").strip()
    return BucketPlace(
        bucket=bucket,
        endpoint=endpoint,
        region=queue.evidence_region,
        access_key=queue.evidence_access_key,
        secret_key=secret,
        authorities=_read(queue.evidence_ca, "queue.evidence_ca") if queue.evidence_ca else "",
        allow_http=endpoint.startswith("http://"),
    )


def _read(path: str, setting: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{setting}: {path}: {problem}") from None
