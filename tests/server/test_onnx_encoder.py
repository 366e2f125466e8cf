"""The image encoder on ONNX Runtime: providers, buckets, sound rows, canary."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from helpers.tiny_bundle import (
    SIZE,
    WIDTH,
    image_graph,
    pictures,
    write_manifest,
    write_tiny_bundle,
)
from imagesieve_server.core.errors import (
    BundleError,
    ConfigError,
    EncoderUnavailable,
    MissingExtra,
)
from imagesieve_server.core.views import Pixels
from imagesieve_server.encoders.bundle import Bundle, load_bundle
from imagesieve_server.encoders.cuda_session import CUDA
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import (
    CPU,
    Provider,
    RuntimeOptions,
    open_session,
    refuse_two_runtimes,
)

OPTIONS = RuntimeOptions(provider=Provider.CPU, threads=1)
no_cuda = pytest.mark.skipif(
    CUDA in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA"
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def encoder(bundle: Bundle) -> OnnxImageEncoder:
    return OnnxImageEncoder(bundle=bundle, options=OPTIONS, buckets=(1, 2, 4))


def spoil_graph(bundle: Bundle, target: Path, change: str) -> Bundle:
    """A copy of the bundle whose graph divides by zero, or has another projection."""
    shutil.copytree(bundle.folder, target)
    graph = image_graph()
    weights = {init.name: init for init in graph.graph.initializer}
    projection = numpy_helper.to_array(weights["projection"]).copy()
    projection = projection * 0 if change == "zero" else projection[::-1]
    weights["projection"].CopyFrom(
        numpy_helper.from_array(np.ascontiguousarray(projection), "projection")
    )
    onnx.save(graph, target / "image_encoder.onnx")
    write_manifest(target)
    return load_bundle(target)


def test_embeddings_are_what_the_graph_says(encoder: OnnxImageEncoder) -> None:
    pixels = pictures(3)
    half = SIZE // 2
    quarters = pixels.astype(np.float64).reshape(3, 2, half, 2, half, 3).mean(axis=(2, 4))
    weights = {i.name: numpy_helper.to_array(i) for i in image_graph().graph.initializer}
    features = (quarters.reshape(3, 12) - weights["grey"]) @ weights["projection"]
    expected = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert encoder.run(pixels) == pytest.approx(expected, abs=1e-5)


def test_the_spec_names_bundle_and_provider(encoder: OnnxImageEncoder, bundle: Bundle) -> None:
    spec = encoder.spec
    assert (spec.fingerprint, spec.provider) == (bundle.fingerprint, CPU)
    assert (spec.embedding_size, spec.logit_scale, spec.precision) == (WIDTH, 100.0, "fp32")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 9])
def test_any_number_of_rows_in_order(encoder: OnnxImageEncoder, count: int) -> None:
    """Padding and splitting are invisible: each row is what it is alone."""
    pixels = pictures(count)
    found = encoder.run(pixels)
    assert found.shape == (count, WIDTH)
    assert found.dtype == np.float32
    for row, picture in enumerate(pixels):
        assert found[row] == pytest.approx(encoder.run(picture[np.newaxis])[0], abs=1e-6)


def test_warm_runs_every_bucket(encoder: OnnxImageEncoder) -> None:
    seconds = encoder.warm()
    assert sorted(seconds) == [1, 2, 4]
    assert all(value > 0 for value in seconds.values())


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, SIZE, SIZE, 3), dtype=np.float32),
        np.zeros((1, SIZE + 1, SIZE, 3), dtype=np.uint8),
        np.zeros((1, 3, SIZE, SIZE), dtype=np.uint8),
        np.zeros((SIZE, SIZE, 3), dtype=np.uint8),
    ],
)
def test_other_pixels_are_refused(encoder: OnnxImageEncoder, pixels: Pixels) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        encoder.run(pixels)


def test_the_canary_passes_where_the_bundle_was_made(encoder: OnnxImageEncoder) -> None:
    encoder.check_canary()


def test_a_graph_that_computes_something_else_fails_its_canary(
    bundle: Bundle, tmp_path: Path
) -> None:
    other = OnnxImageEncoder(
        bundle=spoil_graph(bundle, tmp_path / "other", "reverse"), options=OPTIONS
    )
    with pytest.raises(EncoderUnavailable, match="canary") as caught:
        other.check_canary()
    assert float(caught.value.metadata["distance"]) > 0.1


def test_rows_that_are_not_unit_vectors_become_nan(bundle: Bundle, tmp_path: Path) -> None:
    """0 ÷ 0 in the graph: the row is NaN, never a vector that could be scored, and so is the
    canary."""
    sick = OnnxImageEncoder(bundle=spoil_graph(bundle, tmp_path / "sick", "zero"), options=OPTIONS)
    assert np.isnan(sick.run(pictures(2))).all()
    with pytest.raises(EncoderUnavailable):
        sick.check_canary()


def test_a_row_of_another_length_is_nan_and_its_neighbours_stand(
    bundle: Bundle, tmp_path: Path
) -> None:
    """A graph that forgets to normalise dark pictures."""
    folder = tmp_path / "long"
    shutil.copytree(bundle.folder, folder)
    proto = image_graph()
    graph = proto.graph
    (divide,) = (node for node in graph.node if node.op_type == "Div")
    divide.output[0] = "unit"
    # Doubled where the first pixel is black.
    graph.node.extend(
        [
            helper.make_node("Slice", ["quarters", "s0", "s1", "sx"], ["corner"]),
            helper.make_node("ReduceMax", ["corner", "inner"], ["brightest"], keepdims=0),
            helper.make_node("Less", ["brightest", "one"], ["dark"]),
            helper.make_node("Where", ["dark", "two", "one"], ["factor"]),
            helper.make_node("Mul", ["unit", "factor"], ["embeddings"]),
        ]
    )
    values = {
        "s0": np.zeros(5, dtype=np.int64),
        "s1": np.ones(5, dtype=np.int64),
        "sx": np.arange(1, 6, dtype=np.int64),
        "inner": np.array([1, 2, 3, 4], dtype=np.int64),
        "one": np.array(1, dtype=np.float32),
        "two": np.array(2, dtype=np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in values.items())
    onnx.save(proto, folder / "image_encoder.onnx")
    write_manifest(folder)
    encoder = OnnxImageEncoder(bundle=load_bundle(folder), options=OPTIONS)
    pixels = np.maximum(pictures(3), 1)
    pixels[1, 0, 0] = 0
    found = encoder.run(pixels)
    assert np.isnan(found[1]).all()
    assert np.linalg.norm(found[[0, 2]], axis=1) == pytest.approx([1, 1], abs=1e-5)


def test_auto_takes_the_cpu_where_there_is_nothing_else(bundle: Bundle) -> None:
    opened = open_session(bundle.image_encoder, options=RuntimeOptions(threads=1))
    assert opened.provider == opened.session.get_providers()[0]


@no_cuda
def test_a_provider_that_was_asked_for_and_is_missing_stops_the_start(bundle: Bundle) -> None:
    with pytest.raises(MissingExtra, match=r"imagesieve\[gpu\]"):
        open_session(bundle.image_encoder, options=RuntimeOptions(provider=Provider.CUDA))


def test_a_file_that_is_no_graph(tmp_path: Path) -> None:
    (tmp_path / "image_encoder.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match="refuses this graph"):
        open_session(tmp_path / "image_encoder.onnx", options=OPTIONS)


def test_two_runtimes_are_refused() -> None:
    refuse_two_runtimes({"onnxruntime", "numpy"})
    refuse_two_runtimes({"onnxruntime-gpu"})
    with pytest.raises(ConfigError, match="onnxruntime and onnxruntime-gpu"):
        refuse_two_runtimes({"onnxruntime-gpu", "onnxruntime"})


def test_this_environment_has_one_runtime() -> None:
    installed = {(d.metadata["Name"] or "").lower() for d in importlib.metadata.distributions()}
    assert installed & {"onnxruntime", "onnxruntime-gpu"}
    refuse_two_runtimes()
