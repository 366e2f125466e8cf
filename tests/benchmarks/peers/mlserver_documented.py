"""A peer: MLServer with ONNX Runtime, set up as its documentation does.

    python mlserver_documented.py MODEL.onnx SIDE GRPC_PORT HTTP_PORT [SIZE SECONDS]

A custom runtime of the shortest kind (https://docs.seldon.ai/mlserver/user-guide/custom). One
worker, the default (…/parallel-inference); adaptive batching off, the default
(…/adaptive-batching), or ``max_batch_size`` and ``max_batch_time`` as named. The session has ONNX
Runtime's defaults.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from mlserver import MLModel, MLServer
from mlserver.codecs import NumpyCodec
from mlserver.settings import ModelParameters, ModelSettings, Settings
from mlserver.types import InferenceRequest, InferenceResponse

sys.path.insert(0, str(Path(__file__).parent))

from pictures import normal_of


class Encoder(MLModel):
    async def load(self) -> bool:
        self._session = onnxruntime.InferenceSession(os.environ["PEER_MODEL"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        side = int(os.environ["PEER_SIDE"])
        pixels = np.stack([normal_of(one, side) for one in payload.inputs[0].data])
        (found,) = self._session.run(None, {"images": pixels})
        outputs = [NumpyCodec.encode_output("embeddings", found)]
        return InferenceResponse(model_name=self.name, outputs=outputs)


async def main() -> None:
    model, side, grpc_port, http_port, *batching = sys.argv[1:]
    os.environ.update(PEER_MODEL=model, PEER_SIDE=side)
    settings = Settings(
        host="127.0.0.1",
        http_port=int(http_port),
        grpc_port=int(grpc_port),
        grpc_max_message_length=64 << 20,  # bytes; the default refuses a picture of 12 MP
        metrics_port=0,  # any: several servers run
        metrics_dir=tempfile.mkdtemp(),
    )
    size, seconds = batching or ("0", "0")
    one = ModelSettings(
        name="clip",
        implementation=Encoder,
        max_batch_size=int(size),
        max_batch_time=float(seconds),
        parameters=ModelParameters(version="1"),
    )
    await MLServer(settings).start(models_settings=[one])


if __name__ == "__main__":
    asyncio.run(main())
