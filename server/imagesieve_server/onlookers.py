"""Builds those who look on: what keeps embeddings, and what scores shadow policies. Part of the
assembly, on a page of its own."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from imagesieve_server.background import run_until_closed
from imagesieve_server.config import EmbeddingSettings, PolicySettings, Settings
from imagesieve_server.core.ports import EncoderSpec, Onlooker, PolicySource
from imagesieve_server.embedding_store.writer import (
    EmbeddingMetrics,
    ParquetEmbeddings,
    StoreOptions,
)
from imagesieve_server.policy_files.shadow import ShadowFolder, ShadowMetrics
from imagesieve_server.shadow_scoring import ShadowCounts, ShadowScorer

MEBI = 2**20


class OnlookerMetrics(EmbeddingMetrics, ShadowMetrics, ShadowCounts, Protocol):
    """What onlookers report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Onlookers:
    """Those that the settings want."""

    embeddings: ParquetEmbeddings | None
    shadows: ShadowScorer | None

    @property
    def all(self) -> tuple[Onlooker, ...]:
        """Each that there is."""
        found: tuple[Onlooker | None, ...] = (self.embeddings, self.shadows)
        return tuple(onlooker for onlooker in found if onlooker is not None)


async def build_onlookers(
    settings: Settings,
    live: PolicySource,
    spec: EncoderSpec,
    metrics: OnlookerMetrics,
    stack: contextlib.AsyncExitStack,
) -> Onlookers:
    """All of them, closed with the stack. Raises MissingExtra, StoreNotUsable."""
    return Onlookers(
        embeddings=await _embeddings(settings.embeddings, metrics, stack),
        shadows=await _shadows(settings.policies, live, spec, metrics, stack),
    )


async def _embeddings(
    settings: EmbeddingSettings, metrics: OnlookerMetrics, stack: contextlib.AsyncExitStack
) -> ParquetEmbeddings | None:
    """The store; None where the settings want none."""
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


async def _shadows(
    settings: PolicySettings,
    live: PolicySource,
    spec: EncoderSpec,
    metrics: OnlookerMetrics,
    stack: contextlib.AsyncExitStack,
) -> ShadowScorer | None:
    """What scores the shadows, and watches their folder until the stack closes; None where the
    settings want none. A bad shadow is logged and counted."""
    if not settings.shadow_folder:
        return None
    shadows = ShadowFolder(
        folder=Path(settings.shadow_folder), live=live, spec=spec, metrics=metrics
    )
    await asyncio.to_thread(shadows.reload)
    scorer = ShadowScorer(shadows=shadows, metrics=metrics)
    stack.push_async_callback(scorer.close)
    run_until_closed(stack, shadows.watch(every_s=settings.watch_seconds))
    return scorer
