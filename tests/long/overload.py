"""Far more callers than the server can answer: each gets an answer or a reason, none hangs.

    python tests/long/overload.py [--n 2000] [--seed 1] [--seconds 20] [--out FILE]
                                  [--bundle FOLDER --policies FOLDER]

A real server on loopback; callers and server share the machine. The demo model is so small that
the calls themselves are the limit; with a larger one (``make bench`` exports one) it is the
encoder. In turn:

1. capacity: 32 callers, each with its next picture as soon as it has an answer;
2. burst: N callers at once, 10 s each. Every status but OK must be typed; one that sheds load
   must carry RetryInfo;
3. pressure: N callers for --seconds, who come back when they were told to; what they get
   answered ÷ capacity is the goodput under overload;
4. vanishing: N callers who cancel at a random moment, in a call or in the middle of a stream;
   their work must be gone, and the next caller must be answered.

Exit code 1 where a call hangs, a status is bare, or work is left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from imagesieve.v1 import moderation_pb2 as pb
from imagesieve.v1 import moderation_pb2_grpc
from imagesieve_server.commands.local_server import LocalServer, start_server
from imagesieve_server.demo_data import DEMO_IMAGES

DEADLINE_S = 10.0
HANG_S = 20.0  # beyond its deadline
CALLS_PER_CHANNEL = 50  # below the 64 streams that a connection may have
SHED = {"OVERLOADED", "DEADLINE_UNMEETABLE"}
PICTURE = (DEMO_IMAGES / "photo_cat.jpg").read_bytes()


class Callers:
    """Stubs on enough connections, and what every call ended with."""

    def __init__(self, stubs: list[Any]) -> None:
        self._turns = itertools.cycle(stubs)
        self._numbers = iter(range(10**9))
        self.ends: Counter[str] = Counter()
        self.bare: Counter[str] = Counter()

    def request(self) -> pb.ModerateRequest:
        """A picture nobody sent before: bytes behind a JPEG's end change its hash only."""
        name = f"{os.getpid()}-{next(self._numbers)}"
        return pb.ModerateRequest(request_id=name, image=PICTURE + name.encode())

    def stub(self) -> Any:
        return next(self._turns)

    async def one(self, *, deadline_s: float = DEADLINE_S) -> float:
        """Send one picture; the seconds to wait before the next (0 after an answer)."""
        try:
            async with asyncio.timeout(deadline_s + HANG_S):
                await self.stub().Moderate(self.request(), timeout=deadline_s)
        except TimeoutError:
            self.ends["HUNG"] += 1
            return 0.0
        except grpc.aio.AioRpcError as error:
            return self._refused(error)
        self.ends["OK"] += 1
        return 0.0

    def _refused(self, error: grpc.aio.AioRpcError) -> float:
        reason, retry_s = read(error)
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            reason = "DEADLINE_PASSED"  # the caller's own clock may say so first, without words
        elif not reason or (reason in SHED and retry_s is None):
            self.bare[f"{error.code().name}: {error.details()}"] += 1
        self.ends[reason or "BARE"] += 1
        return 1.0 if retry_s is None else retry_s


def read(error: grpc.aio.AioRpcError) -> tuple[str, float | None]:
    """ErrorInfo.reason and RetryInfo's seconds of a status."""
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))
    reason, retry_s = "", None
    for packed in status.details:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if packed.Unpack(info):
            reason = info.reason
        elif packed.Unpack(retry):
            retry_s = retry.retry_delay.ToMilliseconds() / 1000
    return reason, retry_s


