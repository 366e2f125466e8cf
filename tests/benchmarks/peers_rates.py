"""Ours ÷ the best peer: the same box, graphs and JPEGs, in one run, 32 callers, one view each.

    python tests/benchmarks/peers_rates.py [--rounds 5] [--seconds 6] [--litserve PYTHON]
        [--mlserver PYTHON] [--arch ViT-B-32] [--case NAME ...] [--workers N --threads N]
        [--json FILE]

Peers: grpc.aio with open_clip in torch; LitServe and MLServer with ONNX Runtime on our fp32 and
int8 graphs, where a Python that has them is named. All servers are started once and must answer
the same (``peer_answers``); whoever is not measured is stopped (SIGSTOP), so that it takes no
processor, and the turn changes each round.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import peer_answers
from bundles import ARCH, exported
from peer_calls import CALLERS
from peer_servers import Contender, Cores, litserve_peer, mlserver_peer, our_server, torch_peer
from steady import Steady, Stretch

from imagesieve_server.commands.bench import figures, report
from imagesieve_server.commands.bench.effort import Bench, Effort
from imagesieve_server.commands.bench.figures import Aim, Ratio, Series
from imagesieve_server.commands.bench.parts import write_policies
from imagesieve_server.commands.bench.pictures import LARGE, SMALL, Pictures, Size
from imagesieve_server.config import Settings
from imagesieve_server.core.views import Coverage
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.usable_cores import usable_cores

SETTLE_S = 1.5  # what callers left undone is given up before a server is stopped in the midst of it
WARM_S = 1.0  # after as many answers as there are callers, before the time counts


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
                  f"{_processor_ms(one):.1f} ms each, callers' "
                  f"{one.callers_cpu_s / one.images * 1000:.2f}",
                  file=sys.stderr, flush=True)  # fmt: skip
    return found


def ratios(case: Case, found: Rates) -> Iterator[Ratio]:
    """Each of ours against the best peer of a precision: images a second as answered, the same
    without the callers' time, and processor time an image."""
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
        yield _cost(case, ours, rivals, found, precision)


def _cost(
    case: Case, ours: Contender, rivals: Sequence[Contender], found: Rates, precision: str
) -> Ratio:
    of_peers = [_series(peer.name, found[peer], _processor_ms, "ms") for peer in rivals]
    return Ratio(
        measure="processor time an image",
        title=f"{case.size.name}: the least of a peer in {precision} ÷ {ours.name}",
        over=min(of_peers, key=lambda series: series.median),
        under=_series(ours.name, found[ours], _processor_ms, "ms"),
        beside={series.what: series.median for series in of_peers},
    )


def _series(
    name: str,
    found: Sequence[Stretch],
    rated: Callable[[Stretch], float],
    unit: str = "images/s",
) -> Series:
    return Series(what=name, unit=unit, values=tuple(rated(one) for one in found))


def _as_answered(one: Stretch) -> float:
    return one.images_per_s


def _processor_ms(one: Stretch) -> float:
    """Of the server and all its processes, per image."""
    return 1000 * one.server_cpu_s / one.images


def _callers_out(one: Stretch) -> float:
    return figures.without_callers(
        one.images_per_s,
        callers_cpu_s=one.callers_cpu_s,
        wall_s=one.wall_s,
        cores=usable_cores(),
    )


def bundles(args: argparse.Namespace) -> dict[str, Path]:
    """By precision, those that take part in a case; exported where none is named."""
    given = {"fp32": args.fp32, "int8": args.int8}
    wanted = {name for case in args.case or CASES for name in CASES[case].precisions}
    return {name: given[name] or exported(name, arch=args.arch) for name in sorted(wanted)}


def servers(
    args: argparse.Namespace, folder: Path, found: Mapping[str, Path]
) -> Iterator[AbstractContextManager[Contender]]:
    """Every contender, not yet started."""
    cores = Cores(workers=args.workers, threads=args.threads)
    if "fp32" in found:
        yield torch_peer(args.arch)
    for bundle in found.values():
        effort = Effort(rounds=args.rounds, seconds=args.seconds, callers=CALLERS)
        yield our_server(
            Bench(effort=effort, folder=folder, settings=Settings(), bundle=load_bundle(bundle))
        )
        if args.litserve:
            yield litserve_peer(args.litserve, bundle, cores)
        if args.mlserver:
            yield mlserver_peer(args.mlserver, bundle, cores)


def started(
    args: argparse.Namespace, folder: Path, stack: ExitStack
) -> Iterator[tuple[Contender, float]]:
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
        far = peer_answers.check(contender, wanted[contender.precision])
        contender.signal(signal.SIGSTOP)
        print(f"{contender.name}: answers {far:.4f} away", file=sys.stderr, flush=True)
        yield contender, far


def main() -> int:
    args = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no server is left behind
    began = time.monotonic()
    found: list[Ratio] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        distances = dict(started(args, folder, stack))
        for case in (CASES[name] for name in args.case or CASES):
            racing = [one for one in distances if one.precision in case.precisions]
            rates = race(case, racing, rounds=args.rounds, seconds=args.seconds)
            found += sorted(ratios(case, rates), key=lambda ratio: ratio.measure)
    left_out = {
        name: "no Python was named that has it"
        for name, python in (("LitServe", args.litserve), ("MLServer", args.mlserver))
        if not python
    }
    about = report.facts() | {
        "peers": {"workers": args.workers, "threads": args.threads, "callers": CALLERS},
        "minutes": round((time.monotonic() - began) / 60, 1),
        "answers' distance ÷ the pictures'": {one.name: far for one, far in distances.items()},
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
    add("--seconds", type=float, default=6.0)
    add("--arch", default=ARCH)
    add("--case", action="append", choices=tuple(CASES), help="default: all")
    add("--litserve", metavar="PYTHON", help="a Python that has it")
    add("--mlserver", metavar="PYTHON", help="a Python that has it")
    add("--workers", type=int, default=usable_cores(), help="of each peer with ONNX Runtime")
    add("--threads", type=int, default=1, help="of each of these workers")
    add("--fp32", type=Path, help="bundle (default: exported)")
    add("--int8", type=Path)
    add("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
