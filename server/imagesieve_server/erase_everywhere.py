"""Legal deletion reaches all that is kept of a picture: the queue first, which records it."""

from __future__ import annotations

import logging

from imagesieve_server.content_cache import ContentCache
from imagesieve_server.core.errors import ItemNotFound
from imagesieve_server.core.ports import EmbeddingStore, ReviewQueue
from imagesieve_server.core.review_afterwards import EraseRequest, Erasure

log = logging.getLogger(__name__)


async def erase_everywhere(
    request: EraseRequest,
    *,
    queue: ReviewQueue,
    embeddings: EmbeddingStore | None,
    content: ContentCache | None,
) -> Erasure:
    """Erase some bytes of a tenant. Where this raises, it is to be repeated.

    A picture that was allowed has no review item, but its embeddings may be kept: then they go,
    and the log is the record. What other servers hold in memory serves until its age there.
    Raises ItemNotFound where nothing durable is kept of the picture, InvalidRequest,
    StoreUnavailable.
    """
    sha256 = request.sha256
    try:
        erasure = await _erase_durable(request, queue=queue, embeddings=embeddings)
        sha256 = erasure.sha256
        return erasure
    finally:
        if content is not None and sha256:
            content.forget(tenant=request.tenant, sha256=sha256)


async def _erase_durable(
    request: EraseRequest, *, queue: ReviewQueue, embeddings: EmbeddingStore | None
) -> Erasure:
    try:
        erasure = await queue.erase(request)
    except ItemNotFound:
        if embeddings is None or not request.sha256:
            raise
        views = await embeddings.erase(tenant=request.tenant, sha256=request.sha256)
        if not views:
            raise
        log.warning(
            "embeddings of a picture without an item erased",
            extra={
                "tenant": request.tenant,
                "sha256": request.sha256,
                "views": views,
                "actor": request.actor,
                "reason": request.reason,
            },
        )
        return Erasure(sha256=request.sha256, decisions=())
    if embeddings is not None:
        await embeddings.erase(tenant=request.tenant, sha256=erasure.sha256)
    return erasure
