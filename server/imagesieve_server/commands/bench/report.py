"""What a benchmark found, as a text table and as JSON, with the machine it was found on."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from imagesieve_server.commands.bench.figures import Figure, Ratio, Series
from imagesieve_server.encoders.gpu_facts import find_gpus
from imagesieve_server.usable_cores import usable_cores

FORMAT = 1
"""Version of the JSON."""
_LIBRARIES = ("imagesieve", "onnxruntime", "onnxruntime-gpu", "numpy", "pillow", "grpcio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of the bench."""

    about: Mapping[str, Any]  # machine, versions, model, effort
    figures: Sequence[Figure]
    failed: Mapping[str, str]  # measure: why it has no figures


def lines(report: Report) -> Iterator[str]:
    """The report for a terminal, two or three lines a figure."""
    for key, value in report.about.items():
        shown = (
            ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        )
        yield f"{key}: {shown}"
    measure = ""
    for figure in report.figures:
        if figure.measure != measure:
            measure = figure.measure
            yield f"\n{measure}"
        yield from _lines_of(figure)
    for name, why in report.failed.items():
        yield f"\n{name}: not measured: {why}"


def _lines_of(figure: Figure) -> Iterator[str]:
    values = figure.rounds if isinstance(figure, Ratio) else figure.of.values
    middle = figure.median if isinstance(figure, Ratio) else figure.of.median
    unit = "" if isinstance(figure, Ratio) else f" {figure.of.unit}"
    aim = f"   aim {figure.aim}" if figure.aim else ""
    yield (
        f"  {figure.title}: {number(middle)}{unit} "
        f"({number(min(values))} to {number(max(values))} in {len(values)} rounds){aim}"
    )
    if isinstance(figure, Ratio):
        yield f"    {_said(figure.over)} ÷ {_said(figure.under)}"
    if figure.beside:
        said = (
            f"{key} {number(value) if isinstance(value, float) else value}"
            for key, value in figure.beside.items()
        )
        yield f"    {'; '.join(said)}"


def _said(series: Series) -> str:
    return f"{series.what} {number(series.median)} {series.unit}"


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if not math.isfinite(value) or value == 0:
        return str(value)
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 9)}f}"


def as_json(report: Report) -> str:
    """The whole report, every round in it."""
    content = {
        "format": FORMAT,
        "about": dict(report.about),
        "figures": [_as_dict(figure) for figure in report.figures],
        "failed": dict(report.failed),
    }
    return json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n"


def _as_dict(figure: Figure) -> dict[str, Any]:
    aim = figure.aim
    found: dict[str, Any] = {"measure": figure.measure, "title": figure.title}
    if isinstance(figure, Ratio):
        found |= {
            "ratio": _statistics(figure.rounds),
            "over": _series(figure.over),
            "under": _series(figure.under),
        }
        value = figure.median
    else:
        found["amount"] = _series(figure.of)
        value = figure.of.median
    if aim:
        found["aim"] = {"at_least": aim.at_least, "at_most": aim.at_most}
        found["reached"] = aim.reached(value)
    return found | {"beside": {key: _sound(v) for key, v in figure.beside.items()}}


def _series(series: Series) -> dict[str, Any]:
    return {"what": series.what, "unit": series.unit} | _statistics(series.values)


def _statistics(values: Sequence[float]) -> dict[str, Any]:
    ordered = sorted(values)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return {
        "median": _sound(middle),
        "least": _sound(ordered[0]),
        "greatest": _sound(ordered[-1]),
        "rounds": [_sound(value) for value in values],
    }


def _sound(value: float | str) -> float | str | None:
    """JSON knows no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def facts() -> dict[str, Any]:
    """This machine, the libraries, the date and the commit of a checkout."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": _processor(),
            "cores": usable_cores(),
            "GPU": str(find_gpus() or "none"),
            "load": os.getloadavg()[0],
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "versions": dict(_versions()),
        "commit": _commit(),
    }


def _versions() -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    names = [line for line in text.splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.machine()


def _commit() -> str:
    """Of the checkout this runs from; a change that is not committed shows as "-dirty"."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "none"
    return done.stdout.strip() if done.returncode == 0 else "none"
