"""What the encoder's process holds once it is open and warm, as the kernel counts it.

Each in a process of its own: this one has a heap of other tests. Nothing here depends on the clock.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, save

from imagesieve_server.encoders.freed_memory import give_back_freed

LAYERS, SIDE = 16, 1024
WEIGHTS = LAYERS * SIDE * SIDE * 4  # bytes; each layer small enough to lie on the heap
glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="another C library than glibc"
)

OPENING = """
import sys
from pathlib import Path
from imagesieve_server.encoders.freed_memory import give_back_freed
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions, open_session

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

opened = open_session(Path(sys.argv[1]), options=RuntimeOptions(provider=Provider.CPU, threads=1))
before = resident()
give_back_freed()
print(before - resident())
"""

WARMING = """
import resource
import numpy as np
from imagesieve_server.demo_data import DEMO_BUNDLE
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

options = RuntimeOptions(provider=Provider.CPU, threads=1)
encoder = OnnxImageEncoder(bundle=load_bundle(DEMO_BUNDLE), options=options, buckets=(1, 4, 64))
side = encoder.spec.preprocessing.size
batches = [np.ones((n, side, side, 3), dtype=np.uint8) for n in (64, 4, 1, 4, 64)]
began = faults()
encoder.warm()
warmed = faults()
for batch in batches:
    encoder.run(batch)
print(warmed - began, faults() - warmed)
"""


def told_by(program: str, *arguments: str) -> list[int]:
    """The numbers that a program prints in a process of its own."""
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [int(word) for word in done.stdout.split()]


def products() -> ModelProto:
    """As many matrix products one after the other, as a transformer's layers are."""
    weights = [
        numpy_helper.from_array(np.full((SIDE, SIDE), n, dtype=np.float32), f"w{n}")
        for n in range(LAYERS)
    ]
    nodes = [helper.make_node("MatMul", [f"x{n}", f"w{n}"], [f"x{n + 1}"]) for n in range(LAYERS)]
    rows = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", SIDE])
        for name in ("x0", f"x{LAYERS}")
    ]
    graph = helper.make_graph(nodes, "products", rows[:1], rows[1:], initializer=weights)
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    return model


@glibc
def test_an_open_session_keeps_nothing_that_could_go_back(tmp_path: Path) -> None:
    """The weights as they were read are freed, and freed memory would stay with the process."""
    path = tmp_path / "products.onnx"
    save(products(), path)
    (kept,) = told_by(OPENING, str(path))
    assert kept < WEIGHTS / 10


def test_a_warm_encoder_takes_no_more_memory() -> None:
    """What the first request of any batch size needs, warm-up has touched."""
    warming, later = told_by(WARMING)
    assert later < warming / 10


def test_a_library_without_the_call_is_left_alone() -> None:
    def no_library() -> object:
        raise OSError

    assert not give_back_freed(library=object)
    assert not give_back_freed(library=no_library)
