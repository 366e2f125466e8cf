"""Rewrites of an exported ONNX graph, by its structure alone.

Knows ONNX protos; refuses to know torch, models and what a graph computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from imagesieve_server.core.errors import BundleError
from imagesieve_server.extras import need

_STORED_IN_HALF_FROM = 1024
"""Elements from which a weight is stored in float16: below, a Cast node costs what it saves."""

DYNAMIC_QUANTISATION = frozenset(
    {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulInteger"}
)
"""Operators that take a range from the batch at hand: a row then depends on its neighbours."""

_NOTABLE = ("Attention", "Conv", "LayerNormalization", "Gelu", "Expand", "Shape", "QuantizeLinear")


def operator_counts(proto: Any) -> dict[str, int]:
    """How often each operator occurs in the graph."""
    return dict(sorted(Counter(node.op_type for node in proto.graph.node).items()))


def notable_operators(proto: Any) -> dict[str, int]:
    """Counts of the operators a bundle promises, zeros included."""
    counts = operator_counts(proto)
    return {name: counts.get(name, 0) for name in _NOTABLE}


def dynamic_quantisers(counts: Mapping[str, int]) -> list[str]:
    """Operators among ``counts`` whose result for a row depends on the whole batch."""
    return sorted(DYNAMIC_QUANTISATION & set(counts))


def strip_notes(proto: Any) -> Any:
    """Drop what the exporter notes about source lines: paths of the machine, and megabytes."""
    proto.doc_string = ""
    graph = proto.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.value_info[:]
    del proto.metadata_props[:]
    return proto


def refuse_unexpected(counts: Mapping[str, int]) -> None:
    """Raise BundleError for an image graph the exporter has not brought into the expected form.

    A Softmax is an attention block that is not fused (about ten nodes in place of one); a Shape
    or Expand would be placed on the CPU, and a session on a GPU refuses that.
    """
    for operator in ("Softmax", "Shape", "Expand"):
        if counts.get(operator):
            raise BundleError(
                f"the exported image graph has {counts[operator]} {operator} nodes; this "
                "architecture is not supported yet"
            )


def broadcast_by_addition(proto: Any, input_name: str) -> Any:
    """Replace each Expand of a weight to the batch size by the weight + 0 per row.

    Expand needs the batch size as a tensor: Shape and Concat nodes, which ONNX Runtime places on
    the CPU whatever the provider. The zeros come from the first value of each row of the input
    (an integer, so that zero times it is zero).
    """
    graph = proto.graph
    weights = {init.name: init for init in graph.initializer}
    expands = [n for n in graph.node if n.op_type == "Expand" and n.input[0] in weights]
    if not expands:
        return proto
    replacement = [_first_of_each_row(graph, input_name)]
    for index, expand in enumerate(expands):
        weight = weights[expand.input[0]]
        replacement += _weight_plus_zero(graph, weight, expand.output[0], f"rows_{index}")
        graph.node.remove(expand)
    nodes = [*replacement, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused(graph)
    return proto


def _first_of_each_row(graph: Any, input_name: str) -> Any:
    """A node whose result ``row_first`` is [N, 1, …, 1], the first value of each input row."""
    (given,) = (value for value in graph.input if value.name == input_name)
    axes = np.arange(1, len(given.type.tensor_type.shape.dim), dtype=np.int64)
    for name, array in (("row_start", axes * 0), ("row_stop", axes * 0 + 1), ("row_axes", axes)):
        graph.initializer.append(need("onnx.numpy_helper").from_array(array, name))
    inputs = [input_name, "row_start", "row_stop", "row_axes"]
    return need("onnx.helper").make_node("Slice", inputs, ["row_first"])


def _weight_plus_zero(graph: Any, weight: Any, output: str, prefix: str) -> list[Any]:
    """Nodes for ``output`` = weight [1, …] + 0 · row_first, so [N, …]."""
    helper, numpy_helper = need("onnx.helper"), need("onnx.numpy_helper")
    shape = np.array([-1] + [1] * (len(weight.dims) - 1), dtype=np.int64)
    zero = np.zeros((), dtype=helper.tensor_dtype_to_np_dtype(weight.data_type))
    graph.initializer.append(numpy_helper.from_array(shape, f"{prefix}_shape"))
    graph.initializer.append(numpy_helper.from_array(zero, f"{prefix}_zero"))
    make = helper.make_node
    return [
        make("Reshape", ["row_first", f"{prefix}_shape"], [f"{prefix}_flat"]),
        make("Cast", [f"{prefix}_flat"], [f"{prefix}_cast"], to=weight.data_type),
        make("Mul", [f"{prefix}_cast", f"{prefix}_zero"], [f"{prefix}_zeros"]),
        make("Add", [weight.name, f"{prefix}_zeros"], [output]),
    ]


def store_in_half(proto: Any) -> Any:
    """Store large float32 weights as float16, widened by a Cast when the session is opened.

    Raises ValueError for a weight that float16 cannot hold.
    """
    helper, numpy_helper = need("onnx.helper"), need("onnx.numpy_helper")
    float32 = need("onnx").TensorProto.FLOAT
    casts = []
    for init in proto.graph.initializer:
        array = numpy_helper.to_array(init)
        if init.data_type != float32 or array.size < _STORED_IN_HALF_FROM:
            continue
        finite = array[np.isfinite(array)]  # an attention mask holds −∞, which float16 has
        if np.abs(finite).max(initial=0) > np.finfo(np.float16).max:
            raise ValueError(f"weight {init.name} is too large for float16")
        name = init.name
        init.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=float32))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return proto


def _drop_unused(graph: Any) -> None:
    """Remove nodes and weights whose results nobody reads."""
    wanted = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    weights = [init for init in graph.initializer if init.name in wanted]
    del graph.initializer[:]
    graph.initializer.extend(weights)
