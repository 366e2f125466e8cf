"""The asyncio client. Methods only: what they send is in ``calls.py``.

The methods and parameters are those of ``Client``, which explains them; a test holds the two
equal.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType

import grpc

from imagesieve import calls
from imagesieve.async_bulk import run_bulk
from imagesieve.async_group_client import AsyncGroupClient
from imagesieve.async_many import run_many
from imagesieve.async_quality_client import AsyncQualityClient
from imagesieve.async_review_client import AsyncReviewClient
from imagesieve.async_transport import AsyncTransport
from imagesieve.backlog import (
    BATCH_BYTES,
    BULK_BATCH,
    BULK_BATCHES,
    BULK_TIMEOUT_S,
    Backlog,
    check_bulk,
)
from imagesieve.connection import DEFAULT_TARGET, DEFAULT_TIMEOUT_S, Token, connection
from imagesieve.many import MAX_IN_FLIGHT, check_in_flight, own_fault
from imagesieve.policy_results import HealthStatus, Policy, PolicyReload
from imagesieve.results import ImageSource, Moderated, ModerationResult, Upload
from imagesieve.retry import MAX_IMAGE_BYTES
from imagesieve.sources import read_image
from imagesieve.tls_files import PemFile
from imagesieve.v1 import moderation_pb2 as pb


class AsyncClient:
    """As ``Client``, for asyncio. Make it inside a coroutine: it belongs to the running loop.

    Raises RuntimeError where no event loop is running.
    """

    review: AsyncReviewClient
    groups: AsyncGroupClient
    quality: AsyncQualityClient

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
        asyncio.get_running_loop()  # gRPC would fail later, and differently on each Python
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
        self._transport = AsyncTransport(self._connection)
        self.review = AsyncReviewClient(self._transport)
        self.groups = AsyncGroupClient(self._transport)
        self.quality = AsyncQualityClient(self._transport)

    async def moderate(
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
        """As ``Client.moderate``. Files are read in a thread."""
        upload = Upload(
            image=image,
            request_id=request_id,
            content_ref=content_ref,
            uploader_ref=uploader_ref,
            surface=surface,
            labels=labels or {},
        )
        request = await self._request(upload, policy, categories, dry_run)
        return await self._transport.run(calls.moderate(request, timeout_s=timeout))

    def moderate_many(
        self,
        images: Iterable[ImageSource | Upload],
        *,
        policy: str = "",
        categories: Sequence[str] = (),
        dry_run: bool = False,
        timeout: float = DEFAULT_TIMEOUT_S,
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> AsyncIterator[Moderated]:
        """As ``Client.moderate_many``. Wrap it in ``contextlib.aclosing`` to leave it early."""
        check_in_flight(max_in_flight)
        calls.check_common(policy, categories)

        async def moderate(upload: Upload) -> ModerationResult:
            with own_fault():
                request = await self._request(upload, policy, categories, dry_run)
            return await self._transport.run(calls.moderate(request, timeout_s=timeout))

        return run_many(moderate, images, max_in_flight=max_in_flight)

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
    ) -> AsyncIterator[Moderated]:
        """As ``Client.moderate_bulk``. Wrap it in ``contextlib.aclosing`` to leave it early."""
        check_bulk(batch, max_batches)
        calls.check_common(policy, categories)

        async def prepare(upload: Upload) -> pb.ModerateRequest:
            with own_fault():
                return await self._request(
                    upload, policy, categories, dry_run, max_bytes=BATCH_BYTES
                )

        backlog = Backlog(batch=batch, batches=max_batches, timeout_s=timeout)
        return run_bulk(prepare, self._transport.run, images, backlog, max_batches=max_batches)

    async def get_policy(self, name: str = "", *, timeout: float = DEFAULT_TIMEOUT_S) -> Policy:
        """As ``Client.get_policy``."""
        return await self._transport.run(calls.get_policy(name, timeout_s=timeout))

    async def list_policies(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> tuple[Policy, ...]:
        """As ``Client.list_policies``."""
        return await self._transport.run(calls.list_policies(timeout_s=timeout))

    async def reload_policies(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> PolicyReload:
        """As ``Client.reload_policies``."""
        return await self._transport.run(calls.reload_policies(timeout_s=timeout))

    async def health(
        self, service: str = "", *, timeout: float = DEFAULT_TIMEOUT_S
    ) -> HealthStatus:
        """As ``Client.health``."""
        return await self._transport.run(calls.health(service, timeout_s=timeout))

    async def close(self) -> None:
        """As ``Client.close``."""
        await self._transport.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _request(
        self,
        upload: Upload,
        policy: str,
        categories: Sequence[str],
        dry_run: bool,
        *,
        max_bytes: int = sys.maxsize,
    ) -> pb.ModerateRequest:
        source = upload.image
        limit = min(max_bytes, self._connection.max_image_bytes)
        if isinstance(source, bytes | bytearray | memoryview):
            image = read_image(source, max_bytes=limit)
        else:
            image = await asyncio.to_thread(read_image, source, max_bytes=limit)
        return calls.moderate_request(
            upload, image, policy=policy, categories=categories, dry_run=dry_run
        )
