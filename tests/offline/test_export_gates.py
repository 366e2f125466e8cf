"""The figures that gate an export, on numbers small enough to check by hand; no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from imagesieve_server.core.errors import BundleError
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.encoders.bundle import Canary
from imagesieve_server.encoders.manifest import Precision, Storage
from imagesieve_server.offline.export import invariance, parity
from imagesieve_server.offline.export.canary import write_canary
from imagesieve_server.offline.export.rewrite import (
    broadcast_by_addition,
    notable_operators,
    operator_counts,
    refuse_unexpected,
    store_in_half,
)


def unit(*rows: tuple[float, ...]) -> Embeddings:
    array = np.array(rows, dtype=np.float64)
    return (array / np.linalg.norm(array, axis=1, keepdims=True)).astype(np.float32)


def test_parity_figures_by_hand() -> None:
    """Three pictures at right angles; the second is turned by 0.01 towards the third."""
    reference = unit((1, 0, 0), (0, 1, 0), (0, 0, 1))
    found = unit((1, 0, 0), (0, 1, 0.01), (0, 0, 1))
    report = parity.compare(reference=reference, found=found, prompts=unit((0, 0, 1)))
    assert report.pictures == 3
    assert report.delta_logit_median == pytest.approx(0, abs=1e-6)
    assert report.delta_logit_p99 == pytest.approx(100 * 0.01 * 0.98, rel=0.01)
    assert report.relative_error == pytest.approx(0.01 / np.sqrt(2), rel=0.01)
    assert report.cosine_min == pytest.approx(1 - 0.01**2 / 2, abs=1e-6)


def test_plain_cosine_alone_proves_nothing() -> None:
    """Pictures an untrained model can hardly tell apart: cosine .99999, yet every one is wrong."""
    reference = unit((1, 0.002, 0), (1, 0, 0.002), (1, 0.002, 0.002))
    found = reference[[1, 2, 0]]
    report = parity.compare(reference=reference, found=found, prompts=reference)
    assert report.cosine_min > 0.99999
    assert report.relative_error > 0.9
    with pytest.raises(BundleError, match="differs from the torch model"):
        parity.gate(report, precision=Precision.INT8, storage=Storage.FP32)


@pytest.mark.parametrize(
    ("turn", "precision", "storage", "passes"),
    [
        (1e-4, Precision.FP32, Storage.FP32, True),
        (1e-2, Precision.FP32, Storage.FP32, False),
        (1e-2, Precision.FP32, Storage.FP16, True),
        (1e-2, Precision.FP16, Storage.FP32, True),
        (0.2, Precision.FP16, Storage.FP32, False),
        (0.2, Precision.INT8, Storage.FP32, True),
        (1.0, Precision.INT8, Storage.FP32, False),
        (float("nan"), Precision.INT8, Storage.FP32, False),
    ],
)
def test_the_parity_gate(turn: float, precision: Precision, storage: Storage, passes: bool) -> None:
    reference = unit((1, 0, 0), (0, 1, 0))
    found = np.array([[1, 0, 0], unit((0, 1, turn))[0]], dtype=np.float32)
    report = parity.compare(reference=reference, found=found, prompts=reference)
    if passes:
        parity.gate(report, precision=precision, storage=storage)
    else:
        with pytest.raises(BundleError):
            parity.gate(report, precision=precision, storage=storage)


PICTURES = np.random.default_rng(0).integers(1, 200, (3, 4, 4, 3), dtype=np.uint8)
PROMPTS = unit((1, 0, 0), (0, 1, 0))


def independent(pixels: Pixels) -> Embeddings:
    means = pixels.reshape(len(pixels), -1, 3).mean(axis=1) + 1.0
    return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)


def one_range_per_batch(pixels: Pixels) -> Embeddings:
    """What dynamic quantisation does: the step depends on the largest value in the batch."""
    step = float(np.abs(independent(pixels)).max()) / 127
    return (np.round(independent(pixels) / step) * step).astype(np.float32)


def moved_by_bucket(pixels: Pixels) -> Embeddings:
    found = independent(pixels)
    found[:, 0] += np.float32(0.005 * len(pixels))
    return found


def test_an_encoder_that_minds_its_own_rows_passes() -> None:
    report = invariance.measure_invariance(
        independent, pictures=PICTURES, prompts=PROMPTS, buckets=(1, 2, 8)
    )
    assert report.same_bits_within_bucket
    assert report.delta_logit_across_buckets < 1e-3
    invariance.gate(report, precision=Precision.FP32)


def test_an_encoder_with_one_range_per_batch_is_refused() -> None:
    report = invariance.measure_invariance(
        one_range_per_batch, pictures=PICTURES, prompts=PROMPTS, buckets=(1, 2, 8)
    )
    assert not report.same_bits_within_bucket
    with pytest.raises(BundleError, match="what else is in the batch"):
        invariance.gate(report, precision=Precision.INT8)


def test_an_encoder_that_the_batch_size_moves_is_refused() -> None:
    report = invariance.measure_invariance(
        moved_by_bucket, pictures=PICTURES, prompts=PROMPTS, buckets=(1, 2)
    )
    assert report.same_bits_within_bucket
    assert report.delta_logit_across_buckets == pytest.approx(0.5, rel=1e-3)
    for precision in (Precision.FP32, Precision.INT8):
        with pytest.raises(BundleError, match="batch size moves a logit"):
            invariance.gate(report, precision=precision)


# --- rewrites ---------------------------------------------------------------------------------


def expanding_graph() -> onnx.ModelProto:
    """pixels [N, 2, 2, 3] → a class token [1, 1, 4096] for each row, as torch exports it."""
    nodes = [
        helper.make_node("Shape", ["pixels"], ["shape"], start=0, end=1),
        helper.make_node("Concat", ["shape", "rest"], ["target"], axis=0),
        helper.make_node("Expand", ["token", "target"], ["embeddings"]),
    ]
    token = np.random.default_rng(0).normal(size=(1, 1, 4096)).astype(np.float32)
    weights = {"rest": np.array([1, 1], dtype=np.int64), "token": token}
    graph = helper.make_graph(
        nodes,
        "expand",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 2, 2, 3])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", 1, 4096])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def run(proto: onnx.ModelProto, pixels: Pixels) -> Embeddings:
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"pixels": pixels})[0])


def test_expand_becomes_an_addition_with_the_same_result() -> None:
    before, after = expanding_graph(), broadcast_by_addition(expanding_graph(), "pixels")
    onnx.checker.check_model(after)
    counts = operator_counts(after)
    assert not {"Expand", "Shape", "Concat"} & set(counts)
    for rows in (1, 3):
        pixels = np.full((rows, 2, 2, 3), 255, dtype=np.uint8)
        assert np.array_equal(run(before, pixels), run(after, pixels))


def test_weights_stored_in_half() -> None:
    whole, half = expanding_graph(), store_in_half(expanding_graph())
    assert half.ByteSize() < 0.6 * whole.ByteSize()
    pixels = np.zeros((2, 2, 2, 3), dtype=np.uint8)
    rounded = run(whole, pixels).astype(np.float16).astype(np.float32)
    assert np.array_equal(run(half, pixels), rounded)


def test_a_weight_that_half_cannot_hold() -> None:
    proto = expanding_graph()
    token = next(i for i in proto.graph.initializer if i.name == "token")
    huge = numpy_helper.to_array(token).copy()
    huge[0, 0, 0] = 1e5
    token.CopyFrom(numpy_helper.from_array(huge, "token"))
    with pytest.raises(ValueError, match="too large"):
        store_in_half(proto)


def test_notable_operators_include_zeros() -> None:
    assert notable_operators(expanding_graph()) == {
        "Attention": 0,
        "Conv": 0,
        "LayerNormalization": 0,
        "Gelu": 0,
        "Expand": 1,
        "Shape": 1,
        "QuantizeLinear": 0,
    }


def test_shape_arithmetic_and_unfused_attention_are_refused() -> None:
    with pytest.raises(BundleError, match="1 Shape nodes"):
        refuse_unexpected(operator_counts(expanding_graph()))
    refuse_unexpected(operator_counts(broadcast_by_addition(expanding_graph(), "pixels")))
    with pytest.raises(BundleError, match="12 Softmax nodes"):
        refuse_unexpected({"Softmax": 12, "MatMul": 61})


def test_the_canary_file_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    canary = Canary(pixels=PICTURES, embeddings=independent(PICTURES))
    write_canary(tmp_path / "a.npz", canary)
    write_canary(tmp_path / "b.npz", canary)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as arrays:
        assert np.array_equal(arrays["pixels"], canary.pixels)
        assert np.array_equal(arrays["embeddings"], canary.embeddings)


@pytest.mark.torch  # for scikit-image, which comes with it
def test_photographs_are_many_and_the_sets_share_none() -> None:
    from imagesieve_server.offline.export import photographs

    pictures = photographs.parity_photographs()
    assert len(pictures) >= 12
    assert len({picture.size for picture in pictures}) >= 12
    assert {picture.mode for picture in pictures} == {"RGB"}
    calibration = photographs.calibration_photographs()
    assert len(calibration) == 32
    assert not set(photographs._PARITY) & set(photographs._CALIBRATION)
    again = photographs.calibration_photographs()
    assert all(np.array_equal(a, b) for a, b in zip(calibration, again, strict=True))


@pytest.mark.torch
def test_a_folder_of_pictures_to_calibrate_with(tmp_path: Path) -> None:
    from PIL import Image

    from imagesieve_server.offline.export.photographs import folder_photographs

    with pytest.raises(BundleError, match="no pictures"):
        folder_photographs(tmp_path)
    Image.new("L", (5, 7)).save(tmp_path / "a.png")
    (found,) = folder_photographs(tmp_path)
    assert (found.mode, found.size) == ("RGB", (5, 7))
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(BundleError, match=r"b\.png"):
        folder_photographs(tmp_path)
