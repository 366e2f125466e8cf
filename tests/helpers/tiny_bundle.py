"""A real bundle of a few kilobytes, written with ``onnx.helper``: no torch, no network.

Its image encoder takes the mean colours of a picture's four quarters through a fixed projection
to a unit vector; its text encoder averages a fixed token table. Both run on ONNX Runtime like any
other bundle's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

from imagesieve_server.core.views import Pixels, Preprocessing
from imagesieve_server.encoders import manifest as manifests
from imagesieve_server.encoders.bundle import Bundle, Canary, describe_file, load_bundle
from imagesieve_server.encoders.manifest import (
    Activation,
    Manifest,
    Precision,
    Pretrained,
    Storage,
    TextCleaning,
    TextSpec,
    TokenizerKind,
    WeightSource,
)
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions, open_session
from imagesieve_server.offline.export.canary import write_canary

SIZE = 8  # px
WIDTH = 12  # embedding size
CONTEXT = 16  # tokens
_OPSET = 21
_SPECIALS = ("<start_of_text>", "<end_of_text>")


def pictures(count: int, *, seed: int = 0, side: int = SIZE, first_red: int = 1) -> Pixels:
    """Pictures by chance, others for each count and seed; only the red of their first pixels is
    given, by which a test may know them again."""
    chance = np.random.default_rng((seed, count))
    pixels = chance.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    pixels[:, 0, 0, 0] = first_red
    return pixels


def write_tiny_bundle(folder: Path) -> Bundle:
    """Write a bundle to ``folder`` (which must not exist) and load it."""
    folder.mkdir(parents=True)
    onnx.save(image_graph(), folder / manifests.IMAGE_ENCODER)
    vocabulary = _write_tokenizer(folder / manifests.TOKENIZER)
    onnx.save(_text_graph(vocabulary), folder / manifests.TEXT_ENCODER)
    pixels = np.random.default_rng(3).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)
    session = open_session(
        folder / manifests.IMAGE_ENCODER, options=RuntimeOptions(provider=Provider.CPU, threads=1)
    ).session
    (embeddings,) = session.run(["embeddings"], {"pixels": pixels})
    write_canary(folder / manifests.CANARY, Canary(pixels=pixels, embeddings=embeddings))
    write_manifest(folder, vocabulary=vocabulary)
    return load_bundle(folder)


def tiny_encoder(bundle: Bundle) -> OnnxImageEncoder:
    """Its image encoder on one thread of the CPU, in batches of 1, 2, 4 and 8."""
    options = RuntimeOptions(provider=Provider.CPU, threads=1)
    return OnnxImageEncoder(bundle=bundle, options=options, buckets=(1, 2, 4, 8))


def write_manifest(
    folder: Path, *, vocabulary: int = 514, precision: Precision = Precision.FP32
) -> None:
    """Write ``bundle.json`` for the files that are there, with their present hashes."""
    files = sorted(p for p in folder.iterdir() if p.name != manifests.MANIFEST_NAME)
    manifest = Manifest(
        format_version=manifests.FORMAT_VERSION,
        name="tiny",
        architecture="tiny",
        pretrained=Pretrained(source=WeightSource.RANDOM, name="seed 0"),
        embedding_size=WIDTH,
        preprocessing=Preprocessing(size=SIZE, resize="squash"),
        text=TextSpec(
            tokenizer=TokenizerKind.CLIP_BPE,
            cleaning=TextCleaning.LOWER,
            context_length=CONTEXT,
            start_token=vocabulary - 2,
            end_token=vocabulary - 1,
        ),
        logit_scale=100.0,
        logit_bias=0.0,
        activation=Activation.SOFTMAX,
        precision=precision,
        storage=Storage.FP32,
        opset=_OPSET,
        operators={
            "Attention": 0,
            "Conv": 0,
            "LayerNormalization": 0,
            "Gelu": 0,
            "Expand": 0,
            "Shape": 0,
            "QuantizeLinear": 0,
        },
        calibration_set="none of these" if precision is Precision.INT8 else None,
        parity=None,
        invariance=None,
        licence="Apache-2.0",
        attribution=(),
        files={path.name: describe_file(path) for path in files},
    )
    (folder / manifests.MANIFEST_NAME).write_bytes(manifests.render(manifest))


def image_graph() -> onnx.ModelProto:
    """uint8 [N, 8, 8, 3] to float32 [N, 12], unit length."""
    half = SIZE // 2
    nodes = [
        helper.make_node("Cast", ["pixels"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["wide", "quarters_shape"], ["quarters"]),
        helper.make_node("ReduceMean", ["quarters", "inner_axes"], ["means"], keepdims=0),
        helper.make_node("Reshape", ["means", "flat_shape"], ["flat"]),
        helper.make_node("Sub", ["flat", "grey"], ["centred"]),
        helper.make_node("MatMul", ["centred", "projection"], ["features"]),
        *_unit_nodes(),
    ]
    chance = np.random.default_rng(0)
    weights = {
        "quarters_shape": np.array([-1, 2, half, 2, half, 3], dtype=np.int64),
        "inner_axes": np.array([2, 4], dtype=np.int64),
        "flat_shape": np.array([-1, 12], dtype=np.int64),
        # Not a round grey, so that no picture is projected to the zero vector.
        "grey": np.full(12, 127.3, dtype=np.float32),
        "projection": chance.normal(size=(12, WIDTH)).astype(np.float32),
        "axis": np.array([1], dtype=np.int64),
    }
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", SIZE, SIZE, 3])
    return _model(nodes, pixels, weights)


def _text_graph(vocabulary: int) -> onnx.ModelProto:
    """int64 [N, 16] to float32 [N, 12], unit length; the order of words does not matter."""
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["vectors"]),
        helper.make_node("ReduceMean", ["vectors", "axis"], ["features"], keepdims=0),
        *_unit_nodes(),
    ]
    weights = {
        "table": np.random.default_rng(1).normal(size=(vocabulary, WIDTH)).astype(np.float32),
        "axis": np.array([1], dtype=np.int64),
    }
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["N", CONTEXT])
    return _model(nodes, tokens, weights)


def _unit_nodes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceL2", ["features", "axis"], ["length"], keepdims=1),
        helper.make_node("Div", ["features", "length"], ["embeddings"]),
    ]


def _model(
    nodes: list[onnx.NodeProto], given: onnx.ValueInfoProto, weights: dict[str, np.ndarray]
) -> onnx.ModelProto:
    found = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", WIDTH])
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "tiny", [given], [found], initializers)
    opset = helper.make_opsetid("", _OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10)


def _write_tokenizer(path: Path) -> int:
    """A byte-level BPE without merges; the size of its vocabulary."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(letter + "</w>" for letter in letters), *_SPECIALS]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.save(str(path))
    return len(vocabulary)
