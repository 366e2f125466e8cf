"""`imagesieve-server bench` over ViT-B-32 with random weights, in fp32 and in static int8.

    python tests/benchmarks/cpu_set.py [--rounds 5] [--seconds 2] [--only MEASURE] [--out FOLDER]

Prints each report and writes it as JSON. What is no rate of the encoder is measured in one only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from bundles import ARCH, FOLDER, exported

BOTH = ("end-to-end", "encoder")
"""What is measured in either precision."""
IN_FP32 = ("call-cost", "tails", "overload", "duplicates")
IN_INT8 = ("first-calls",)
"""Measured once, to keep it short; first calls start fifteen servers, which int8 does sooner. Left
out is decoding, which `decode_transform.py` measures against open_clip's own transform, and what
takes minutes of its own: growth (`make bench-long`) and threads (`--only threads`)."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--arch", default=ARCH)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--out", type=Path, default=FOLDER / "reports")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    fp32, int8 = (exported(precision, arch=args.arch) for precision in ("fp32", "int8"))
    code = 0
    for bundle, measures in (
        (fp32, args.only or BOTH + IN_FP32),
        (int8, args.only or BOTH + IN_INT8),
    ):
        command = [
            sys.executable, "-m", "imagesieve_server", "bench", "--model", str(bundle),
            "--rounds", str(args.rounds), "--seconds", str(args.seconds),
            "--json", str(args.out / f"{bundle.name}.json"),
        ]  # fmt: skip
        if bundle == int8:
            command += ["--baseline", str(fp32)]
        for name in measures:
            command += ["--only", name]
        print(f"\n== {bundle.name}", flush=True)
        code |= subprocess.run(command, check=False).returncode
    return code


if __name__ == "__main__":
    raise SystemExit(main())
