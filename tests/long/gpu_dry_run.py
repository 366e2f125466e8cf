"""The real CUDA provider of ONNX Runtime without a GPU: which calls it makes, on which threads.

    python tests/long/gpu_dry_run.py --headers FOLDER [--model BUNDLE ...]

Needs the package onnxruntime-gpu without its extras, gcc, nm and CUDA's headers. CUDA is replaced
by cuda_stand_in.c, whose kernels do nothing: placement, buffers, graphs, threads and options are
checked, results are not. `make gpu-dry-run` sets it up.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

STAND_IN = Path(__file__).with_name("cuda_stand_in.c")
LIBRARIES = {
    "cudart": "libcudart.so.13",
    "cublas": "libcublas.so.13",
    "cublasLt": "libcublasLt.so.13",
    "cudnn": "libcudnn.so.9",
    "cuda": "libcuda.so.1",
    "curand": "libcurand.so.10",
    "cufft": "libcufft.so.12",
    "nvrtc": "libnvrtc.so.13",
}
PINS = ("cudaHostRegister", "cudaHostUnregister")  # which we call ourselves
HOST_TO_DEVICE, DEVICE_TO_HOST = 1, 2
ROWS = (1, 4, 2, 3)
LARGEST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A line of the stand-in's log, or a mark of ours."""

    thread: int
    name: str
    first: int
    second: int


# --- the stand-in -------------------------------------------------------------------------------


def build(folder: Path, headers: Path) -> None:
    """Every library that the provider loads."""
    spec = find_spec("onnxruntime")
    assert spec is not None
    assert spec.origin is not None
    provider = Path(spec.origin).parent / "capi" / "libonnxruntime_providers_cuda.so"
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", provider], check=True, capture_output=True, text=True
    ).stdout
    names: dict[str, set[str]] = {file: set() for file in LIBRARIES.values()}
    for symbol, version in re.findall(r"U (\w+)@+(\S+)", listed):
        if version in names:
            names[version].add(symbol)
    names["libcuda.so.1"] |= set(re.findall(r"U (cu[A-Z]\w+)$", listed, re.MULTILINE))
    names["libcudart.so.13"] |= set(PINS)
    text = provider.read_bytes()
    names["libcudnn.so.9"] = {n.decode() for n in re.findall(rb"\0(cudnn[A-Z]\w+)(?=\0)", text)}
    for name, file in LIBRARIES.items():
        _library(folder, name, file, names[file], headers)


def _library(folder: Path, name: str, file: str, symbols: set[str], headers: Path) -> None:
    written = set(re.findall(r"\b(\w+)\(", STAND_IN.read_text(encoding="utf-8")))
    rest = folder / f"{name}.rest.c"
    functions = (f"long {symbol}(void) {{ return 0; }}" for symbol in sorted(symbols - written))
    rest.write_text("\n".join(functions) + "\n", encoding="utf-8")
    versions = folder / f"{name}.map"
    versions.write_text(f"{file} {{ global: *; }};\n", encoding="utf-8")
    subprocess.run(
        ["gcc", "-w", "-O1", "-shared", "-fPIC", "-fno-builtin",
         f"-DLIBRARY_{name}", f"-I{headers}",
         f"-Wl,-soname,{file}", f"-Wl,--version-script={versions}",
         "-o", folder / file, STAND_IN, rest],
        check=True,
    )  # fmt: skip


# --- what runs on it ------------------------------------------------------------------------------


