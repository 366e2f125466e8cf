"""The tables of "A policy measured" in docs/reference/meaning.md, from an evaluation's JSON.

imagesieve-server model demo-scenes --cache emoji --out scenes --seed 2
imagesieve-server evaluate --labels scenes/labels.csv --images scenes --compare --json e.json
python tests/benchmarks/evaluation_tables.py e.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PERCENT = ("recall", "fpr")
MEASURES = {
    "auc": "AUC",
    "average_precision": "average precision",
    "recall_at_fpr_1": "recall at 1 % FPR, points",
    "recall_at_threshold": "recall now, points",
    "fpr_at_threshold": "FPR now, points",
    "fpr_at_equal_recall": "FPR at equal recall, points",
}


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def index(figure: dict[str, float] | None) -> str:
    if figure is None:
        return "–"
    return f"{figure['value']:.3f} [{figure['low']:.3f}–{figure['high']:.3f}]"


def share(figure: dict[str, float] | None, digits: int = 1) -> str:
    if figure is None:
        return "–"
    value, low, high = (figure[key] * 100 for key in ("value", "low", "high"))
    return f"{value:.{digits}f} % [{low:.{digits}f}–{high:.{digits}f}]"


def categories(data: dict[str, Any]) -> str:
    head = [
        "category",
        "AUC",
        "AP",
        "P@R .80 / .90 / .95",
        "R@FPR 1 %",
        "recall",
        "FPR",
        "precision",
    ]
    rows = []
    for one in data["categories"]:
        found, at = one["figures"], one["thresholds"][0]
        at_recall = [found[f"precision_at_recall_{r}"] for r in (80, 90, 95)]
        rows.append(
            [
                one["id"],
                index(found["auc"]),
                index(found["average_precision"]),
                " / ".join(f"{f['value']:.2f}" if f else "–" for f in at_recall),
                share(found["recall_at_fpr_1"]),
                share(at["recall"]),
                share(at["false_positive_rate"], 2),
                share(at["precision"]),
            ]
        )
    return table(head, rows)


def difference(name: str, found: dict[str, Any]) -> str:
    scale, digits = (100.0, 2) if name.startswith(PERCENT) else (1.0, 3)
    d = found["difference"]
    value, low, high = (d[key] * scale for key in ("value", "low", "high"))
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]".replace("-", "−")


def comparisons(data: dict[str, Any]) -> str:
    shown = [name for name in MEASURES if name != "fpr_at_equal_recall"]
    rows = []
    for one in data["comparisons"]:
        mean = one["mean"]
        auc = mean["auc"]
        rows.append(
            [
                f"{one['first']} − {one['second']}",
                f"{auc['first']:.3f}, {auc['second']:.3f}",
                *(difference(name, mean[name]) if name in mean else "–" for name in shown),
            ]
        )
    return table(
        ["first − second", "AUC of each", *(f"Δ {MEASURES[name]}" for name in shown)], rows
    )


def counter_prompts(data: dict[str, Any]) -> str:
    (one,) = [c for c in data["comparisons"] if c["id"] == "counter_prompts"]
    rows = []
    every = [*((row["id"], row["measures"]) for row in one["categories"]), ("mean", one["mean"])]
    for name, found in every:
        now, equal = found["fpr_at_threshold"], found["fpr_at_equal_recall"]
        rows.append(
            [
                name,
                f"{now['second'] * 100:.2f} → {now['first'] * 100:.2f} %",
                f"{1 - now['first'] / now['second']:.0%}",
                difference("recall", found["recall_at_threshold"]),
                f"{equal['second'] * 100:.2f} → {equal['first'] * 100:.2f} %",
                difference("fpr", equal),
            ]
        )
    head = ["category", "FPR without → with", "cut", "Δ recall, points",
            "FPR at equal recall", "Δ, points"]  # fmt: skip
    return table(head, rows)


def slices(data: dict[str, Any], column: str) -> str:
    tables = [one for one in data["slices"]["tables"] if one["column"] == column]
    rows = []
    for number, row in enumerate(tables[0]["rows"]):
        cells = []
        for one in tables:
            found = one["rows"][number]
            gap = found["recall_gap"]
            mark = "**" if gap and gap["flagged"] and gap["difference"] < 0 else ""
            cells.append(f"{mark}{found['recall']['value'] * 100:.0f} %{mark}")
        rows.append([row["value"], *cells])
    return table([column, *(one["category"] for one in tables)], rows)


def main() -> None:
    data = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    flagged = data["verdicts"]
    print(categories(data))
    print(
        f"\nshowing {share(flagged['flagged_showing'])}, clean {share(flagged['flagged_clean'])}\n"
    )
    print(slices(data, "shape"))
    print(f"\n{data['slices']['tests']} tests, {data['slices']['gaps']} gaps\n")
    print(comparisons(data))
    print()
    print(counter_prompts(data))


if __name__ == "__main__":
    main()
