"""Deliveries a second to a receiver on this machine that takes everything at once.

    PYTHONPATH=tests python tests/benchmarks/webhook_rate.py [--n 2000]

The receiver is a process of its own and looks at nothing, so that what is measured is the
server's side: reading the queue (SQLite on this disk), building, signing, sending, settling.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from helpers.review_queue import make_flag
from helpers.webhook_rig import Counted, office_of, outbox_of, receiver_of, until
from imagesieve_server.core.review import ClaimRequest, DecideRequest, Lease, Outcome
from imagesieve_server.review_queue import claiming, deciding
from imagesieve_server.review_queue.rows import Transaction
from imagesieve_server.review_queue.sqlite import migrate_sqlite, open_sqlite
from imagesieve_server.webhooks.post_office import RealTime


def take_all(told: Connection) -> None:
    """The receiver's process."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(size)
                writer.write(b"HTTP/1.1 204 X\r\ncontent-length: 0\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def decide_all(tx: Transaction, events: int) -> None:
    """In one transaction: what people take hours for is not measured here."""
    asked = [
        ClaimRequest(tenant="t", reviewer="ann", claim_id=f"c{n}", lease_s=7200.0)
        for n in range(events)
    ]
    for lease in claiming.claim(tx, asked):
        assert isinstance(lease, Lease)
        said = DecideRequest(
            tenant="t",
            item_id=lease.item.item_id,
            token=lease.token,
            reviewer="ann",
            outcome=Outcome.APPROVE,
        )
        deciding.decide(tx, said)


async def deliver(folder: Path, port: int, events: int, concurrency: int) -> tuple[float, float]:
    path = folder / f"queue-{concurrency}.db"
    migrate_sqlite(path=path)
    store = open_sqlite(path=path, clock=time.time)
    store.record([make_flag(f"r{n}") for n in range(events)])
    store.transact(lambda tx: decide_all(tx, events))
    counted = Counted()
    hook = receiver_of(f"http://127.0.0.1:{port}/", concurrency=concurrency, timeout_s=10.0)
    async with outbox_of(store, counted) as outbox:
        begun, worked = time.perf_counter(), time.process_time()
        async with office_of(outbox, counted, RealTime(), hook):
            await until(lambda: len(counted.attempts) >= events)
            seconds = time.perf_counter() - begun
            work = time.process_time() - worked
    store.close()
    return events / seconds, work * 1000 / events


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2000)
    events = max(400, parser.parse_args().n)
    ours, theirs = multiprocessing.Pipe()
    receiver = multiprocessing.get_context("spawn").Process(target=take_all, args=(theirs,))
    receiver.start()
    port = ours.recv()
    try:
        with tempfile.TemporaryDirectory(prefix="imagesieve-hooks-") as folder:
            for concurrency in (1, 8):
                rate, work = asyncio.run(deliver(Path(folder), port, events, concurrency))
                print(
                    f"{events} events, {concurrency} at once: {rate:.0f} deliveries/s, "
                    f"{work:.1f} ms of processor each"
                )
    finally:
        receiver.kill()


if __name__ == "__main__":
    main()
