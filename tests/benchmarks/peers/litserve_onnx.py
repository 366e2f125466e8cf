"""A peer: LitServe with ONNX Runtime on our graph, dynamic batches, several workers.

    python litserve_onnx.py MODEL.onnx SIDE PORT WORKERS THREADS

Takes {"image": base64 of a JPEG} at /predict, as its documentation shows for pictures, answers
{"embedding": […]}. LitServe decodes a batch's requests one after the other; so that every core
decodes, requests are decoded where the batch is made, by as many threads as the session has.
"""

import base64
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import litserve as ls
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from pictures import pixels_of, session_of


class Encoder(ls.LitAPI):
    def setup(self, device: str) -> None:
        threads = int(os.environ["PEER_THREADS"])
        self._session = session_of(os.environ["PEER_MODEL"], threads)
        self._side = int(os.environ["PEER_SIDE"])
        self._decoders = ThreadPoolExecutor(max_workers=threads)

    def decode_request(self, request) -> Any:  # LitServe takes an annotation for a schema
        return base64.b64decode(request["image"])

    def batch(self, inputs: list[Any]) -> Any:
        return np.stack(list(self._decoders.map(lambda data: pixels_of(data, self._side), inputs)))

    def predict(self, pixels: Any) -> Any:
        return self._session.run(["embeddings"], {"pixels": pixels})[0]

    def unbatch(self, output: Any) -> Any:
        return list(output)

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"embedding": output.tolist()}


if __name__ == "__main__":
    model, side, port, workers, threads = sys.argv[1:]
    os.environ.update(PEER_MODEL=model, PEER_SIDE=side, PEER_THREADS=threads)
    api = Encoder(max_batch_size=8, batch_timeout=0.02)
    server = ls.LitServer(
        api, accelerator="cpu", workers_per_device=int(workers), timeout=120, fast_queue=True
    )
    server.run(
        host="127.0.0.1",
        port=int(port),
        generate_client_file=False,
        log_level="error",
        timeout_keep_alive=600,  # seconds; a caller may wait that long for its turn
    )