def serve(model: str, log: Path) -> None:
    """In a process of its own: open, warm and use the encoders as a server does."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from helpers.tiny_bundle import write_tiny_bundle
    from imagesieve_server.encoders.bundle import load_bundle
    from imagesieve_server.encoders.opening import ServingOptions, open_encoders
    from imagesieve_server.encoders.runtime import Provider, RuntimeOptions

    def mark(text: str) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"0 {text} 0 0\n")

    folder = Path(tempfile.mkdtemp()) / "tiny"
    bundle = load_bundle(Path(model)) if model else write_tiny_bundle(folder)
    runtime = RuntimeOptions(provider=Provider.CUDA, cuda_graphs=True)
    serving = open_encoders(bundle, ServingOptions(runtime=runtime, max_batch=LARGEST))
    assert not serving.note, serving.note
    threads = [ThreadPoolExecutor(1) for _ in serving.encoders]
    members = list(zip(serving.encoders, threads, strict=True))
    for encoder, thread in members:
        mark("warm")
        thread.submit(encoder.warm).result()
    side = bundle.manifest.preprocessing.size
    for count in ROWS:
        pixels = np.zeros((count, side, side, 3), dtype=np.uint8)
        for encoder, thread in members:
            mark("run")
            thread.submit(encoder.run, pixels).result()
    mark("end")
    print(f"{len(members)} sessions of {bundle.manifest.name}, {bundle.manifest.precision.value}")


def read(log: Path) -> list[Call]:
    lines = (line.split() for line in log.read_text(encoding="utf-8").splitlines())
    return [Call(thread=int(t), name=n, first=int(a), second=int(b)) for t, n, a, b in lines]


def parts(calls: list[Call]) -> Iterator[tuple[str, list[Call]]]:
    """The calls up to the first mark, and after each."""
    name, part = "open", list[Call]()
    for call in calls:
        if call.thread:
            part.append(call)
            continue
        yield name, part
        name, part = call.name, []


def check(calls: list[Call]) -> Mapping[str, int]:
    """Asserts what decision 0036 says; some numbers for people."""
    found = list(parts(calls))
    opening = next(part for name, part in found if name == "open")
    warming = [part for name, part in found if name == "warm"]
    runs = [part for name, part in found if name == "run"]
    assert Counter(call.name for call in opening)["pin"] == len(warming) == 2
    assert not [call for call in calls if call.name.startswith(("malloc:", "free:", "wait:"))]
    captured = [call for call in calls if call.name == "copy-async:capturing"]
    assert not [c for c in captured if c.first in (HOST_TO_DEVICE, DEVICE_TO_HOST)]
    for part in warming:
        graphs = [call.first for call in part if call.name == "instantiate"]
        assert len(graphs) == len(set(graphs)) == 3, "one graph a batch size"
        assert len({call.thread for call in part}) == 1
    for part in runs:
        names = [(call.name, call.first) for call in part if call.name != "wait"]
        replays = [call.first for call in part if call.name == "replay"]
        assert names == [("copy", HOST_TO_DEVICE), ("replay", *replays), ("copy", DEVICE_TO_HOST)]
        assert len({call.thread for call in part}) == 1
    threads = [{call.thread for call in part} for part in warming]
    assert threads[0].isdisjoint(threads[1])
    assert [{c.thread for c in part} for part in runs] == threads * len(ROWS)
    streams = {call.second for part in runs for call in part if call.name == "replay"}
    assert len(streams) == 2
    kernels = sum(call.name == "kernel:capturing" for call in warming[0])
    return {"kernels in a graph": kernels // 3, "calls of CUDA a run": len(runs[0])}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--headers", type=Path, help="the folder of cuda_runtime_api.h")
    parser.add_argument("--model", action="append", default=[], help="a bundle to open, too")
    parser.add_argument("--serve", nargs=2, metavar=("MODEL", "LOG"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve[0], Path(args.serve[1]))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder, args.headers)
        for number, model in enumerate(["", *args.model]):
            log = folder / f"{number}.log"
            environment = {
                **os.environ, "LD_LIBRARY_PATH": str(folder), "STAND_IN_LOG": str(log),
            }  # fmt: skip
            subprocess.run(
                [sys.executable, __file__, "--serve", model, str(log)], check=True, env=environment
            )
            said = ", ".join(f"{what}: {count}" for what, count in check(read(log)).items())
            print(f"  as it should be; {said}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
