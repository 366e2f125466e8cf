"""Builds those who look on: what keeps embeddings. Part of the assembly, on a page of its own."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from imagesieve_server.config import EmbeddingSettings
from imagesieve_server.core.ports import Metrics
from imagesieve_server.embedding_store.writer import ParquetEmbeddings, StoreOptions

MEBI = 2**20


async def embedding_store(
    settings: EmbeddingSettings, metrics: Metrics, stack: contextlib.AsyncExitStack
) -> ParquetEmbeddings | None:
    """The store, closed with the stack; None where the settings want none.

    Raises MissingExtra, StoreNotUsable.
    """
    if not settings.folder:
        return None
    store = await asyncio.to_thread(
        ParquetEmbeddings,
        root=Path(settings.folder),
        options=StoreOptions(
            keep_days=settings.keep_days,
            file_views=settings.file_views,
            flush_s=settings.flush_seconds,
            queue_views=settings.queue_views,
            max_bytes=settings.max_mib * MEBI,
        ),
        metrics=metrics,
    )
    stack.push_async_callback(store.close)
    return store
