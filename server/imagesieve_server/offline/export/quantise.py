"""int8 by static quantisation: ranges fixed now, from named pictures, never from a batch.

Knows ONNX Runtime's quantiser; refuses to know torch. QDQ format, weights per channel: the row of
a batch is then independent of the others (dynamic quantisation takes one range per batch).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from imagesieve_server.core.views import Pixels
from imagesieve_server.extras import need

_OPERATORS = ["MatMul", "Gemm", "Conv"]
"""Products with a constant weight; attention's own products stay in float."""

_LARGEST_BYTE = 255
_MOVING = ("Reshape", "Transpose")
"""Operators that move numbers and change none."""


def quantise_int8(proto: Any, *, calibration: Pixels, reduce_range: bool = False) -> Any:
    """Quantise an image graph with ranges from pictures [K, S, S, 3]; an ``onnx.ModelProto``.

    ``reduce_range`` uses 7 bits: for x86 without VNNI, where a product of 8-bit pairs saturates.
    """
    quantization, onnx = need("onnxruntime.quantization"), need("onnx")
    with tempfile.TemporaryDirectory(prefix="imagesieve-int8-") as folder, _quiet():
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        onnx.save(onnx.shape_inference.infer_shapes(proto), source)
        quantization.quantize_static(
            source,
            target,
            _reader(quantization, calibration),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=_OPERATORS,
            # A rounded output would be rounded again by whatever reads it.
            extra_options={
                "OpTypesToExcludeOutputQuantization": _OPERATORS,
                "TensorQuantOverrides": _exact_bytes(proto),
            },
        )
        return onnx.load(target)


def _exact_bytes(proto: Any) -> dict[str, list[dict[str, Any]]]:
    """Ranges of what is a picture's bytes as numbers: one step for each, whatever was seen."""
    as_bytes = {given.name for given in proto.graph.input}
    zeros: dict[str, int] = {}  # of bytes as numbers: the byte that is 0
    for node in proto.graph.node:  # in order of use
        read, made = (node.input[0] if node.input else ""), node.output[0]
        if node.op_type in _MOVING and read in as_bytes:
            as_bytes.add(made)
        elif node.op_type == "Cast" and read in as_bytes:
            zeros[made] = 0
        elif node.op_type in _MOVING and read in zeros:
            zeros[made] = zeros[read]
        elif node.op_type == "Sub" and read in zeros:
            taken = _byte_constant(proto, node.input[1])
            if taken is not None:
                zeros[made] = zeros[read] + taken
    return {
        name: [{"scale": np.array(1, np.float32), "zero_point": np.array(zero, np.uint8)}]
        for name, zero in zeros.items()
        if zero <= _LARGEST_BYTE
    }


def _byte_constant(proto: Any, name: str) -> int | None:
    """The value of a constant that is one whole number of a byte, or None."""
    read = need("onnx.numpy_helper").to_array
    values = [read(one) for one in proto.graph.initializer if one.name == name]
    if not values or values[0].size != 1:
        return None
    value = float(values[0].reshape(()))
    return int(value) if value.is_integer() and 0 <= value <= _LARGEST_BYTE else None


def _reader(quantization: Any, calibration: Pixels) -> Any:
    class Pictures(quantization.CalibrationDataReader):  # type: ignore[misc]  # run-time import
        """One picture at a time."""

        def __init__(self) -> None:
            self._rows: Iterator[Pixels] = iter(calibration)

        def get_next(self) -> dict[str, Pixels] | None:
            row = next(self._rows, None)
            return None if row is None else {"pixels": np.ascontiguousarray(row)[np.newaxis]}

    return Pictures()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantiser's advice on the root logger (it wants a preprocessing step)."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
