"""How often the interval of Cohen's kappa holds the true value, over a grid of tables.

    python tests/long/kappa_coverage.py [--n 4000] [--seed 1]

Prints the coverage of each (pairs, shares of rejections, kappa), beside that of the plain
asymptotic interval, and the least; exits 1 where it is below 94 % (at N = 4000; less a standard
error's worth at fewer).
"""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np

from imagesieve_server.core import agreement
from imagesieve_server.core.agreement import Table, kappa

PAIRS = (30, 50, 100, 200, 500)
SHARES = ((0.5, 0.5), (0.2, 0.2), (0.2, 0.3), (0.1, 0.1), (0.05, 0.05), (0.9, 0.85))
KAPPAS = (0.0, 0.4, 0.6, 0.8, 0.95)
LEAST = 0.94


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    least, least_plain = 1.0, 1.0
    for pairs in PAIRS:
        for first, second in SHARES:
            for true in KAPPAS:
                chances = cells(first, second, true)
                if min(chances) < 0.0:
                    continue
                tables, counts = np.unique(
                    rng.multinomial(pairs, chances, size=args.n), axis=0, return_counts=True
                )
                ours = coverage(tables, counts, true)
                added, agreement._ADDED = agreement._ADDED, 0.0
                plain = coverage(tables, counts, true)
                agreement._ADDED = added
                where = f"{pairs:4} {first:.2f} {second:.2f} {true:.2f}"
                print(f"{where}  {ours:.3f}  plain {plain:.3f}")
                least, least_plain = min(least, ours), min(least_plain, plain)
    print(f"least {least:.3f}, plain {least_plain:.3f}; N={args.n} seed={args.seed}")
    return 1 if least < LEAST - math.sqrt(LEAST * (1 - LEAST) / args.n) else 0


def cells(first: float, second: float, true: float) -> list[float]:
    chance = first * second + (1 - first) * (1 - second)
    agree = chance + true * (1 - chance)
    both = (agree + first + second - 1) / 2
    return [both, first - both, second - both, 1 - first - second + both]


def coverage(tables: np.ndarray, counts: np.ndarray, true: float) -> float:
    held = defined = 0
    for (a, b, c, d), many in zip(tables.tolist(), counts.tolist(), strict=True):
        found = kappa(Table(both_reject=a, only_first=b, only_second=c, neither=d))
        if found is not None:
            defined += many
            held += many * (found.low - 1e-9 <= true <= found.high + 1e-9)
    return held / defined


if __name__ == "__main__":
    sys.exit(main())
