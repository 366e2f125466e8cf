"""ONNX Runtime: which installation, which provider, which session settings.

Knows the library and its options; refuses to know bundles, buckets and pictures. The library is
imported when a session is opened, so that reading a manifest needs none.
"""

from __future__ import annotations

import enum
import importlib.metadata
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagesieve_server.core.errors import BundleError, ConfigError, MissingExtra
from imagesieve_server.encoders.cuda_session import (
    CUDA,
    SESSION_ENTRIES,
    cuda_failure,
    load_libraries,
    provider_options,
    refuse_misplaced,
)
from imagesieve_server.encoders.freed_memory import give_back_freed
from imagesieve_server.usable_cores import fewer_cores

CPU = "CPUExecutionProvider"

_DISTRIBUTIONS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-training",
)


class Provider(enum.StrEnum):
    """Where a session runs."""

    AUTO = "auto"  # CUDA where it is there and works, else CPU
    CUDA = "cuda"
    CPU = "cpu"
    OPENVINO = "openvino"  # the CPU in bfloat16, by another library; never chosen by AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """Settings of a session."""

    provider: Provider = Provider.AUTO
    threads: int = 0  # of one operator; 0: the library chooses, within the cores that are ours
    spinning: bool = False  # threads spin between runs; starves decoding on shared cores
    cuda_graphs: bool = False  # on a GPU; every run must then give bound buffers


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A session that is open."""

    session: Any  # onnxruntime.InferenceSession, which has no type information
    provider: str  # the library's name of the provider in use
    note: str  # why `auto` did not take CUDA, for the log; "" where there is nothing to say


def refuse_two_runtimes(installed: Collection[str] | None = None) -> None:
    """Raise ConfigError where two ONNX Runtime distributions are installed.

    They share one import package, and the files of the second overwrite some of the first's.
    ``installed`` (normalised distribution names) is read from the environment by default.
    """
    if installed is None:
        installed = _installed_distributions()
    found = [name for name in _DISTRIBUTIONS if name in installed]
    if len(found) > 1:
        raise ConfigError(
            f"{' and '.join(found)} are installed together and break each other: "
            f"`pip uninstall {' '.join(found)}`, then install one of imagesieve[cpu] "
            "and imagesieve[gpu] again"
        )


def open_session(model: Path, *, options: RuntimeOptions) -> Opened:
    """Open a graph on the provider asked for.

    OpenVINO is none of its providers: what has no other way there runs on the CPU. Raises
    MissingExtra where the library or the provider asked for is not installed, and BundleError
    where the library refuses the graph.
    """
    ort = library()
    available = CUDA in ort.get_available_providers()
    on_cpu = options.provider in (Provider.CPU, Provider.OPENVINO)
    if on_cpu or (options.provider is Provider.AUTO and not available):
        return Opened(session=_cpu_session(ort, model, options), provider=CPU, note="")
    if not available:
        raise MissingExtra(
            "provider 'cuda' was asked for, but the installed ONNX Runtime has no CUDA provider: "
            "pip install 'imagesieve[gpu]' in place of imagesieve[cpu], or set provider to 'auto'"
        )
    try:
        return Opened(session=_cuda_session(ort, model, options), provider=CUDA, note="")
    except BundleError as problem:
        if options.provider is Provider.CUDA:
            raise
        session = _cpu_session(ort, model, options)
        return Opened(session=session, provider=CPU, note=why_not_cuda(problem))


def why_not_cuda(problem: BundleError) -> str:
    """For the log, where a CPU serves in place of a GPU."""
    return f"CUDA not used: {problem.for_operators}"


def _installed_distributions() -> set[str]:
    names = (dist.metadata["Name"] for dist in importlib.metadata.distributions())
    return {name.lower().replace("_", "-") for name in names if name}


def library() -> Any:
    """The ONNX Runtime module. Raises MissingExtra."""
    # The library reports usage from its import on; the variable is the only switch it honours.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as problem:
        raise MissingExtra(
            "ONNX Runtime is not installed: pip install 'imagesieve[cpu]' or 'imagesieve[gpu]'"
        ) from problem
    return onnxruntime


def _session_options(ort: Any, options: RuntimeOptions) -> Any:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads or fewer_cores()
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3  # errors; warnings of the optimiser are not for operators
    spinning = "1" if options.spinning else "0"
    settings.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    return settings


def _cpu_session(ort: Any, model: Path, options: RuntimeOptions) -> Any:
    settings = _session_options(ort, options)
    # All levels but the last, which crashes the process on float16 graphs (1.31.1) and makes
    # nothing faster here.
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_LAYOUT
    # A pattern is one more block of memory as large as what the first run took, allocated by the
    # second: nothing is faster by it here, and every bucket would have to be run twice to be warm.
    settings.enable_mem_pattern = False
    return _create(ort, model, settings, [CPU])


def _cuda_session(ort: Any, model: Path, options: RuntimeOptions) -> Any:
    load_libraries(ort)
    settings = _session_options(ort, options)
    for key, value in SESSION_ENTRIES.items():
        settings.add_session_config_entry(key, value)
    provider = (CUDA, provider_options(graphs=options.cuda_graphs))
    session = _create(ort, model, settings, [provider])
    if session.get_providers()[0] != CUDA:
        # The library falls back without an error where the CUDA libraries do not load.
        raise BundleError("the CUDA provider did not start; is there a GPU that it knows?")
    refuse_misplaced(session, CUDA)
    return session


def _create(ort: Any, model: Path, settings: Any, providers: list[Any]) -> Any:
    try:
        # Else the library answers a failure of the provider by a session on the CPU.
        session = ort.InferenceSession(model, settings, providers=providers, enable_fallback=0)
    except Exception as problem:  # the library raises a class of its own for each kind of failure
        text = str(problem)
        cause = cuda_failure(text) or (text.splitlines() or [""])[0][:300]
        raise BundleError(
            f"{model.name}: ONNX Runtime refuses this graph here", metadata={"cause": cause}
        ) from problem
    give_back_freed()
    return session
