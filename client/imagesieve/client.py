"""The blocking client. Methods only: what they send is in ``calls.py``.

``AsyncClient`` has the same methods with the same parameters; a test holds the two equal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType

import grpc

from imagesieve import calls
from imagesieve.backlog import (
    BATCH_BYTES,
    BULK_BATCH,
    BULK_BATCHES,
    BULK_TIMEOUT_S,
    Backlog,
    check_bulk,
)
from imagesieve.bulk import run_bulk
from imagesieve.connection import DEFAULT_TARGET, DEFAULT_TIMEOUT_S, Token, connection
from imagesieve.group_client import GroupClient
from imagesieve.many import MAX_IN_FLIGHT, check_in_flight, own_fault, run_many
from imagesieve.policy_results import HealthStatus, Policy, PolicyReload
from imagesieve.quality_client import QualityClient
from imagesieve.results import ImageSource, Moderated, ModerationResult, Upload
from imagesieve.retry import MAX_IMAGE_BYTES
from imagesieve.review_client import ReviewClient
from imagesieve.sources import read_image
from imagesieve.tls_files import PemFile
from imagesieve.transport import Pending, Transport
from imagesieve.v1 import moderation_pb2 as pb


class Client:
    """A connection to an imagesieve server. Safe to share between threads; close it once.

    ``target`` is a gRPC target, for example ``127.0.0.1:50051`` or ``dns:///sieve:443``.
    ``tls=True`` trusts the system's roots, ``ca_file`` the authorities in a PEM file instead;
    ``cert_file`` and ``key_file`` are shown to a server that asks for a client certificate, and
    ``credentials`` are for anything else. ``token`` is sent as a bearer token.
    ``wait_for_ready=True`` makes calls wait for a server that cannot be reached, up to their
    timeout, instead of failing after a few tries: for backfills. ``max_image_bytes`` is the
    largest image that is sent.

    Raises ValueError for a token that would travel in the clear (``allow_plaintext_token``) and
    for files that cannot be used, OSError for files that cannot be read.
    """

    review: ReviewClient
    groups: GroupClient
    quality: QualityClient

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        tls: bool = False,
        credentials: grpc.ChannelCredentials | None = None,
        ca_file: PemFile | None = None,
        cert_file: PemFile | None = None,
        key_file: PemFile | None = None,
        token: Token | None = None,
        allow_plaintext_token: bool = False,
        wait_for_ready: bool = False,
        max_image_bytes: int = MAX_IMAGE_BYTES,
    ) -> None:
        self._connection = connection(
            target,
            tls=tls,
            credentials=credentials,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            token=token,
            allow_plaintext_token=allow_plaintext_token,
            wait_for_ready=wait_for_ready,
            max_image_bytes=max_image_bytes,
        )
        self._transport = Transport(self._connection)
        self.review = ReviewClient(self._transport)
        self.groups = GroupClient(self._transport)
        self.quality = QualityClient(self._transport)

    def moderate(
        self,
        image: ImageSource,
        *,
        request_id: str | None = None,
        policy: str = "",
        categories: Sequence[str] = (),
        surface: str = "",
        content_ref: str = "",
        uploader_ref: str = "",
        labels: Mapping[str, str] | None = None,
        dry_run: bool = False,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> ModerationResult:
        """Ask whether an image may be published.

        The answer is UNDECIDED, with ``undecided_reason``, where ``timeout`` (seconds, all
        attempts together) or the retries are spent without one: the image must not be published
        yet. Pass your own ``request_id`` where the same upload may be asked about again.
        ``dry_run`` computes the full answer and stores nothing.

        Raises ImageEmpty or ImageTooLarge before any call, a RequestError for what the server
        refuses, ServerFault where it fails, OSError for an unreadable file, and TypeError for an
        image that is no bytes, ``Path`` or binary file and for a field that is no text.
        """
        upload = Upload(
            image=image,
            request_id=request_id,
            content_ref=content_ref,
            uploader_ref=uploader_ref,
            surface=surface,
            labels=labels or {},
        )
        request = self._request(upload, policy=policy, categories=categories, dry_run=dry_run)
        return self._transport.run(calls.moderate(request, timeout_s=timeout))

    def moderate_many(
        self,
        images: Iterable[ImageSource | Upload],
        *,
        policy: str = "",
        categories: Sequence[str] = (),
        dry_run: bool = False,
        timeout: float = DEFAULT_TIMEOUT_S,
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> Iterator[Moderated]:
        """Ask about many images; outcomes come in the order in which they arrive.

        At most ``max_in_flight`` images are read and not yet answered. ``timeout`` (seconds) is
        each image's own. An image's error is in its outcome and never ends the others: one that
        ``moderate`` refuses with TypeError or ValueError has an InvalidRequest. An error of the
        iterable itself ends all. Raises, before the first image, ValueError for a bound below 1
        and TypeError for ``policy`` or ``categories`` that are no text.
        """
        check_in_flight(max_in_flight)
        calls.check_common(policy, categories)

        def start(upload: Upload) -> Pending[ModerationResult]:
            with own_fault():
                request = self._request(
                    upload, policy=policy, categories=categories, dry_run=dry_run
                )
            return self._transport.start(calls.moderate(request, timeout_s=timeout))

        return run_many(start, images, max_in_flight=max_in_flight)

    def moderate_bulk(
        self,
        images: Iterable[ImageSource | Upload],
        *,
        policy: str = "",
        categories: Sequence[str] = (),
        dry_run: bool = False,
        timeout: float = BULK_TIMEOUT_S,
        batch: int = BULK_BATCH,
        max_batches: int = BULK_BATCHES,
    ) -> Iterator[Moderated]:
        """As ``moderate_many``, for backfills: batches instead of single calls, and patience.

        ``batch`` images (at most 64) travel in one call and ``max_batches`` calls are on their
        way at once; batches shrink while the server is overloaded. An image that got no answer
        is sent again, as the same request, until ``timeout`` (seconds, from its first sending)
        is spent; then it is UNDECIDED. Its verdict may come later than alone: a batch answers
        when its last image is done. An image over 32 MiB is too large here. Raises, before the
        first image, ValueError for numbers under which nothing could be sent and TypeError as
        ``moderate_many`` does.
        """
        check_bulk(batch, max_batches)
        calls.check_common(policy, categories)

        def prepare(upload: Upload) -> pb.ModerateRequest:
            with own_fault():
                return self._request(
                    upload,
                    policy=policy,
                    categories=categories,
                    dry_run=dry_run,
                    max_bytes=BATCH_BYTES,
                )

        backlog = Backlog(batch=batch, batches=max_batches, timeout_s=timeout)
        return run_bulk(prepare, self._transport.start, images, backlog, max_batches=max_batches)

    def get_policy(self, name: str = "", *, timeout: float = DEFAULT_TIMEOUT_S) -> Policy:
        """One policy in force, with its source; the default one where ``name`` is empty.

        Raises UnknownPolicy.
        """
        return self._transport.run(calls.get_policy(name, timeout_s=timeout))

    def list_policies(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> tuple[Policy, ...]:
        """All policies in force, without their sources."""
        return self._transport.run(calls.list_policies(timeout_s=timeout))

    def reload_policies(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> PolicyReload:
        """Make the replica that answers read its policies again."""
        return self._transport.run(calls.reload_policies(timeout_s=timeout))

    def health(self, service: str = "", *, timeout: float = DEFAULT_TIMEOUT_S) -> HealthStatus:
        """Whether the server, or one of its services, serves.

        Raises Unavailable where no answer came in time.
        """
        return self._transport.run(calls.health(service, timeout_s=timeout))

    def _request(
        self,
        upload: Upload,
        *,
        policy: str,
        categories: Sequence[str],
        dry_run: bool,
        max_bytes: int = sys.maxsize,
    ) -> pb.ModerateRequest:
        limit = min(max_bytes, self._connection.max_image_bytes)
        return calls.moderate_request(
            upload,
            read_image(upload.image, max_bytes=limit),
            policy=policy,
            categories=categories,
            dry_run=dry_run,
        )

    def close(self) -> None:
        """Close the connection; calls under way end without an answer."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
