"""A real gRPC server on 127.0.0.1 with the real pipeline and queue over fake parts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from imagesieve.v1 import (
    moderation_pb2,
    moderation_pb2_grpc,
    policy_pb2_grpc,
    quality_pb2_grpc,
    review_pb2_grpc,
)
from imagesieve_server.audit_sampling import AuditSampler
from imagesieve_server.content_cache import ContentCache
from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.ports import EmbeddingStore, Encoder
from imagesieve_server.flood_watch import FloodWatch, SpikeLimits
from imagesieve_server.grpc_api.admission import Admission
from imagesieve_server.grpc_api.gate import Gate
from imagesieve_server.grpc_api.health import HealthMonitor
from imagesieve_server.grpc_api.identity import Authenticator, LoopbackAuthenticator
from imagesieve_server.grpc_api.moderation_service import ModerationService
from imagesieve_server.grpc_api.pace import Pace
from imagesieve_server.grpc_api.policy_service import PolicyService
from imagesieve_server.grpc_api.quality_service import QualityService
from imagesieve_server.grpc_api.review_service import ReviewService
from imagesieve_server.grpc_api.server import GrpcServer, ServerOptions, Services
from imagesieve_server.pipeline import Pipeline
from imagesieve_server.recent_answers import RecentAnswers
from imagesieve_server.review_queue.evidence import FolderEvidence, MemoryEvidence
from imagesieve_server.review_queue.group_desk import QueueGroups
from imagesieve_server.review_queue.memory import memory_store
from imagesieve_server.review_queue.quality import QueueQuality
from imagesieve_server.review_queue.sqlite import migrate_sqlite, open_sqlite
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.review_queue.writer import QueueWriter
from imagesieve_server.testing import (
    RED,
    FakeDecoder,
    FakeEncoder,
    RecordingMetrics,
    StaticPolicies,
    colour_policy,
    ppm,
)
from imagesieve_server.undecodable_quota import UndecodableQuota

MIB = 2**20
CHANNEL_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", 100 * MIB),
    ("grpc.max_receive_message_length", 100 * MIB),
]


class StoreSwitch:
    """The queue, or one that is down or slow, as a test asks."""

    def __init__(self, queue: QueueWriter) -> None:
        self._queue = queue
        self.down = False
        self.submitting = asyncio.Event()
        self.may_submit = asyncio.Event()
        self.may_submit.set()

    def __getattr__(self, name: str) -> Any:
        if self.down:
            return self._refuse
        return getattr(self._queue, name)

    async def _refuse(self, *_: Any, **__: Any) -> Any:
        raise StoreUnavailable("the review queue does not answer")

    def is_new(self, **request: str) -> bool:
        return not self.down and self._queue.is_new(**request)

    async def submit(self, *args: Any) -> Any:
        if self.down:
            await self._refuse()
        self.submitting.set()
        await self.may_submit.wait()
        return await self._queue.submit(*args)


class Reloader:
    """Puts the next policies in force, or says why not."""

    def __init__(self, policies: StaticPolicies) -> None:
        self._source = policies
        self.next: tuple[Policy, ...] | None = None
        self.problems: tuple[str, ...] = ()

    @property
    def policies(self) -> Sequence[Policy]:
        return self._source.all()

    def reload(self) -> Reloader:
        if self.next is not None:
            self._source.policies = self.next
        return self


@dataclass
class Rig:
    """Everything of one running server, and stubs to call it with."""

    port: int
    server: GrpcServer
    decoder: FakeDecoder
    encoder: Any  # a FakeEncoder, or what the test brought
    policies: StaticPolicies
    queue: StoreSwitch
    reloader: Reloader
    metrics: RecordingMetrics
    health: HealthMonitor
    channel: grpc.aio.Channel
    audit: AuditSampler  # flushed by hand
    store: RuledStore  # of the queue
    moderation: Any = field(init=False)
    review: Any = field(init=False)
    policy: Any = field(init=False)
    quality: Any = field(init=False)
    metadata: tuple[tuple[str, str], ...] = ()  # of what a test's helper calls

    def __post_init__(self) -> None:
        self.moderation = moderation_pb2_grpc.ModerationServiceStub(self.channel)
        self.review = review_pb2_grpc.ReviewServiceStub(self.channel)
        self.policy = policy_pb2_grpc.PolicyServiceStub(self.channel)
        self.quality = quality_pb2_grpc.QualityServiceStub(self.channel)


@asynccontextmanager
async def running(
    *,
    policies: Sequence[Policy] = (),
    folder: Path | None = None,
    authenticator: Authenticator | None = None,
    options: ServerOptions | None = None,
    admission: dict[str, Any] | None = None,
    gate: dict[str, Any] | None = None,
    images_per_call: int = 32,
    undecodable_per_hour: int = 100,
    encoder: Encoder | None = None,
    metrics: RecordingMetrics | None = None,
    embeddings: EmbeddingStore | None = None,
    floods: SpikeLimits | None = None,
) -> AsyncIterator[Rig]:
    """A server that is stopped, with its queue, when the block ends.

    The queue is in memory, or with ``folder`` in SQLite there.
    """
    decoder, metrics = FakeDecoder(), metrics or RecordingMetrics()
    encoder = encoder or FakeEncoder()
    source = StaticPolicies(*(policies or (colour_policy(),)))
    store = memory_store(clock=time.time) if folder is None else _sqlite(folder)
    writer = QueueWriter(
        store=store,
        evidence=MemoryEvidence() if folder is None else FolderEvidence(root=folder / "evidence"),
        metrics=metrics,
        idle_s=0.3,
    )
    queue = StoreSwitch(writer)
    audit = AuditSampler(key=b"k" * 32, queue=queue, metrics=metrics)  # type: ignore[arg-type]
    reloader = Reloader(source)
    draining = asyncio.Event()
    content = ContentCache(max_bytes=1 << 20, max_age_s=60, metrics=metrics)
    pipeline = Pipeline(
        decoder=decoder,
        encoder=encoder,
        policies=source,
        queue=queue,  # type: ignore[arg-type]  # passes everything on
        metrics=metrics,
        recent=RecentAnswers(),
        content=content,
        undecodable=UndecodableQuota(per_hour=undecodable_per_hour),
        audit=audit,
        onlookers=[embeddings] if embeddings else [],
        floods=FloodWatch(limits=floods, metrics=metrics) if floods else None,
    )
    health = HealthMonitor(
        encoder=encoder,
        policies=source,
        queue=queue,  # type: ignore[arg-type]
        metrics=metrics,
        encoder_interval_s=0.02,
        store_interval_s=0.05,
    )
    server = GrpcServer(
        options=options or ServerOptions(address="127.0.0.1:0", drain_wait_s=0.0, grace_s=5.0),
        services=Services(
            moderation=ModerationService(
                pipeline=pipeline,
                admission=Admission(
                    metrics=metrics, **{"pace": Pace(guess=1000.0), **(admission or {})}
                ),
                metrics=metrics,
                draining=draining,
                images_per_call=images_per_call,
            ),
            review=ReviewService(
                queue=queue,  # type: ignore[arg-type]
                groups=QueueGroups(calls=writer.calls),
                embeddings=embeddings,
                content=content,
                draining=draining,
                watches_per_tenant=5,
            ),
            policy=PolicyService(policies=source, reloader=reloader),
            quality=QualityService(quality=QueueQuality(calls=writer.calls)),
        ),
        gate=Gate(
            authenticator=authenticator or LoopbackAuthenticator(),
            metrics=metrics,
            **(gate or {}),
        ),
        health=health,
        metrics=metrics,
        draining=draining,
    )
    try:
        port = await server.start()
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=CHANNEL_OPTIONS
        ) as channel:
            yield Rig(
                port=port,
                server=server,
                decoder=decoder,
                encoder=encoder,
                policies=source,
                queue=queue,
                reloader=reloader,
                metrics=metrics,
                health=health,
                channel=channel,
                audit=audit,
                store=store,
            )
    finally:
        await server.stop()
        await writer.close()


def _sqlite(folder: Path) -> RuledStore:
    path = folder / "queue.sqlite3"
    migrate_sqlite(path=path)
    return open_sqlite(path=path, clock=time.time)


def ask(
    request_id: str = "r-1", image: bytes = ppm(RED), **fields: Any
) -> moderation_pb2.ModerateRequest:
    """A request about one picture."""
    return moderation_pb2.ModerateRequest(request_id=request_id, image=image, **fields)


@dataclass(frozen=True)
class Refused:
    """A failed call as its caller sees it."""

    code: grpc.StatusCode
    message: str
    infos: tuple[error_details_pb2.ErrorInfo, ...]
    details: tuple[Message, ...]  # without the ErrorInfo
    pushback: str | None
    everything: str  # all the caller can read

    @property
    def reason(self) -> str:
        (info,) = self.infos
        return info.reason

    @property
    def metadata(self) -> dict[str, str]:
        (info,) = self.infos
        return dict(info.metadata)


async def refused(call: Any) -> Refused:
    """Await a call that must fail."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return seen(error)
    raise AssertionError(f"answered {answer!r}")


def seen(error: grpc.aio.AioRpcError) -> Refused:
    """What the error's trailers say."""
    trailers = dict(error.trailing_metadata() or ())
    details: list[Message] = []
    if raw := trailers.get("grpc-status-details-bin"):
        status = status_pb2.Status.FromString(raw)
        assert status.code == error.code().value[0]
        assert status.message == error.details()
        details = [_unpacked(detail) for detail in status.details]
    infos = tuple(d for d in details if isinstance(d, error_details_pb2.ErrorInfo))
    return Refused(
        code=error.code(),
        message=error.details() or "",
        infos=infos,
        details=tuple(d for d in details if d not in infos),
        pushback=trailers.get("grpc-retry-pushback-ms"),
        everything=f"{error.details()} {trailers}",
    )


def _unpacked(detail: Any) -> Message:
    name = detail.type_url.rpartition(".")[2]
    message = getattr(error_details_pb2, name)()
    assert detail.Unpack(message)
    found: Message = message
    return found


async def until(condition: Callable[[], bool], *, seconds: float = 5.0) -> None:
    """Wait for a condition; fails after the time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
