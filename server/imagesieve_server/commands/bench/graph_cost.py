"""What an encoder's graph computes, counted in the run itself: ONNX Runtime's own profile names
every operator that ran, its shapes and its time.

Counted are multiplications and additions of matrix products, convolutions and attention, two for
each pair; the rest of a graph moves data. It knows operators and shapes, not what they are for.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.runtime import CPU, library

Shape = Sequence[int]
Shapes = Sequence[Shape]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphCost:
    """One view through the image encoder."""

    flop: float  # additions and multiplications
    time_shares: Mapping[str, float]  # operator → share of the run's time on the CPU


def _matmul(inputs: Shapes, outputs: Shapes) -> float:
    return 2.0 * math.prod(outputs[0]) * inputs[0][-1]


def _gemm(inputs: Shapes, outputs: Shapes) -> float:
    rows, columns = outputs[0]
    return 2.0 * columns * math.prod(inputs[0]) if rows else 0.0


def _convolution(inputs: Shapes, outputs: Shapes) -> float:
    weight = next(shape for shape in inputs[1:] if len(shape) == 4)  # [out, in ÷ groups, h, w]
    return 2.0 * math.prod(outputs[0]) * math.prod(weight[1:])


def _attention(inputs: Shapes, outputs: Shapes) -> float:
    """Queries × keys and weights × values; projections are products of their own."""
    keys = inputs[1][-2]
    return 2.0 * keys * (math.prod(inputs[0]) + math.prod(outputs[0]))


_FLOP: Mapping[str, Callable[[Shapes, Shapes], float]] = {
    **dict.fromkeys(
        ("MatMul", "FusedMatMul", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat",
         "DynamicQuantizeMatMul", "TransposeMatMul"),
        _matmul,
    ),
    **dict.fromkeys(("Gemm", "FusedGemm", "QGemm"), _gemm),
    **dict.fromkeys(("Conv", "FusedConv", "QLinearConv", "NhwcFusedConv"), _convolution),
    **dict.fromkeys(("Attention", "MultiHeadAttention"), _attention),
}  # fmt: skip


def flop_of(operator: str, inputs: Shapes, outputs: Shapes) -> float:
    """Additions and multiplications of one operator; 0 of one that only moves data."""
    count = _FLOP.get(operator)
    return count(inputs, outputs) if count else 0.0


def cost_of(bundle: Bundle, *, batch: int, threads: int, folder: Path) -> GraphCost:
    """Run a batch on the CPU under the profiler; ``folder`` keeps the profile."""
    ort = library()
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_LAYOUT
    session = ort.InferenceSession(bundle.image_encoder, options, providers=[CPU])
    size = bundle.manifest.preprocessing.size
    pixels = np.zeros((batch, size, size, 3), dtype=np.uint8)
    for _ in range(2):  # the first run also plans and allocates
        session.run(None, {"pixels": pixels})
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return summed_up(events, batch=batch)


def summed_up(events: Sequence[Mapping[str, Any]], *, batch: int) -> GraphCost:
    """The last run of a profile, for one row of the batch."""
    last = max(event["ts"] for event in events if event["name"] == "model_run")
    flop = 0.0
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") != "Node" or event["ts"] < last:
            continue
        about = event["args"]
        if not (name := about.get("op_name")):
            continue
        spent[name] += event["dur"]
        flop += flop_of(name, _shapes(about, "input"), _shapes(about, "output"))
    total = sum(spent.values()) or 1
    return GraphCost(
        flop=flop / batch, time_shares={name: t / total for name, t in spent.most_common(4)}
    )


def _shapes(about: Mapping[str, Any], side: str) -> list[Shape]:
    """The profile writes a tensor as {"float": [4, 512]}."""
    return [next(iter(tensor.values())) for tensor in about.get(f"{side}_type_shape", ())]
