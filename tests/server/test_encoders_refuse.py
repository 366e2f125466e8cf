"""What the encoders refuse: graphs that fail or answer oddly, a library that is not there."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from helpers.tiny_bundle import CONTEXT, SIZE, WIDTH, write_manifest, write_tiny_bundle
from imagesieve_server.core.errors import BundleError, EncoderUnavailable, MissingExtra
from imagesieve_server.encoders import manifest as manifests
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions, library
from imagesieve_server.encoders.text import OnnxTextEncoder

OPTIONS = RuntimeOptions(provider=Provider.CPU, threads=1)
PIXELS = np.zeros((1, SIZE, SIZE, 3), dtype=np.uint8)


def constant_graph(entry: str, shape: tuple[int, ...], width: int, value: float) -> onnx.ModelProto:
    """A graph whose every embedding is ``value`` in each of ``width`` places."""
    kind = TensorProto.UINT8 if entry == "pixels" else TensorProto.INT64
    cells = int(np.prod(shape))
    constants = {
        "flat": np.array([-1, cells], dtype=np.int64),
        "zeros": np.zeros((cells, width), dtype=np.float32),
        "value": np.array(value, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Cast", [entry], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["numbers", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "zeros"], ["nothing"]),
        helper.make_node("Add", ["nothing", "value"], ["embeddings"]),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info(entry, kind, ["N", *shape])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", width])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def image_encoder(folder: Path, graph: onnx.ModelProto) -> OnnxImageEncoder:
    write_tiny_bundle(folder)
    onnx.save(graph, folder / manifests.IMAGE_ENCODER)
    write_manifest(folder)
    return OnnxImageEncoder(bundle=load_bundle(folder), options=OPTIONS)


def text_encoder(folder: Path, graph: onnx.ModelProto) -> OnnxTextEncoder:
    write_tiny_bundle(folder)
    onnx.save(graph, folder / manifests.TEXT_ENCODER)
    write_manifest(folder)
    return OnnxTextEncoder(bundle=load_bundle(folder), threads=1)


def test_an_image_graph_with_another_input_fails_its_batch(tmp_path: Path) -> None:
    graph = constant_graph("tokens", (CONTEXT,), WIDTH, 1.0)
    encoder = image_encoder(tmp_path / "b", graph)
    with pytest.raises(EncoderUnavailable, match="failed on a batch"):
        encoder.run(PIXELS)


def test_embeddings_of_another_width_are_no_answer(tmp_path: Path) -> None:
    graph = constant_graph("pixels", (SIZE, SIZE, 3), WIDTH + 1, 1.0)
    encoder = image_encoder(tmp_path / "b", graph)
    with pytest.raises(EncoderUnavailable, match="another shape"):
        encoder.run(PIXELS)


@pytest.mark.parametrize("buckets", [(), (0,), (4, -1)])
def test_buckets_are_positive(tmp_path: Path, buckets: tuple[int, ...]) -> None:
    bundle = write_tiny_bundle(tmp_path / "b")
    with pytest.raises(ValueError, match="positive"):
        OnnxImageEncoder(bundle=bundle, options=OPTIONS, buckets=buckets)


@pytest.mark.parametrize(
    ("graph", "problem"),
    [
        (constant_graph("pixels", (SIZE, SIZE, 3), WIDTH, 1.0), "failed on a text"),
        (constant_graph("tokens", (CONTEXT,), WIDTH + 1, 1.0), "another shape"),
        (constant_graph("tokens", (CONTEXT,), WIDTH, 2.0), "not a unit vector"),
        (constant_graph("tokens", (CONTEXT,), WIDTH, float("nan")), "not a unit vector"),
    ],
    ids=["input", "width", "length", "nan"],
)
def test_a_text_graph_that_answers_oddly_compiles_no_policy(
    tmp_path: Path, graph: onnx.ModelProto, problem: str
) -> None:
    encoder = text_encoder(tmp_path / "b", graph)
    with pytest.raises(BundleError, match=problem):
        encoder.encode(["a word"])


def test_without_onnx_runtime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"imagesieve\[cpu\]"):
        library()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda _: [], "expected an object"),
        (lambda raw: {**raw, "text": []}, r"\.text: expected an object"),
        (
            lambda raw: {**raw, "text": {**raw["text"], "context_length": 2}},
            r"\.text: context_length must be at least 3",
        ),
    ],
    ids=["whole", "part", "value"],
)
def test_a_manifest_of_another_form_is_refused_with_the_place(
    tmp_path: Path, change: Callable[[Any], Any], problem: str
) -> None:
    folder = tmp_path / "b"
    write_tiny_bundle(folder)
    raw = json.loads((folder / manifests.MANIFEST_NAME).read_bytes())
    with pytest.raises(BundleError, match=problem):
        manifests.parse(json.dumps(change(raw)).encode())
