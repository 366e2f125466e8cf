"""A peer: grpc.aio and open_clip in torch, one picture a call, the way a first version is written.

    python plain_torch.py ARCH

Prints its port. Takes a JPEG's bytes, answers the embedding's.
"""

from __future__ import annotations

import asyncio
import io
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import open_clip
import torch
from PIL import Image

METHOD = "/peer.Encoder/Encode"


class Peer(grpc.GenericRpcHandler):
    def __init__(self, arch: str) -> None:
        torch.manual_seed(0)
        self._model, _, self._transform = open_clip.create_model_and_transforms(arch)
        self._model.eval()
        self._pool = ThreadPoolExecutor(max_workers=1)  # torch takes every core by itself

    def service(self, handler_call_details):
        return grpc.unary_unary_rpc_method_handler(self._encode)

    async def _encode(self, data: bytes, context: object) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.embed, data)

    def embed(self, data: bytes) -> bytes:
        with Image.open(io.BytesIO(data)) as image, torch.no_grad():
            batch = self._transform(image).unsqueeze(0)
            return self._model.encode_image(batch, normalize=True)[0].numpy().tobytes()


async def main() -> None:
    peer = Peer(sys.argv[1])
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 << 20)])
    server.add_generic_rpc_handlers((peer,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
