"""Where a server's processor time goes when it is offered ten times what it can answer.

    python tests/benchmarks/overload_cost.py --model BUNDLE [--rounds 5] [--seconds 4] [--factor 10]

Milliseconds of processor by thread for each answer in time, while callers keep the server busy and
while they offer ``--factor`` times as much; how often the threads were woken; how large batches
were. Server and callers have cores of their own, as in ``imagesieve-server bench --only overload``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from imagesieve_server import config
from imagesieve_server.commands.bench import named_server
from imagesieve_server.commands.bench.caller import Order, Outcome
from imagesieve_server.commands.bench.callers_apart import (
    Callers,
    callers_of_their_own,
    kept_to,
    shares_of,
)
from imagesieve_server.commands.bench.effort import Bench, Effort
from imagesieve_server.commands.bench.overload import DEADLINE_S
from imagesieve_server.commands.bench.parts import server_of
from imagesieve_server.commands.bench.process_cost import family
from imagesieve_server.commands.local_server import LocalServer
from imagesieve_server.encoders.bundle import load_bundle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--factor", type=float, default=10.0)
    args = parser.parse_args()
    shares = shares_of(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            effort=Effort(rounds=args.rounds, seconds=args.seconds),
            folder=Path(folder),
            settings=config.load(None, os.environ),
            bundle=load_bundle(args.model),
        )
        with kept_to(shares.server):
            starting = server_of(bench, module=named_server.__name__)
            server = starting.__enter__()
        try:
            with kept_to(shares.callers), callers_of_their_own(len(shares.callers)) as callers:
                _rounds(server, callers, args)
        finally:
            starting.__exit__(None, None, None)


def _rounds(server: LocalServer, callers: Callers, args: argparse.Namespace) -> None:
    _phase(server, callers, Order(target=server.target, seconds=1.0, callers=32))
    for number in range(args.rounds):
        busy = Order(target=server.target, seconds=args.seconds, callers=32)
        most = _phase(server, callers, busy, title="the most")
        pressed = Order(
            target=server.target,
            seconds=args.seconds,
            since_s=DEADLINE_S,
            rate=args.factor * most.rate,
            deadline_s=DEADLINE_S,
            seed=number,
        )
        found = _phase(server, callers, pressed, title=f"{args.factor:g} times as much")
        print(f"goodput ÷ the most: {found.rate / most.rate:.3f}", flush=True)


def _phase(server: LocalServer, callers: Callers, order: Order, *, title: str = "") -> Outcome:
    cpu, woken, moved = _look(server)
    outcome = callers.do(order)
    cpu_after, woken_after, moved_after = _look(server)
    if title:
        moved_after.subtract(moved)
        cpu_after.subtract(cpu)
        woken_after.subtract(woken)
        _show(title, outcome, cpu_after, woken_after, moved_after)
    return outcome


def _show(
    title: str, outcome: Outcome, cpu: Counter[str], woken: Counter[str], moved: Counter[str]
) -> None:
    answers = max(1, _sum(moved, "grpc_server_handled_total", 'grpc_code="OK"', "Moderate"))
    refused = _sum(moved, "images_shed_total")
    rows, batches = (_sum(moved, f"encoder_batch_rows_{what}") for what in ("sum", "count"))
    print(
        f"{title}: {answers:.0f} answers, {refused / answers:.1f} refusals and "
        f"{rows / answers:.2f} rows for each, {rows / max(batches, 1):.1f} rows a batch, "
        f"{outcome.late} past their deadline"
    )
    print(f"  encoder, ms a row: {cpu['encoder'] / 1e6 / max(rows, 1):.1f}")
    for name, nanoseconds in sorted(cpu.items()):
        a_call = answers + refused
        print(
            f"  {name}: {nanoseconds / 1e6 / answers:.2f} ms an answer, "
            f"woken {woken[name] / a_call:.1f} times a call"
        )


def _sum(moved: Counter[str], *parts: str) -> float:
    return sum(value for name, value in moved.items() if all(part in name for part in parts))


def _look(server: LocalServer) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Nanoseconds of processor and times woken by kind of thread, and the server's own figures."""
    lines = server.log.read_text(errors="replace").splitlines()
    encoder = {x.removeprefix(named_server.LINE) for x in lines if x.startswith(named_server.LINE)}
    cpu: Counter[str] = Counter()
    woken: Counter[str] = Counter()
    main_pid = server.process.pid
    for pid in family(main_pid):
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                status = (task / "status").read_text()
                nanoseconds = int((task / "schedstat").read_text().split()[0])
            except OSError:  # it ended just now
                continue
            fields: dict[str, Any] = dict(
                line.split(":\t", 1) for line in status.splitlines() if ":\t" in line
            )
            kind = f"thread {fields['Name']}"
            if task.name in encoder:
                kind = "encoder"
            elif pid != main_pid:
                kind = "decode workers"
            elif task.name == str(pid):
                kind = "event loop"
            cpu[kind] += nanoseconds
            woken[kind] += int(fields["voluntary_ctxt_switches"])
    metrics: Counter[str] = Counter()
    for name, value in server.metrics().items():
        metrics[name] = value  # type: ignore[assignment]  # whole numbers, but for sums of seconds
    return cpu, woken, metrics


if __name__ == "__main__":
    main()
