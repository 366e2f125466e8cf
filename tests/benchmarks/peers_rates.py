"""Ours ÷ the best peer: the same box, graphs and JPEGs, in one run, 32 callers, one view each.

    python tests/benchmarks/peers_rates.py [--rounds 5] [--seconds 5] [--litserve PYTHON]
        [--mlserver PYTHON] [--arch ViT-B-32] [--case NAME ...] [--workers N --threads N]
        [--json FILE]

Peers: grpc.aio with open_clip in torch; LitServe and MLServer with ONNX Runtime on our fp32 and
int8 graphs, where a Python that has them is named. All servers are started once; whoever is not
measured is stopped (SIGSTOP), so that it takes no processor, and the turn changes each round.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from bundles import ARCH, exported
from peer_calls import CALLERS
from peer_servers import Contender, Cores, litserve_peer, mlserver_peer, our_server, torch_peer

from imagesieve_server.commands.bench import figures, load, report
from imagesieve_server.commands.bench.effort import Bench, Effort
from imagesieve_server.commands.bench.figures import Aim, Ratio, Series
from imagesieve_server.commands.bench.pictures import LARGE, SMALL, Pictures, Size
from imagesieve_server.config import Settings
from imagesieve_server.encoders.bundle import load_bundle

WARM_CALLERS, WARM_S = 8, 0.5  # a batch, before the time counts


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is sent, who takes part, and what ours ÷ the best peer of a precision should reach."""

    size: Size
    precisions: tuple[str, ...]  # who takes part
    aims: Mapping[tuple[str, str], float]  # (ours, the peers')


CASES = {
    "0.3 MP": Case(
        size=SMALL,
        precisions=("fp32", "int8"),
        aims={("fp32", "fp32"): 1.08, ("int8", "int8"): 1.25, ("int8", "fp32"): 2.5},
    ),
    "12 MP": Case(size=LARGE, precisions=("int8",), aims={("int8", "int8"): 2.5}),
}

Rates = dict[Contender, list[load.Answered]]


async def answered(contender: Contender, pictures: Pictures, seconds: float) -> load.Answered:
    """What 32 callers got of one contender."""
    async with contender.calls(pictures) as one:
        await load.repeat(one, callers=WARM_CALLERS, seconds=WARM_S)
        return await load.repeat(one, callers=CALLERS, seconds=seconds)


def race(case: Case, contenders: Sequence[Contender], *, rounds: int, seconds: float) -> Rates:
    """Every contender in each round; all stand still but the one whose turn it is."""
    pictures = Pictures(case.size, different=3)
    found: Rates = {contender: [] for contender in contenders}
    for number in range(rounds):
        turn = number % len(contenders)
        for contender in itertools.chain(contenders[turn:], contenders[:turn]):
            contender.signal(signal.SIGCONT)
            one = asyncio.run(answered(contender, pictures, seconds))
            contender.signal(signal.SIGSTOP)
            found[contender].append(one)
            print(f"{case.size.name} {contender.name}: {one.images_per_s:.1f} images/s, callers "
                  f"{one.callers_cpu_s / one.images * 1000:.2f} ms each",
                  file=sys.stderr, flush=True)  # fmt: skip
    return found


def ratios(case: Case, found: Rates) -> Iterator[Ratio]:
    """Each of ours ÷ the best peer of a precision: as answered, and without the callers' time."""
    for ours, precision in itertools.product(found, case.precisions):
        rivals = [peer for peer in found if not peer.ours and peer.precision == precision]
        if not ours.ours or not rivals:
            continue
        aim = case.aims.get((ours.precision, precision))
        for rated, said in ((_as_answered, ""), (_callers_out, ", callers' time taken out")):
            of_peers = [_series(peer.name, found[peer], rated) for peer in rivals]
            yield Ratio(
                measure="peers",
                title=f"{case.size.name}: {ours.name} ÷ the best peer in {precision}{said}",
                over=_series(ours.name, found[ours], rated),
                under=max(of_peers, key=lambda series: series.median),
                aim=Aim(at_least=aim) if aim else None,
                beside={series.what: series.median for series in of_peers},
            )


def _series(
    name: str, found: Sequence[load.Answered], rated: Callable[[load.Answered], float]
) -> Series:
    return Series(what=name, unit="images/s", values=tuple(rated(one) for one in found))


def _as_answered(one: load.Answered) -> float:
    return one.images_per_s


def _callers_out(one: load.Answered) -> float:
    return figures.without_callers(
        one.images_per_s,
        callers_cpu_s=one.callers_cpu_s,
        wall_s=one.wall_s,
        cores=len(os.sched_getaffinity(0)),
    )


def servers(args: argparse.Namespace, folder: Path) -> Iterator[AbstractContextManager[Contender]]:
    """Every contender, not yet started."""
    cores = Cores(workers=args.workers, threads=args.threads)
    yield torch_peer(args.arch)
    for precision, given in (("fp32", args.fp32), ("int8", args.int8)):
        bundle = given or exported(precision, arch=args.arch)
        effort = Effort(rounds=args.rounds, seconds=args.seconds, callers=CALLERS)
        yield our_server(
            Bench(effort=effort, folder=folder, settings=Settings(), bundle=load_bundle(bundle))
        )
        if args.litserve:
            yield litserve_peer(args.litserve, bundle, cores)
        if args.mlserver:
            yield mlserver_peer(args.mlserver, bundle, cores)


def main() -> int:
    args = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no server is left behind
    started = time.monotonic()
    found: list[Ratio] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        contenders: list[Contender] = []
        for server in servers(args, folder):
            contenders.append(stack.enter_context(server))
            contenders[-1].signal(signal.SIGSTOP)
            stack.callback(contenders[-1].signal, signal.SIGCONT)  # or it could not end
        for case in (CASES[name] for name in args.case or CASES):
            racing = [one for one in contenders if one.precision in case.precisions]
            rates = race(case, racing, rounds=args.rounds, seconds=args.seconds)
            found += ratios(case, rates)
    left_out = {
        name: "no Python was named that has it"
        for name, python in (("LitServe", args.litserve), ("MLServer", args.mlserver))
        if not python
    }
    about = report.facts() | {
        "peers": {"workers": args.workers, "threads": args.threads, "callers": CALLERS},
        "minutes": round((time.monotonic() - started) / 60, 1),
    }
    done = report.Report(about=about, figures=found, failed=left_out)
    for line in report.lines(done):
        print(line)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(report.as_json(done))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=5.0)
    add("--arch", default=ARCH)
    add("--case", action="append", choices=tuple(CASES), help="default: all")
    add("--litserve", metavar="PYTHON", help="a Python that has it")
    add("--mlserver", metavar="PYTHON", help="a Python that has it")
    cores = len(os.sched_getaffinity(0))
    add("--workers", type=int, default=cores, help="of each peer with ONNX Runtime")
    add("--threads", type=int, default=1, help="of each of these workers")
    add("--fp32", type=Path, help="bundle (default: exported)")
    add("--int8", type=Path)
    add("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
