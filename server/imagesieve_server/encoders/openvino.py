"""The image encoder on OpenVINO, in bfloat16, on processors that compute it.

Knows the library, its options and one compiled model; refuses to know callers and threads. The
graph is the bundle's own: what is float32 in it is computed in bfloat16, what is int8 stays int8.
Not safe for use by two threads at once: the batcher owns it.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from imagesieve_server.core.errors import BundleError, ConfigError
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.encoders.bucketed import BucketedEncoder
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.manifest import Precision
from imagesieve_server.encoders.onnx import DEFAULT_BUCKETS
from imagesieve_server.encoders.runtime import RuntimeOptions
from imagesieve_server.extras import need
from imagesieve_server.usable_cores import fewer_cores

OPENVINO = "OpenVINO"
"""What the encoder's spec names as provider."""

_DEVICE = "CPU"
_BFLOAT16_TOLERANCE = 5e-2
"""Of a canary: bfloat16 has 8 bits of mantissa. As int8's."""


class OpenVinoImageEncoder(BucketedEncoder):
    """One open image encoder."""

    def __init__(
        self,
        *,
        bundle: Bundle,
        options: RuntimeOptions,
        buckets: tuple[int, ...] = DEFAULT_BUCKETS,
    ) -> None:
        """Compile the model.

        Raises MissingExtra, ConfigError where the processor computes no bfloat16, and
        BundleError where the library refuses the graph.
        """
        core = library().Core()
        refuse_without_bfloat16(core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES"))
        quantised = bundle.manifest.precision is Precision.INT8
        super().__init__(
            bundle=bundle,
            buckets=buckets,
            provider=OPENVINO,
            run_bucket=self._run_padded,
            precision="int8" if quantised else "bf16",
            canary_tolerance=_BFLOAT16_TOLERANCE,
        )
        try:
            # The first dimension stays free: a model of its own for every bucket would hold the
            # weights once more.
            compiled = core.compile_model(bundle.image_encoder, _DEVICE, _properties(options))
            self._request = compiled.create_infer_request()
        except RuntimeError as problem:
            raise BundleError(
                f"{bundle.image_encoder.name}: OpenVINO refuses this graph here",
                metadata={"cause": (str(problem).strip().splitlines() or [""])[-1][:300]},
            ) from problem

    def _run_padded(self, pixels: Pixels, bucket: int) -> Embeddings:
        if len(pixels) < bucket:
            padded = np.zeros((bucket, *pixels.shape[1:]), dtype=np.uint8)
            padded[: len(pixels)] = pixels
            pixels = padded
        found = self._request.infer({"pixels": np.ascontiguousarray(pixels)})
        # A copy: the next run writes over the request's own output.
        return np.array(found["embeddings"], dtype=np.float32)


def library() -> Any:
    """The OpenVINO module. Raises MissingExtra."""
    # Importing the package reports the import to its makers, in this part, which it does without.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]  # "not there"
    return need("openvino")


def refuse_without_bfloat16(capabilities: list[str]) -> None:
    """Raise ConfigError where ``capabilities``, the library's list, has no bfloat16."""
    if "BF16" not in capabilities:
        raise ConfigError(
            "provider 'openvino' needs a processor that computes bfloat16 (avx512_bf16 or "
            f"amx_bf16 among its flags), and this one offers {', '.join(sorted(capabilities))}: "
            "set provider to 'cpu'; a bundle in int8 is faster there than in fp32"
        )


def _properties(options: RuntimeOptions) -> dict[str, Any]:
    chosen = {
        "INFERENCE_PRECISION_HINT": "bf16",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,  # one batch at a time: the batcher makes it as large as it pays
        "ENABLE_CPU_PINNING": False,  # decode workers need the same cores
    }
    threads = options.threads or fewer_cores()
    return {**chosen, "INFERENCE_NUM_THREADS": threads} if threads else chosen
