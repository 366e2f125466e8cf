"""The least that a gRPC server under asyncio can do: take bytes, answer bytes.

Two methods: one answers with what it got, one with a few bytes. Prints its port and runs until
its input ends.
"""

from __future__ import annotations

import asyncio
import sys

import grpc

ECHO = "/imagesieve.bench.Bare/Echo"
TAKE = "/imagesieve.bench.Bare/Take"
ANSWER_BYTES = 1500  # about what a verdict of eight categories has
_LIMIT = 64 << 20


class Bare(grpc.GenericRpcHandler):
    """Both methods, without any message type."""

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        methods = {ECHO: _echo, TAKE: _take}
        method = methods.get(handler_call_details.method)
        return grpc.unary_unary_rpc_method_handler(method) if method else None


async def _echo(data: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    del context
    return data


async def _take(data: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    del data, context
    return bytes(ANSWER_BYTES)


async def main() -> None:
    options = [
        ("grpc.max_receive_message_length", _LIMIT),
        ("grpc.max_send_message_length", _LIMIT),
    ]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((Bare(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until whoever started it goes
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(main())
