"""What a session on the CUDA provider is given, and what is asked of it once it is open.

Knows the provider's options and the libraries it needs; refuses to know models and buffers.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from imagesieve_server.core.errors import BundleError

CUDA = "CUDAExecutionProvider"

SESSION_ENTRIES: Mapping[str, str] = {
    # Counting nodes proves nothing about where they run: refuse any that would run on the CPU.
    "session.disable_cpu_ep_fallback": "1",
    "session.record_ep_graph_assignment_info": "1",  # for `refuse_misplaced`
}

_OPTIONS: Mapping[str, str] = {
    # Exhaustive search costs about a second for every new input shape, DEFAULT is slow for good.
    # A patch convolution is a matrix product in our graphs, so only ResNets have any to tune.
    "cudnn_conv_algo_search": "HEURISTIC",
    # The largest bucket runs first, so the arena never needs more than it then has.
    "arena_extend_strategy": "kSameAsRequested",
    # TF32 has 10 mantissa bits: at λ = 100 that alone is a tenth of a logit.
    "use_tf32": "0",
}


def provider_options(*, graphs: bool) -> dict[str, str]:
    """Options of the provider. With ``graphs`` every run must give bound buffers."""
    return {**_OPTIONS, "enable_cuda_graph": "1" if graphs else "0"}


def load_libraries(ort: Any, *, driver: str = "libcuda.so.1") -> None:
    """Load the driver's library, and CUDA's and cuDNN's from their packages.

    The provider names them without a path, and a package's folder is not where the system looks.
    Raises BundleError for what does not load: the session would only say that it is on the CPU.
    """
    try:
        ctypes.CDLL(driver)
    except OSError:
        raise BundleError(f"no NVIDIA driver: {driver} does not load") from None
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # the library prints what it cannot load
        ort.preload_dlls()
    failed = [line for line in said.getvalue().splitlines() if line.startswith("Failed")]
    if failed:
        raise BundleError(
            "CUDA's libraries do not load", metadata={"cause": "; ".join(failed)[:300]}
        )


def cuda_failure(text: str) -> str:
    """What CUDA says in an error of the library, which also names functions, hosts and paths."""
    found = re.search(r"CUDA failure \d+: [^;\n]+", text)
    return found[0].strip() if found else ""


def refuse_misplaced(session: Any, provider: str) -> None:
    """Raise BundleError where a node of the session was given to another provider.

    The session must have been opened with ``SESSION_ENTRIES``.
    """
    elsewhere: Counter[str] = Counter()
    nodes = 0
    for part in session.get_provider_graph_assignment_info():
        for node in part.get_nodes():
            nodes += 1
            if part.ep_name != provider:
                elsewhere[f"{node.op_type} on {part.ep_name}"] += 1
    if elsewhere or not nodes:
        found = ", ".join(f"{count} {what}" for what, count in elsewhere.most_common(4))
        raise BundleError(f"not every node runs on {provider}: {found or 'the library names none'}")
