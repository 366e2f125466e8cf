"""A peer: LitServe with ONNX Runtime, set up as its documentation does.

    python litserve_documented.py MODEL.onnx SIDE PORT

One worker a device, the default; ``max_batch_size=8, batch_timeout=0.1`` as the batching example of
``LitAPI``'s own documentation has them (https://lightning.ai/docs/litserve/api-reference/litapi);
a request is decoded in ``decode_request``, arrays are batched and taken apart by LitServe itself
(https://lightning.ai/docs/litserve/features/batching). The session has ONNX Runtime's defaults.
"""

import base64
import os
import sys
from pathlib import Path
from typing import Any

import litserve as ls
import onnxruntime

sys.path.insert(0, str(Path(__file__).parent))

from pictures import normal_of


class Encoder(ls.LitAPI):
    def setup(self, device: str) -> None:
        self._session = onnxruntime.InferenceSession(os.environ["PEER_MODEL"])

    def decode_request(self, request) -> Any:  # LitServe takes an annotation for a schema
        return normal_of(base64.b64decode(request["image"]), int(os.environ["PEER_SIDE"]))

    def predict(self, pixels: Any) -> Any:
        return self._session.run(None, {"images": pixels})[0]

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"embedding": output.tolist()}


if __name__ == "__main__":
    os.environ["PEER_MODEL"], os.environ["PEER_SIDE"], port = sys.argv[1:]
    api = Encoder(max_batch_size=8, batch_timeout=0.1)
    server = ls.LitServer(api, accelerator="auto", timeout=120)  # seconds; the default is 30
    server.run(host="127.0.0.1", port=int(port), generate_client_file=False)
