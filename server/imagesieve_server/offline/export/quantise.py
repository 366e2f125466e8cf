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
            extra_options={"OpTypesToExcludeOutputQuantization": _OPERATORS},
        )
        return onnx.load(target)


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
