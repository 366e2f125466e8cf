"""``imagesieve-server bench``: what this machine carries with this model, as ratios.

Each figure is the ratio of two rates measured one after the other in the same round, several
rounds long, so that it holds on a machine that is busy with other things.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesieve_server.core.errors import ImagesieveError

if TYPE_CHECKING:
    from imagesieve_server.commands.bench.effort import Bench
    from imagesieve_server.commands.bench.figures import Figure

    Measure = Callable[[Bench], Sequence[Figure]]

NAMES = (
    "end-to-end", "encoder", "decode", "call-cost", "tails", "overload", "first-calls",
    "duplicates", "growth", "threads",
)  # fmt: skip
"""Every measure, in the order in which they run."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "bench",
        help="measure what this machine carries with a model",
        description="Start servers of its own on loopback, send them synthetic JPEGs and print "
        "ratios: each is of two figures measured in turn in the same rounds, with median and "
        "spread. A queue in use is not touched. Give it the machine alone, and the model and "
        "settings that will serve.",
    )
    add = parser.add_argument
    add("--model", type=Path, metavar="DIR", help="bundle (default: that of the settings, or demo)")
    add("--baseline", type=Path, metavar="DIR", help="the same model in fp32, to compare int8 with")
    add("--config", type=Path, metavar="FILE", help="settings of which model and images count")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="3 rounds of 1 s parts (default)")
    size.add_argument("--full", action="store_true", help="5 rounds of 4 s parts")
    add("--rounds", type=_count, metavar="N", help="rounds of each measure")
    add("--seconds", type=_seconds, metavar="S", help="length of each part of a round")
    add("--callers", type=_count, metavar="N", help="callers at once (default: 32)")
    add("--requests", type=_count, metavar="N", help="requests of growth (default: 1000)")
    add(
        "--only", action="append", choices=NAMES, default=[], metavar="MEASURE",
        help=f"one of {', '.join(NAMES)}; may be given several times",
    )  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="also write the report as JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from imagesieve_server.commands.bench import report, report_file

    if args.json:
        report_file.check(args.json)  # before the minutes whose figures would have no place
    with _sigterm_as_ctrl_c(), tempfile.TemporaryDirectory(prefix="imagesieve-bench-") as folder:
        bench = _bench(args, Path(folder))
        found = run(bench, only=args.only or NAMES)
    for line in report.lines(found):
        print(line)
    if args.json:
        report_file.write(args.json, report.as_json(found))
    return 1 if found.failed else 0


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Servers and callers are ended then, and the measures that were done are told."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run(bench: Bench, *, only: Sequence[str], measures: Mapping[str, Measure] | None = None) -> Any:
    """Run measures one after the other. One that fails, whatever the reason, does not take the
    others with it; Ctrl-C during one ends with those before it, and with nothing of that one."""
    from imagesieve_server.commands.bench import report

    figures: list[Figure] = []
    failed: dict[str, str] = {}
    measures = measures or _measures()
    for name in (name for name in NAMES if name in only):
        bench.say(f"{name} ...")
        began = time.monotonic()
        try:
            figures += measures[name](bench)
        except ImagesieveError as error:
            failed[name] = error.for_operators
        except KeyboardInterrupt:
            failed[name] = "interrupted, and all after it"
            break
        except Exception as error:  # noqa: BLE001  # what was measured before took minutes
            traceback.print_exc(file=sys.stderr)
            failed[name] = f"{type(error).__name__}, see above"
        bench.say(f"{name}: took {time.monotonic() - began:.0f} s")
    effort = bench.effort
    about = report.facts() | {
        "model": {
            "name": bench.bundle.manifest.name,
            "precision": bench.bundle.manifest.precision.value,
            "fingerprint": bench.bundle.fingerprint[:12],
        },
        "effort": {"rounds": effort.rounds, "seconds": effort.seconds, "callers": effort.callers},
    }
    return report.Report(about=about, figures=figures, failed=failed)


def _measures() -> Mapping[str, Measure]:
    from imagesieve_server.commands.bench import (
        call_cost,
        decoding,
        duplicates,
        encoder_speed,
        end_to_end,
        first_calls,
        growth,
        overload,
        tails,
        threads,
    )

    modules = (
        end_to_end, encoder_speed, decoding, call_cost, tails, overload, first_calls,
        duplicates, growth, threads,
    )  # fmt: skip
    return {module.NAME: module.measure for module in modules}


def _bench(args: argparse.Namespace, folder: Path) -> Bench:
    import dataclasses

    from imagesieve_server import config
    from imagesieve_server.commands.bench.effort import FULL, QUICK, Bench
    from imagesieve_server.demo_data import DEMO_BUNDLE
    from imagesieve_server.encoders.bundle import load_bundle

    settings = config.load(args.config, os.environ)
    effort = FULL if args.full else QUICK
    return Bench(
        effort=dataclasses.replace(
            effort,
            rounds=args.rounds or effort.rounds,
            seconds=args.seconds or effort.seconds,
            callers=args.callers or effort.callers,
            requests=args.requests or effort.requests,
        ),
        folder=folder,
        settings=settings,
        bundle=load_bundle(args.model or Path(settings.model.bundle or DEMO_BUNDLE)),
        baseline=load_bundle(args.baseline) if args.baseline else None,
    )


def _count(text: str) -> int:
    return int(_positive(text, int))


def _seconds(text: str) -> float:
    return _positive(text, float)


def _positive(text: str, kind: type[int] | type[float]) -> float:
    try:
        number = kind(text)
    except ValueError:
        number = 0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number
