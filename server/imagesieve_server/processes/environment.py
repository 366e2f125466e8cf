"""What a process of a server of several gets of the environment.

A front end gets all of it: passwords and keys of the database and of the bucket may be there. The
encoder process asks neither, so it gets what libraries that compute look for, and nothing else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final

from imagesieve_server.processes.orders import Part

_NAMES: Final = frozenset({"HOME", "LANG", "LANGUAGE", "PATH", "TEMP", "TMP", "TMPDIR", "TZ"})
_PREFIXES: Final = (
    # the interpreter, the loader, memory, words
    "PYTHON", "LD_", "DYLD_", "MALLOC_", "GLIBC_", "LC_", "XDG_",
    # threads and mathematics
    "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "TBB_", "DNNL_", "ONEDNN_",
    # the runtimes and what they run on
    "ORT_", "ONNXRUNTIME_", "OPENVINO_", "OV_", "CUDA_", "CUDNN_", "CUBLAS_", "NVIDIA_", "TF32_",
)  # fmt: skip


def environment_of(part: Part, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of one process of this server, whose own is ``environ``."""
    found = {
        name: value
        for name, value in environ.items()
        if part is not Part.ENCODER or name in _NAMES or name.startswith(_PREFIXES)
    }
    found["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return found
