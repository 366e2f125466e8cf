"""A probe: a linear head on the model's embeddings, learned offline, as a file of its own.

JSON, so that it can be read and compared by people:

    {"format": 1, "model_fingerprint": "…", "weights": [D numbers], "bias": 0.5,
     "evaluation": {…}}

``evaluation`` is whatever the learner measured; it travels with the probe and is not read.
A head belongs to the one model whose embeddings it was learned on.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imagesieve_server.core.errors import ConfigError, PolicyError
from imagesieve_server.core.policy import Probe

FORMAT = 1
MAX_BYTES = 4 << 20
"""A file larger than this is refused unread."""

_LARGEST = 3e38
"""float32 ends a little above."""

_KEYS = {"format", "model_fingerprint", "weights", "bias", "evaluation"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFile:
    """What a probe's file says."""

    model_fingerprint: str
    probe: Probe
    evaluation: Mapping[str, Any] = field(default_factory=dict)


def write_probe(path: Path, probe_file: ProbeFile) -> None:
    """Replace the file at ``path`` atomically. Raises ConfigError."""
    data = {"format": FORMAT, "model_fingerprint": probe_file.model_fingerprint}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps({**data, **as_json(probe_file)}, indent=1) + "\n")
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def read_probe(path: Path) -> ProbeFile:
    """Read and check a file. Raises PolicyError, which names file and field."""
    name = str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PolicyError(f"larger than {MAX_BYTES} bytes", file=name)
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise PolicyError(f"cannot be read: {error.strerror}", file=name) from None
    except (ValueError, RecursionError):
        raise PolicyError("is not JSON", file=name) from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise PolicyError(f"is not a probe of format {FORMAT}", file=name)
    for key in data:
        if key not in _KEYS:
            raise PolicyError("unknown key", file=name, field=key)
    fingerprint = data.get("model_fingerprint")
    if not isinstance(fingerprint, str) or not fingerprint:
        raise PolicyError("must be text", file=name, field="model_fingerprint")
    return ProbeFile(
        model_fingerprint=fingerprint,
        probe=probe_of(data, file=name),
        evaluation=data.get("evaluation") or {},
    )


def as_json(probe_file: ProbeFile) -> dict[str, Any]:
    """Weights, bias and evaluation as JSON values; ``probe_of`` reads them back bit for bit."""
    return {
        "weights": probe_file.probe.weights.tolist(),
        "bias": probe_file.probe.bias,
        "evaluation": dict(probe_file.evaluation),
    }


def probe_of(data: Mapping[str, Any], *, file: str) -> Probe:
    """The head in JSON values. Raises PolicyError."""
    weights = data.get("weights")
    if not isinstance(weights, list) or not weights:
        raise PolicyError("must be a list of finite numbers", file=file, field="weights")
    numbers = [_number(weight, "weights", file) for weight in weights]
    bias = _number(data.get("bias"), "bias", file)
    if not isinstance(data.get("evaluation", {}), dict | None):
        raise PolicyError("must be a mapping", file=file, field="evaluation")
    return Probe(weights=np.asarray(numbers, dtype=np.float32), bias=bias)


def _number(value: object, field: str, file: str) -> float:
    """A number that float32 can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not _fits(value):
        raise PolicyError(f"{value!r} is not a finite number", file=file, field=field)
    return float(value)


def _fits(value: float) -> bool:
    return math.isfinite(value) and abs(value) < _LARGEST
