#!/bin/sh
# Writes the Python code of proto/ into client/, mirroring the proto path.
# Usage: proto/generate.sh PYTHON OUT   (PYTHON has grpcio-tools 1.74 and mypy-protobuf)
#
# grpcio-tools is pinned on purpose: what 1.74 makes runs on every protobuf from 6.31.1 to 7.x,
# so users need not have the newest one.
set -eu
python=$1
out=$2
here=$(cd "$(dirname "$0")" && pwd)
PATH="$(dirname "$python"):$PATH" "$python" -m grpc_tools.protoc \
    --proto_path="$here" \
    --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" --mypy_grpc_out="$out" \
    "$here"/imagesieve/v1/verdict.proto "$here"/imagesieve/v1/moderation.proto \
    "$here"/imagesieve/v1/review.proto "$here"/imagesieve/v1/policy.proto "$here"/imagesieve/v1/quality.proto
rm -f "$out"/imagesieve/v1/verdict_pb2_grpc.py "$out"/imagesieve/v1/verdict_pb2_grpc.pyi  # no service in it
