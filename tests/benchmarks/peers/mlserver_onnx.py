"""A peer: MLServer with ONNX Runtime on our graph, its adaptive batching, several workers.

    python mlserver_onnx.py MODEL.onnx SIDE GRPC_PORT HTTP_PORT WORKERS THREADS

A custom runtime, as MLServer's documentation shows: a BYTES tensor of JPEGs in, FP32 embeddings
out, over gRPC. The next batch is decoded while one is in the encoder.
"""

from __future__ import annotations

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from mlserver import MLModel, MLServer
from mlserver.codecs import NumpyCodec
from mlserver.settings import ModelParameters, ModelSettings, Settings
from mlserver.types import InferenceRequest, InferenceResponse

sys.path.insert(0, str(Path(__file__).parent))

from pictures import pixels_of, session_of

NAME = "clip"


class Encoder(MLModel):
    async def load(self) -> bool:
        threads = int(os.environ["PEER_THREADS"])
        self._session = session_of(os.environ["PEER_MODEL"], threads)
        self._side = int(os.environ["PEER_SIDE"])
        self._decoders = ThreadPoolExecutor(max_workers=threads)
        self._runner = ThreadPoolExecutor(max_workers=1)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        loop = asyncio.get_running_loop()
        pictures = list(payload.inputs[0].data)
        decoded = await asyncio.gather(
            *(loop.run_in_executor(self._decoders, pixels_of, p, self._side) for p in pictures)
        )
        (found,) = await loop.run_in_executor(
            self._runner, self._session.run, ["embeddings"], {"pixels": np.stack(decoded)}
        )
        outputs = [NumpyCodec.encode_output("embeddings", found)]
        return InferenceResponse(model_name=self.name, outputs=outputs)


async def main() -> None:
    model, side, grpc_port, http_port, workers, threads = sys.argv[1:]
    os.environ.update(PEER_MODEL=model, PEER_SIDE=side, PEER_THREADS=threads)
    settings = Settings(
        debug=False,
        host="127.0.0.1",
        http_port=int(http_port),
        grpc_port=int(grpc_port),
        grpc_max_message_length=64 << 20,
        parallel_workers=int(workers),
        metrics_endpoint=None,
    )
    one = ModelSettings(
        name=NAME,
        implementation=Encoder,
        max_batch_size=8,
        max_batch_time=0.02,
        parameters=ModelParameters(version="1"),
    )
    await MLServer(settings).start(models_settings=[one])


if __name__ == "__main__":
    asyncio.run(main())
