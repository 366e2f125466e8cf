"""What the machine's matrix product alone does: the ceiling of every encoder.

On the CPU the best of ONNX Runtime's, numpy's (its BLAS) and one of ONNX Runtime's on each core
for itself, in fp32; on a GPU ONNX Runtime's on data that stays there, in the encoder's precision.
The graph of one product is written by hand: the package that writes ONNX files is not part of a
server's installation.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imagesieve_server.encoders.runtime import CPU, Opened, RuntimeOptions, library, open_session
from imagesieve_server.usable_cores import usable_cores

_CPU_SIDE = 1536  # rows, columns and depth; far beyond the caches, 50 ms on two cores
_GPU_SIDE = 8192
_ELEMENTS = {np.dtype(np.float32): 1, np.dtype(np.float16): 10}  # ONNX's numbers of types
_OPSET = 17
_IR_VERSION = 8

Matrix = npt.NDArray[np.generic]


class MatmulPeak:
    """Ready to be measured again and again."""

    def __init__(self, *, options: RuntimeOptions, half: bool, folder: Path) -> None:
        """``half``: float16, which is what a GPU is fast in. Raises BundleError, MissingExtra."""
        dtype = np.dtype(np.float16 if half else np.float32)
        path = folder / "matmul.onnx"
        rng = np.random.default_rng(0)
        self._side = _CPU_SIDE
        opened = _open(path, rng, self._side, dtype, options)
        self._on_gpu = opened.provider != CPU
        if self._on_gpu:
            self._side = _GPU_SIDE
            opened = _open(path, rng, self._side, dtype, options)
        self._run = _bound(opened, rng.standard_normal((self._side, self._side)).astype(dtype))
        self._a = rng.standard_normal((self._side, self._side)).astype(np.float32)
        self._b = rng.standard_normal((self._side, self._side)).astype(np.float32)
        # These take every core, which compares only where the encoder does, too.
        self._apart: list[Callable[[], object]] = []
        if not self._on_gpu and options.threads == 0:
            one = open_session(path, options=dataclasses.replace(options, threads=1))
            self._apart = [_bound(one, self._a) for _ in range(usable_cores())]

    def flop_per_s(self, seconds: float) -> tuple[float, ...]:
        """Each way's rate; ``seconds`` for all together."""
        share = seconds / (3 if self._apart else 1)
        rates = [calls_per_s(self._run, share)]
        if self._apart:
            rates.append(calls_per_s(lambda: self._a @ self._b, share))
            rates.append(self._apart_per_s(share))
        return tuple(rate * 2.0 * self._side**3 for rate in rates)

    def _apart_per_s(self, seconds: float) -> float:
        """Of all cores, each with products of its own."""
        with ThreadPoolExecutor(len(self._apart)) as threads:
            return sum(threads.map(lambda run: calls_per_s(run, seconds), self._apart))


def calls_per_s(work: Callable[[], object], seconds: float) -> float:
    """How often ``work`` is done in a second; once before the clock starts."""
    work()
    done = 0
    started = time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        work()
        done += 1
    return done / spent


def _open(
    path: Path,
    rng: np.random.Generator,
    side: int,
    dtype: np.dtype[np.generic],
    options: RuntimeOptions,
) -> Opened:
    path.write_bytes(matmul_graph(rng.standard_normal((side, side)).astype(dtype), rows=side))
    return open_session(path, options=options)


def _bound(opened: Opened, a: Matrix) -> Callable[[], object]:
    """One product whose input and output stay where the session runs."""
    session = opened.session
    device = "cpu" if opened.provider == CPU else "cuda"
    binding = session.io_binding()
    binding.bind_ortvalue_input("a", library().OrtValue.ortvalue_from_numpy(a, device, 0))
    binding.bind_output("c", device, 0)

    def run() -> object:
        session.run_with_iobinding(binding)
        return binding.synchronize_outputs()

    return run


# --- one product as an ONNX file (onnx.proto3 of the ONNX project; protobuf's encoding) -----


def matmul_graph(b: Matrix, *, rows: int) -> bytes:
    """The bytes of a model that multiplies its input ``a`` [rows, K] with ``b`` [K, N] to ``c``."""
    element = _ELEMENTS[b.dtype]
    depth, columns = b.shape
    node = _text(1, "a") + _text(1, "b") + _text(2, "c") + _text(4, "MatMul")
    weight = (
        b"".join(_number(1, n) for n in b.shape)
        + _number(2, element)
        + _text(8, "b")
        + _bytes(9, np.ascontiguousarray(b).tobytes())
    )
    graph = (
        _bytes(1, node)
        + _text(2, "matmul")
        + _bytes(5, weight)
        + _bytes(11, _tensor("a", element, (rows, depth)))
        + _bytes(12, _tensor("c", element, (rows, columns)))
    )
    return _number(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, _number(2, _OPSET))


def _tensor(name: str, element: int, shape: tuple[int, ...]) -> bytes:
    dimensions = b"".join(_bytes(1, _number(1, n)) for n in shape)
    kind = _bytes(1, _number(1, element) + _bytes(2, dimensions))
    return _text(1, name) + _bytes(2, kind)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
