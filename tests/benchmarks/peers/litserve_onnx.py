"""A peer: LitServe with ONNX Runtime, batches of eight, as its documentation shows.

    python litserve_onnx.py MODEL.onnx SIDE PORT

Takes {"image": base64 of a JPEG} at /predict, answers {"embedding": […]}. It runs the same graph
as we do, with the same seeded weights; pictures are decoded and resized by Pillow in the server's
decoding step, which LitServe runs in the worker, in several threads for a batch.
"""

import base64
import io
import os
import sys
from typing import Any

import litserve as ls
import numpy as np
from PIL import Image


class Encoder(ls.LitAPI):
    def setup(self, device: str) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(
            os.environ["PEER_MODEL"], providers=["CPUExecutionProvider"]
        )
        self._side = int(os.environ["PEER_SIDE"])

    def decode_request(self, request) -> Any:  # LitServe takes an annotation for a schema
        with Image.open(io.BytesIO(base64.b64decode(request["image"]))) as image:
            rgb = image.convert("RGB")
        side, factor = self._side, self._side / min(rgb.size)
        size = tuple(max(side, int(n * factor)) for n in rgb.size)
        resized = rgb.resize(size, Image.Resampling.BICUBIC)
        left, upper = (size[0] - side) // 2, (size[1] - side) // 2
        return np.asarray(resized.crop((left, upper, left + side, upper + side)))

    def batch(self, inputs: list[Any]) -> Any:
        return np.stack(inputs)

    def predict(self, pixels: Any) -> Any:
        return self._session.run(["embeddings"], {"pixels": pixels})[0]

    def unbatch(self, output: Any) -> Any:
        return list(output)

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"embedding": output.tolist()}


if __name__ == "__main__":
    model, side, port = sys.argv[1:]
    os.environ.update(PEER_MODEL=model, PEER_SIDE=side)
    api = Encoder(max_batch_size=8, batch_timeout=0.02)
    server = ls.LitServer(api, accelerator="cpu", timeout=120)
    server.run(host="127.0.0.1", port=int(port), generate_client_file=False, log_level="error")
