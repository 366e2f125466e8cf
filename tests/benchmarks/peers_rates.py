"""Ours ÷ the best peer: the same box and JPEGs, in one run, 32 callers, one view each.

    python tests/benchmarks/peers_rates.py [--rounds 5] [--seconds 6] [--litserve PYTHON]
        [--arch ViT-B-32] [--json FILE]

Peers: grpc.aio with open_clip in torch; LitServe with ONNX Runtime on our fp32 and int8 graphs,
where --litserve names a Python that has it. All servers are started once; whoever is not measured
is stopped (SIGSTOP), so that it takes no processor, and the turn changes each round. The weights
are random, the torch peer's those of another seed: they cost the same.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from bundles import ARCH, exported
from peers.plain_torch import METHOD

from imagesieve_server.commands.bench import load, report
from imagesieve_server.commands.bench.effort import Bench, Effort
from imagesieve_server.commands.bench.figures import Aim, Figure, Ratio, Series
from imagesieve_server.commands.bench.parts import server_of
from imagesieve_server.commands.bench.pictures import LARGE, SMALL, Pictures
from imagesieve_server.commands.bench.process_cost import family
from imagesieve_server.config import Settings
from imagesieve_server.encoders.bundle import load_bundle

CALLERS = 32
HERE = Path(__file__).parent / "peers"
START_S = 180.0


@dataclass(frozen=True)
class Contender:
    name: str
    pid: int
    rate: Callable[[Pictures, float], float]  # pictures, seconds → images/s

    def signal(self, number: int) -> None:
        for pid in family(self.pid):
            os.kill(pid, number)


def grpc_rate(target: str, *, peer: bool) -> Callable[[Pictures, float], float]:
    """Ours through its service, the torch peer through its one method."""

    async def of_peer(pictures: Pictures, seconds: float) -> float:
        async with load.channels(target, callers=CALLERS) as found:
            calls = [channel.unary_unary(METHOD) for channel in found]

            async def one(number: int) -> int:
                await calls[number % len(calls)](pictures.new(), timeout=load.PATIENCE_S)
                return 1

            await load.repeat(one, callers=CALLERS, seconds=1.0)
            return (await load.repeat(one, callers=CALLERS, seconds=seconds)).images_per_s

    async def of_ours(pictures: Pictures, seconds: float) -> float:
        answered = await load.closed_loop(
            target, pictures.new, callers=CALLERS, seconds=seconds, warm_s=1.0
        )
        assert answered.views == answered.images, "one view each, as the peers"
        return answered.images_per_s

    run = of_peer if peer else of_ours
    return lambda pictures, seconds: asyncio.run(run(pictures, seconds))


def http_rate(port: int) -> Callable[[Pictures, float], float]:
    """LitServe, over connections that stay open."""

    async def run(pictures: Pictures, seconds: float) -> float:
        loop = asyncio.get_running_loop()
        connections = [
            http.client.HTTPConnection("127.0.0.1", port, timeout=120) for _ in range(CALLERS)
        ]
        with ThreadPoolExecutor(max_workers=CALLERS) as threads:

            async def one(number: int) -> int:
                await loop.run_in_executor(threads, _post, connections[number], pictures.new())
                return 1

            await load.repeat(one, callers=CALLERS, seconds=1.0)
            found = await load.repeat(one, callers=CALLERS, seconds=seconds)
        return found.images_per_s

    return lambda pictures, seconds: asyncio.run(run(pictures, seconds))


def _post(connection: http.client.HTTPConnection, picture: bytes) -> None:
    body = json.dumps({"image": base64.b64encode(picture).decode()})
    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"a peer answered {answer.status}: {answer.read()[:200]!r}")
    answer.read()


@contextmanager
def torch_peer(arch: str) -> Iterator[Contender]:
    with subprocess.Popen(
        [sys.executable, str(HERE / "plain_torch.py"), arch], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            yield Contender(
                "grpc.aio + open_clip in torch, fp32",
                process.pid,
                grpc_rate(f"127.0.0.1:{port}", peer=True),
            )
        finally:
            process.kill()


@contextmanager
def litserve_peer(python: str, name: str, bundle: Path) -> Iterator[Contender]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    side = str(load_bundle(bundle).manifest.preprocessing.size)
    model = str((bundle / "image_encoder.onnx").absolute())
    process = subprocess.Popen(
        [python, str(HERE / "litserve_onnx.py"), model, side, str(port)],
        start_new_session=True,
    )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process)
        yield Contender(f"LitServe + ONNX Runtime, {name}", process.pid, http_rate(port))
    finally:
        with_children = family(process.pid)
        for pid in with_children:
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGKILL)
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with opener.open(url, timeout=5) as page:
                if page.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit("LitServe did not start")


def race(contenders: list[Contender], *, rounds: int, seconds: float) -> dict[str, list[Series]]:
    """Images/s of every contender by size, one value a round."""
    found: dict[str, dict[str, list[float]]] = {}
    for contender in contenders:
        contender.signal(signal.SIGSTOP)
    for size in (SMALL, LARGE):
        pictures = Pictures(size, different=3)
        rates = found.setdefault(size.name, {contender.name: [] for contender in contenders})
        for number in range(rounds):
            turn = number % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                contender.signal(signal.SIGCONT)
                rates[contender.name].append(contender.rate(pictures, seconds))
                contender.signal(signal.SIGSTOP)
                print(f"{size.name} {contender.name}: {rates[contender.name][-1]:.1f} images/s",
                      file=sys.stderr, flush=True)  # fmt: skip
    for contender in contenders:
        contender.signal(signal.SIGCONT)  # or it could not end
    return {
        size: [Series(what=name, unit="images/s", values=tuple(v)) for name, v in rates.items()]
        for size, rates in found.items()
    }


def ratios(found: dict[str, list[Series]]) -> list[Figure]:
    """Each of ours ÷ the best peer of a precision."""
    figures: list[Figure] = []
    aims = {
        (SMALL.name, "fp32", "fp32"): 1.08,
        (SMALL.name, "int8", "int8"): 1.25,
        (SMALL.name, "int8", "fp32"): 2.5,
        (LARGE.name, "int8", "int8"): 2.5,
    }
    for size, series in found.items():
        ours = [one for one in series if one.what.startswith("ours")]
        peers = [one for one in series if one not in ours]
        for one, precision in itertools.product(ours, ("fp32", "int8")):
            rivals = [peer for peer in peers if peer.what.endswith(precision)]
            if not rivals:
                continue
            best = max(rivals, key=lambda peer: peer.median)
            mine = one.what.rpartition(" ")[2]
            aim = aims.get((size, mine, precision))
            figures.append(
                Ratio(
                    measure="peers",
                    title=f"{size}: {one.what} ÷ the best peer in {precision}",
                    over=one,
                    under=best,
                    aim=Aim(at_least=aim) if aim else None,
                    beside={peer.what: peer.median for peer in rivals},
                )
            )
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--arch", default=ARCH)
    parser.add_argument("--litserve", metavar="PYTHON")
    parser.add_argument("--fp32", type=Path, help="bundle (default: exported)")
    parser.add_argument("--int8", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    bundles = {
        "fp32": args.fp32 or exported("fp32", arch=args.arch),
        "int8": args.int8 or exported("int8", arch=args.arch),
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        contenders = [stack.enter_context(torch_peer(args.arch))]
        for name, path in bundles.items():
            bench = Bench(
                effort=Effort(rounds=args.rounds, seconds=args.seconds, callers=CALLERS),
                folder=folder,
                settings=Settings(),
                bundle=load_bundle(path),
            )
            server = stack.enter_context(server_of(bench))
            rate = grpc_rate(server.target, peer=False)
            contenders.append(Contender(f"ours, {name}", server.process.pid, rate))
            if args.litserve:
                contenders.append(stack.enter_context(litserve_peer(args.litserve, name, path)))
        found = race(contenders, rounds=args.rounds, seconds=args.seconds)
    left_out = {} if args.litserve else {"LitServe": "no --litserve: not installed"}
    done = report.Report(about=report.facts(), figures=ratios(found), failed=left_out)
    for line in report.lines(done):
        print(line)
    if args.json:
        args.json.write_text(report.as_json(done))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
