"""Kill a loaded server N times; every acknowledged flag must be in the queue, once.

    python tests/long/kill_server.py [--n 200] [--seed 1] [--callers 8]

Each run starts a real server on the same queue, sends flagged pictures from many callers over
gRPC and sends SIGKILL at a random moment. After the last run every acknowledged request is
looked up over gRPC: its item exists with the very bytes that were sent, it is the only item of
those bytes, and repeating the request gives the same item. Exit code 1 on any loss.

SIGKILL keeps the page cache: this proves the order of things, not that they reached the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from imagesieve import AsyncClient, Client, ImagesieveError, ItemNotFound, Verdict
from imagesieve_server.commands.demo import read_pictures
from imagesieve_server.commands.local_server import launch, start_server
from imagesieve_server.demo_data import DEMO_IMAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """One flag the server said it keeps."""

    request_id: str
    image: bytes
    item_id: str


def flagged_picture() -> bytes:
    """A JPEG the demo policy flags; bytes behind its end change its hash, not its picture."""
    pictures = read_pictures(DEMO_IMAGES)
    name = next(p.file for p in pictures if p.kind == "flagged" and p.file.endswith(".jpg"))
    return (DEMO_IMAGES / name).read_bytes()


async def load(
    target: str, *, picture: bytes, run: int, callers: int, found: list[Acknowledged]
) -> None:
    """Send flagged pictures until cancelled, noting what was acknowledged."""
    async with AsyncClient(target) as client:

        async def caller(number: int) -> None:
            turn = 0
            while True:
                request_id = f"{run}-{number}-{turn}"
                image = picture + request_id.encode()
                turn += 1
                try:
                    result = await client.moderate(image, request_id=request_id, timeout=20)
                except ImagesieveError:
                    continue
                if result.verdict in (Verdict.REVIEW, Verdict.BLOCK):
                    found.append(
                        Acknowledged(request_id=request_id, image=image, item_id=result.item_id)
                    )
                elif result.verdict is not Verdict.UNDECIDED:
                    raise RuntimeError(f"a flagged picture was answered {result.verdict}")
                else:
                    await asyncio.sleep(0.05)

        await asyncio.gather(*(caller(number) for number in range(callers)))


def one_kill(
    *, folder: Path, picture: bytes, run: int, callers: int, chance: random.Random
) -> list[Acknowledged]:
    """Start, load, kill; what was acknowledged before the kill."""
    server = launch(folder=folder)
    found: list[Acknowledged] = []

    async def until_killed() -> None:
        work = asyncio.create_task(
            load(server.target, picture=picture, run=run, callers=callers, found=found)
        )
        await asyncio.wait({work}, timeout=chance.uniform(0.1, 1.5))
        if work.done():
            work.result()
        server.process.kill()
        server.process.wait()
        await asyncio.sleep(0.05)  # answers that were on the wire already
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work

    asyncio.run(until_killed())
    return found


def check(folder: Path, acknowledged: list[Acknowledged]) -> tuple[int, int]:
    """How many acknowledged flags are lost, and how many are kept more than once."""
    lost = 0
    with start_server(folder=folder) as server, Client(server.target) as client:
        per_hash = Counter(item.sha256 for item in client.review.list(page_size=500))
        for flag in acknowledged:
            try:
                item = client.review.get(flag.item_id, include_image=True)
                again = client.moderate(flag.image, request_id=flag.request_id)
                kept = item.image == flag.image and again.item_id == flag.item_id
            except ItemNotFound:
                kept = False
            lost += not kept
        doubled = sum(
            per_hash[hashlib.sha256(flag.image).hexdigest()] != 1 for flag in acknowledged
        )
    return lost, doubled


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--callers", type=int, default=8)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    picture = flagged_picture()
    started = time.monotonic()
    acknowledged: list[Acknowledged] = []
    with tempfile.TemporaryDirectory(prefix="imagesieve-kills-") as name:
        for run in range(args.n):
            acknowledged += one_kill(
                folder=Path(name), picture=picture, run=run, callers=args.callers, chance=chance
            )
        lost, doubled = check(Path(name), acknowledged)
    print(
        f"kills of the whole server: N={args.n} seed={args.seed} "
        f"{time.monotonic() - started:.0f} s, acknowledged flags {len(acknowledged)}, "
        f"lost {lost}, kept more than once {doubled}"
    )
    return 1 if lost or doubled or not acknowledged else 0


if __name__ == "__main__":
    raise SystemExit(main())
