"""What every runtime of the image encoder promises: the same rows whatever is beside them, sound
rows or NaN, a canary, typed refusals. One suite over ONNX Runtime and OpenVINO."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from helpers.tiny_bundle import (
    SIZE,
    WIDTH,
    image_graph,
    pictures,
    write_manifest,
    write_tiny_bundle,
)
from imagesieve_server.core.errors import BundleError, ConfigError, EncoderUnavailable, MissingExtra
from imagesieve_server.demo_data import DEMO_BUNDLE
from imagesieve_server.encoders import openvino
from imagesieve_server.encoders.bucketed import BucketedEncoder
from imagesieve_server.encoders.bundle import Bundle, load_bundle
from imagesieve_server.encoders.manifest import Precision
from imagesieve_server.encoders.opening import (
    ServingOptions,
    library_of,
    open_encoder,
    open_encoders,
)
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.offline.export import invariance, parity
from imagesieve_server.offline.export.verify import Outcome, verify_bundle

BUCKETS = (1, 2, 4)
only_openvino = pytest.mark.openvino


@pytest.fixture(
    params=[Provider.CPU, pytest.param(Provider.OPENVINO, marks=only_openvino)], scope="module"
)
def options(request: pytest.FixtureRequest) -> RuntimeOptions:
    return RuntimeOptions(provider=request.param, threads=1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def encoder(tiny: Bundle, options: RuntimeOptions) -> BucketedEncoder:
    return open_encoder(tiny, options, buckets=BUCKETS)


@pytest.fixture(scope="module")
def demo(options: RuntimeOptions) -> BucketedEncoder:
    """A trained ViT."""
    return open_encoder(load_bundle(DEMO_BUNDLE), options, buckets=BUCKETS)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
def test_any_number_of_rows_in_order(encoder: BucketedEncoder, count: int) -> None:
    pixels = pictures(count)
    found = encoder.run(pixels)
    assert (found.shape, found.dtype) == ((count, WIDTH), np.float32)
    for row, picture in enumerate(pixels):
        assert found[row] == pytest.approx(encoder.run(picture[np.newaxis])[0], abs=1e-6)


def test_an_answer_is_not_written_over_by_the_next(encoder: BucketedEncoder) -> None:
    first = encoder.run(pictures(2, seed=1))
    kept = first.copy()
    encoder.run(pictures(2, seed=2))
    assert np.array_equal(first, kept)


def test_pixels_may_lie_in_any_order_in_memory(encoder: BucketedEncoder) -> None:
    pixels = pictures(2)
    mirrored = pixels[:, :, ::-1]
    assert np.array_equal(encoder.run(mirrored), encoder.run(np.ascontiguousarray(mirrored)))


def test_a_row_has_the_same_bits_whatever_is_beside_it(demo: BucketedEncoder) -> None:
    bundle = load_bundle(DEMO_BUNDLE)
    report = invariance.measure_invariance(
        demo.run,
        pictures=bundle.canary.pixels[:2],
        prompts=OnnxTextEncoder(bundle=bundle, threads=1).encode(parity.PROMPTS[:4]),
        buckets=BUCKETS,
    )
    assert report.same_bits_within_bucket
    assert report.delta_logit_across_buckets <= 0.1


def test_every_bucket_is_warmed_and_the_canary_passes_in_each(demo: BucketedEncoder) -> None:
    assert sorted(demo.warm()) == list(BUCKETS)
    for batch_size in (0, *BUCKETS):
        demo.check_canary(batch_size)


def test_a_row_that_is_no_unit_vector_is_nan(options: RuntimeOptions, tmp_path: Path) -> None:
    folder = tmp_path / "sick"
    write_tiny_bundle(folder)
    graph = image_graph()
    (weight,) = (one for one in graph.graph.initializer if one.name == "projection")
    zeros = np.zeros(tuple(weight.dims), dtype=np.float32)
    weight.CopyFrom(onnx.numpy_helper.from_array(zeros, "projection"))
    onnx.save(graph, folder / "image_encoder.onnx")
    write_manifest(folder)
    sick = open_encoder(load_bundle(folder), options)
    assert np.isnan(sick.run(pictures(2))).all()
    with pytest.raises(EncoderUnavailable, match="canary"):
        sick.check_canary()


def test_a_file_that_is_no_graph_is_refused(options: RuntimeOptions, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    write_tiny_bundle(folder)
    (folder / "image_encoder.onnx").write_bytes(b"no graph")
    write_manifest(folder)
    with pytest.raises(BundleError, match="refuses this graph"):
        open_encoder(load_bundle(folder), options)


def test_another_shape_is_the_callers_mistake(encoder: BucketedEncoder) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        encoder.run(np.zeros((1, SIZE, SIZE, 3), dtype=np.float32))


@only_openvino
def test_openvino_says_so_and_what_it_computes_in(tiny: Bundle, tmp_path: Path) -> None:
    """Metrics, caches and reports tell its numbers from those of ONNX Runtime."""
    options = RuntimeOptions(provider=Provider.OPENVINO, threads=1)
    (served,) = open_encoders(tiny, ServingOptions(runtime=options)).encoders
    assert (served.spec.provider, served.spec.precision) == ("OpenVINO", "bf16")
    assert served.spec.fingerprint == tiny.fingerprint
    assert library_of("OpenVINO").split()[0] == "OpenVINO"
    assert library_of("OpenVINO") != library_of("CPUExecutionProvider")
    folder = tmp_path / "int8"
    write_tiny_bundle(folder)
    write_manifest(folder, precision=Precision.INT8)
    assert open_encoder(load_bundle(folder), options).spec.precision == "int8"


@only_openvino
def test_openvino_is_close_to_onnx_runtime_and_not_the_same() -> None:
    """Rounded to eight bits of mantissa, on a trained model: as far as its canary may be."""
    bundle = load_bundle(DEMO_BUNDLE)
    rows = [
        open_encoder(bundle, RuntimeOptions(provider=provider, threads=1)).run(bundle.canary.pixels)
        for provider in (Provider.CPU, Provider.OPENVINO)
    ]
    distance = np.linalg.norm(rows[0] - rows[1], axis=1).max()
    assert 0 < distance < 0.05


@only_openvino
def test_a_bundle_is_verified_on_openvino() -> None:
    options = RuntimeOptions(provider=Provider.OPENVINO, threads=1)
    checks = list(verify_bundle(DEMO_BUNDLE, options=options, buckets=(1, 2)))
    assert [check.outcome for check in checks if check.name != "operators"] == [Outcome.PASSED] * 3


@only_openvino
def test_importing_openvino_reports_nothing() -> None:
    openvino.library()
    assert "openvino_telemetry" not in sys.modules


def test_a_processor_without_bfloat16_is_refused_and_told_what_to_set() -> None:
    openvino.refuse_without_bfloat16(["FP32", "BF16", "INT8"])
    with pytest.raises(ConfigError, match="set provider to 'cpu'"):
        openvino.refuse_without_bfloat16(["FP32", "INT8", "WINOGRAD"])


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r"imagesieve\[openvino\]"):
        openvino.library()
