"""Ours ÷ the best peer: the same box, weights and JPEGs, in one run, 32 callers, one view each.

    python tests/benchmarks/peers_rates.py [--rounds 5] [--seconds 2] [--litserve PYTHON]
        [--mlserver PYTHON] [--arch ViT-B-32] [--case NAME ...] [--family tuned|documented ...]
        [--workers N --threads N] [--json FILE]

Two families of peers (``peer_servers``): *tuned*, LitServe and MLServer with ONNX Runtime on our
own graphs; *as documented*, the same on the graphs that their users would export (``peer_graphs``)
and grpc.aio with open_clip in torch. LitServe and MLServer take part where a Python that has them
is named. All servers are started once; those in fp32 and those on our graphs must answer the same,
of the other int8 graphs only the distance from fp32 is known (``peer_answers``). Whoever is not
measured is stopped (SIGSTOP), so that it takes no processor, and the turn changes each round.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import peer_answers
import peer_ratios
from bundles import ARCH, exported
from peer_answers import Distance
from peer_calls import CALLERS
from peer_graphs import documented
from peer_ratios import CASES, Case, Family
from peer_servers import (
    Contender,
    Setup,
    as_documented,
    litserve_peer,
    mlserver_peer,
    our_server,
    torch_peer,
    tuned,
)
from steady import Steady, Stretch

from imagesieve_server.commands.bench import report
from imagesieve_server.commands.bench.effort import Bench, Effort
from imagesieve_server.commands.bench.figures import Ratio
from imagesieve_server.commands.bench.pictures import Pictures
from imagesieve_server.commands.bench.policies import write_policies
from imagesieve_server.config import Settings
from imagesieve_server.core.views import Coverage
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.usable_cores import usable_cores

SETTLE_S = 1.5  # what callers left undone is given up before a server is stopped in the midst of it
_FAMILY = {"tuned": Family.TUNED, "documented": Family.DOCUMENTED}
WARM_S = 1.0  # after as many answers as there are callers, before the time counts


Rates = dict[Contender, list[Stretch]]


async def answered(contender: Contender, pictures: Pictures, seconds: float) -> Stretch:
    """What 32 callers got of one contender."""
    async with contender.calls() as send:
        steady = Steady(warm_s=WARM_S, seconds=seconds, server=contender.processor_s)
        return await steady.of(lambda number: send(number, pictures.new()), callers=CALLERS)


def race(case: Case, contenders: Sequence[Contender], *, rounds: int, seconds: float) -> Rates:
    """Every contender in each round; all stand still but the one whose turn it is."""
    pictures = Pictures(case.size, different=3)
    found: Rates = {contender: [] for contender in contenders}
    for number in range(rounds):
        turn = number % len(contenders)
        for contender in itertools.chain(contenders[turn:], contenders[:turn]):
            contender.signal(signal.SIGCONT)
            one = asyncio.run(answered(contender, pictures, seconds))
            time.sleep(SETTLE_S)
            contender.signal(signal.SIGSTOP)
            found[contender].append(one)
            print(f"{case.size.name} {contender.name}: {one.images_per_s:.1f} images/s, processor "
                  f"{one.server_cpu_s / one.images * 1000:.1f} ms each, callers' "
                  f"{one.callers_cpu_s / one.images * 1000:.2f}",
                  file=sys.stderr, flush=True)  # fmt: skip
    return found


def bundles(args: argparse.Namespace) -> dict[str, Path]:
    """Ours by precision; exported where none is named. fp32 is what int8 is compared with."""
    given = {"fp32": args.fp32, "int8": args.int8}
    wanted = {"fp32"} | {name for case in _cases(args) for name in case.precisions}
    return {name: given[name] or exported(name, arch=args.arch) for name in sorted(wanted)}


def servers(
    args: argparse.Namespace, folder: Path, found: Mapping[str, Path]
) -> Iterator[AbstractContextManager[Contender]]:
    """Every contender of the cases, not yet started."""
    graphs = {graph for case in _cases(args) for graph in case.graphs}
    effort = Effort(rounds=args.rounds, seconds=args.seconds, callers=CALLERS)
    setups: list[Setup] = []
    for bundle in (found[name] for name in found if name in graphs):
        yield our_server(
            Bench(effort=effort, folder=folder, settings=Settings(), bundle=load_bundle(bundle))
        )
        if Family.TUNED in args.family:
            setups.append(tuned(bundle, workers=args.workers, threads=args.threads))
    if Family.DOCUMENTED in args.family:
        if "fp32" in graphs:
            yield torch_peer(args.arch)
        side = load_bundle(found["fp32"]).manifest.preprocessing.size
        setups += [
            as_documented(graph, side=side)
            for kind, graph in documented(args.arch).items()
            if kind in graphs
        ]
    for setup in setups:
        if args.litserve:
            yield litserve_peer(args.litserve, setup)
        if args.mlserver:
            yield mlserver_peer(args.mlserver, setup)


def started(
    args: argparse.Namespace, folder: Path, stack: ExitStack
) -> Iterator[tuple[Contender, Distance]]:
    """Every contender, stopped, with how far its answers are from what they should be."""
    found = bundles(args)
    policy = f"{Coverage.CENTRE.value}.policy.npz"
    wanted = {
        name: peer_answers.expected(bundle, write_policies(folder, load_bundle(bundle)) / policy)
        for name, bundle in found.items()
    }
    for server in servers(args, folder, found):
        contender = stack.enter_context(server)
        stack.callback(contender.signal, signal.SIGCONT)  # or it could not end
        far = peer_answers.check(contender, wanted.get(contender.graph), wanted["fp32"])
        contender.signal(signal.SIGSTOP)
        print(f"{contender.name}: answers {far}", file=sys.stderr, flush=True)
        yield contender, far


def main() -> int:
    args = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no server is left behind
    began = time.monotonic()
    found: list[Ratio] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        distances = dict(started(args, folder, stack))
        unfit = [one for one, far in distances.items() if not far.fit]
        for case in _cases(args):
            racing = [one for one in distances if one.graph in case.graphs]
            rates = race(case, racing, rounds=args.rounds, seconds=args.seconds)
            found += peer_ratios.ratios(case, rates, unfit)
    order = [*peer_ratios.FAMILIES.values()]
    found.sort(key=lambda ratio: order.index(ratio.measure))
    done = report.Report(
        about=_about(args, distances, began), figures=found, failed=dict(_left_out(args))
    )
    for line in report.lines(done):
        print(line)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(report.as_json(done))
    return 0


def _cases(args: argparse.Namespace) -> list[Case]:
    return [CASES[name] for name in args.case or CASES]


def _about(
    args: argparse.Namespace, distances: Mapping[Contender, Distance], began: float
) -> dict[str, Any]:
    return report.facts() | {
        "tuned peers": {"workers": args.workers, "threads": args.threads},
        "callers": CALLERS,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "answers": {one.name: str(far) for one, far in distances.items()},
        "int8 graphs, farthest photograph from fp32 ÷ the photographs' distance": errors(args),
    }


def errors(args: argparse.Namespace) -> dict[str, str]:
    """By whose graph; ours as its export measured it. A graph that is not there is left out."""
    graphs = documented(args.arch) if Family.DOCUMENTED in args.family else {}
    found = {f"as documented, {one.kind}": one.error for one in graphs.values()}
    parity = load_bundle(args.int8 or exported("int8", arch=args.arch)).manifest.parity
    return {
        name: f"{error:.3f}" for name, error in ({"ours": parity.relative_error} | found).items()
    }


def _left_out(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    for name, python in (("LitServe", args.litserve), ("MLServer", args.mlserver)):
        if not python:
            yield name, "no Python was named that has it"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=2.0)
    add("--arch", default=ARCH)
    add("--case", action="append", choices=tuple(CASES), help="default: all")
    add("--family", action="append", choices=tuple(_FAMILY), help="of peers; default: both")
    add("--litserve", metavar="PYTHON", help="a Python that has it")
    add("--mlserver", metavar="PYTHON", help="a Python that has it")
    add("--workers", type=int, default=usable_cores(), help="of each tuned peer")
    add("--threads", type=int, default=1, help="of each of these workers")
    add("--fp32", type=Path, help="bundle (default: exported)")
    add("--int8", type=Path)
    add("--json", type=Path)
    args = parser.parse_args()
    args.family = [_FAMILY[name] for name in args.family or _FAMILY]
    return args


if __name__ == "__main__":
    raise SystemExit(main())