@asynccontextmanager
async def callers(target: str, count: int) -> AsyncIterator[Callers]:
    """Enough connections for ``count`` calls at once; nothing is retried behind our back."""
    options = [
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    async with AsyncExitStack() as stack:
        stubs = []
        for _ in range(-(-count // CALLS_PER_CHANNEL)):
            channel = grpc.aio.insecure_channel(target, options=options)
            await stack.enter_async_context(channel)
            await channel.channel_ready()
            stubs.append(moderation_pb2_grpc.ModerationServiceStub(channel))
        yield Callers(stubs)


async def pressure(target: str, *, count: int, seconds: float) -> tuple[float, Callers]:
    """Answers per second to ``count`` callers who come back when they are told to."""
    async with callers(target, count) as found:
        end = time.monotonic() + seconds

        async def caller() -> None:
            while time.monotonic() < end:
                wait_s = await found.one()
                await asyncio.sleep(min(wait_s, max(0.0, end - time.monotonic())))

        started = time.monotonic()
        working = [asyncio.create_task(caller()) for _ in range(count)]
        await asyncio.sleep(seconds)
        rate = found.ends["OK"] / (time.monotonic() - started)
        await asyncio.gather(*working)
    return rate, found


async def burst(target: str, *, count: int) -> tuple[float, Callers]:
    """``count`` callers at once; the longest any of them waited, seconds."""
    async with callers(target, count) as found:
        started = time.monotonic()
        await asyncio.gather(*(found.one() for _ in range(count)))
        return time.monotonic() - started, found


async def vanishing(target: str, *, count: int, chance: random.Random) -> float:
    """Callers who leave, half of them in a call, half in the middle of a stream; the seconds
    that the next caller waits."""
    async with callers(target, min(count, 500)) as found:

        async def leave(number: int) -> None:
            await asyncio.sleep(chance.uniform(0, count / 500))
            if number % 2:
                call = found.stub().Moderate(found.request(), timeout=DEADLINE_S)
            else:
                call = found.stub().ModerateStream(_items(found), timeout=DEADLINE_S)
            await asyncio.sleep(chance.uniform(0, 0.3))
            call.cancel()
            with suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                await (call if number % 2 else call.read())

        await asyncio.gather(*(leave(number) for number in range(count)))
        started = time.monotonic()
        await found.one(deadline_s=60.0)
        if found.ends["OK"] != 1:
            raise SystemExit(f"nobody is answered after the vanished callers: {found.ends}")
        return time.monotonic() - started


def _items(found: Callers) -> Iterator[pb.ModerateStreamRequest]:
    while True:
        yield pb.ModerateStreamRequest(request=found.request())


def left_behind(server: LocalServer) -> dict[str, float]:
    """What is still in the server once nobody waits any more."""
    names = ("imagesieve_images_in_flight", "imagesieve_views_in_flight",
             "imagesieve_images_in_flight_bytes", "imagesieve_encoder_queue_views")  # fmt: skip
    for _ in range(100):
        metrics = server.metrics()
        if not any(metrics[name] for name in names):
            return {}
        time.sleep(0.1)
    return {name: metrics[name] for name in names}


def figures(server: LocalServer, *, n: int, seed: int, seconds: float) -> dict[str, Any]:
    """Run the four parts."""
    asyncio.run(pressure(server.target, count=32, seconds=2.0))  # warm
    capacity, _ = asyncio.run(pressure(server.target, count=32, seconds=seconds / 2))
    longest, crowd = asyncio.run(burst(server.target, count=n))
    goodput, pressed = asyncio.run(pressure(server.target, count=n, seconds=seconds))
    before = server.metrics()
    next_s = asyncio.run(vanishing(server.target, count=n, chance=random.Random(seed)))
    left = left_behind(server)
    after = server.metrics()
    moved = {name: value - before.get(name, 0.0) for name, value in after.items()}
    return {
        "n": n,
        "seed": seed,
        "capacity_per_s": round(capacity, 1),
        "burst": dict(crowd.ends),
        "burst_longest_s": round(longest, 2),
        "pressure": dict(pressed.ends),
        "goodput_per_s": round(goodput, 1),
        "goodput_ratio": round(goodput / capacity, 3),
        "bare": dict(crowd.bare + pressed.bare),
        "vanished_images": moved["imagesieve_images_abandoned_total"],
        "vanished_views_dropped": sum(
            value for name, value in moved.items() if "dropped_views_total" in name
        ),
        "views_encoded_meanwhile": moved["imagesieve_encoder_batch_rows_sum"],
        "next_caller_waited_s": round(next_s, 2),
        "left_behind": left,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--bundle", type=Path, help="another model than the demo's")
    parser.add_argument("--policies", type=Path, help="policies compiled for it")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="imagesieve-overload-") as folder,
        start_server(folder=Path(folder), bundle=args.bundle, policies=args.policies) as server,
    ):
        found = figures(server, n=args.n, seed=args.seed, seconds=args.seconds)
    text = json.dumps(found, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    hung = found["burst"].get("HUNG", 0) + found["pressure"].get("HUNG", 0)
    return 1 if hung or found["bare"] or found["left_behind"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
