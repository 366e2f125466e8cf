"""`imagesieve-server bench` on a GPU: ViT-B-32 and ViT-L-14 with random weights, in fp16.

    python tests/benchmarks/gpu_set.py [--rounds 5] [--seconds 4] [--only MEASURE] [--out FOLDER]

Besides the encoder alone with one session, and with two but without graphs: what each gains.
Prints each report and writes it as JSON.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bundles import FOLDER, exported

MODELS = ("ViT-B-32", "ViT-L-14")
MEASURES = ("end-to-end", "encoder", "call-cost", "tails", "overload", "first-calls")
VARIANTS: Mapping[str, Mapping[str, str]] = {
    "one-session": {"IMAGESIEVE__MODEL__SESSIONS": "1"},
    "no-graphs": {"IMAGESIEVE__MODEL__CUDA_GRAPHS": "false"},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--callers", type=int, default=256)
    parser.add_argument("--arch", action="append", default=[])
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--out", type=Path, default=FOLDER / "reports")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    code = 0
    for arch in args.arch or MODELS:
        bundle = exported("fp16", arch=arch)
        measures = args.only or (MEASURES if arch == MODELS[0] else MEASURES[:2])
        code |= bench(args, bundle, "", {}, measures)
        for name, settings in VARIANTS.items():
            code |= bench(args, bundle, f"-{name}", settings, ("encoder",))
    return code


def bench(
    args: argparse.Namespace,
    bundle: Path,
    suffix: str,
    settings: Mapping[str, str],
    measures: tuple[str, ...],
) -> int:
    command = [
        sys.executable, "-m", "imagesieve_server", "bench", "--model", str(bundle),
        "--rounds", str(args.rounds), "--seconds", str(args.seconds),
        "--callers", str(args.callers), "--json", str(args.out / f"gpu-{bundle.name}{suffix}.json"),
    ]  # fmt: skip
    for name in measures:
        command += ["--only", name]
    print(f"\n== {bundle.name}{suffix}", flush=True)
    environment = {**os.environ, "IMAGESIEVE__MODEL__PROVIDER": "cuda", **settings}
    return subprocess.run(command, check=False, env=environment).returncode


if __name__ == "__main__":
    raise SystemExit(main())
