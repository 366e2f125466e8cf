"""Every method of the contract and of the two standard services, from their descriptors."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from imagesieve import v1
from imagesieve_server.grpc_api.server import SERVICE_NAMES


def _methods() -> dict[str, MethodDescriptor]:
    names = [module.name for module in pkgutil.iter_modules(v1.__path__)]
    ours = [importlib.import_module(f"imagesieve.v1.{n}") for n in names if n.endswith("_pb2")]
    return {
        f"/{service.full_name}/{method.name}": method
        for module in (*ours, health_pb2, reflection_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if module in ours or service.full_name in SERVICE_NAMES
    }


METHODS = _methods()
"""By gRPC path."""


def request_of(path: str, **fields: Any) -> Any:
    """A message that the method takes."""
    return message_factory.GetMessageClass(METHODS[path].input_type)(**fields)


def call(
    channel: grpc.aio.Channel, path: str, request: Message | None = None, **settings: Any
) -> Any:
    """Any method with one message, an empty one by default; awaited for its first answer."""
    method = METHODS[path]
    sent = request_of(path) if request is None else request
    shape = ("stream_" if method.client_streaming else "unary_") + (
        "stream" if method.server_streaming else "unary"
    )
    make = getattr(channel, shape)(
        path,
        request_serializer=type(sent).SerializeToString,
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    begun = make(iter([sent]) if method.client_streaming else sent, timeout=20, **settings)
    return begun.read() if method.server_streaming else begun
