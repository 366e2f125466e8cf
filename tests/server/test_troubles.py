"""Whoever runs a server learns from its log, or from the command, what an encoder failed by."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from helpers.tiny_bundle import pictures, write_tiny_bundle
from helpers.waiting import soon, until
from imagesieve_server import commands
from imagesieve_server.core.errors import BundleError, EncoderUnavailable
from imagesieve_server.encoders import opening
from imagesieve_server.encoders.batcher import Batcher, BatcherOptions
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.lanes import Lane
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions
from imagesieve_server.encoders.troubles import Troubles, words_of
from imagesieve_server.testing import FaultyRowEncoder as Faulty
from imagesieve_server.testing import RecordingMetrics

pytestmark = pytest.mark.timeout(60)

CUDA_WORDS = (
    "/src/core/providers/cuda/cuda_call.cc:154 std::conditional_t<THRW, void> CudaCall(ERRTYPE, "
    "const char*) [with ERRTYPE = cudaError; bool THRW = true] CUDA failure 700: an illegal memory "
    "access was encountered ; GPU=0 ; hostname=secret ; expr=cudaStreamSynchronize(stream_);"
)
SHORT = "CUDA failure 700: an illegal memory access was encountered"


@pytest.fixture
def real(tmp_path: Path) -> OnnxImageEncoder:
    options = RuntimeOptions(provider=Provider.CPU, threads=1)
    bundle = write_tiny_bundle(tmp_path / "tiny")
    return OnnxImageEncoder(bundle=bundle, options=options, buckets=(1, 2))


def breaks() -> None:
    raise RuntimeError(CUDA_WORDS)


def differs() -> None:
    raise EncoderUnavailable("the canary differs", metadata={"distance": "0.3"})


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """What was failed at, and by what; both "" where all is well again."""
    return [
        (getattr(record, "doing", ""), getattr(record, "problem", ""))
        for record in caplog.records
        if record.name.endswith("troubles")
    ]


async def test_the_log_says_what_a_batch_and_the_canary_failed_by(
    real: OnnxImageEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    encoder, metrics = Faulty(real), RecordingMetrics()
    options = BatcherOptions(recovery_interval_s=0.01)
    batcher = Batcher(encoder=encoder, metrics=metrics, options=options)
    caplog.set_level(logging.INFO)
    await batcher.start()
    assert lines(caplog) == []
    encoder.on_run, encoder.on_canary = breaks, differs
    with pytest.raises(EncoderUnavailable) as caught:
        await batcher.encode(pictures(1), deadline=soon())
    assert "CUDA" not in caught.value.message
    await until(lambda: len(lines(caplog)) == 2)
    await asyncio.sleep(0.1)  # several canaries later it has still been said once
    expected = [
        ("batch", f"the encoder failed on a batch: {SHORT}"),
        ("canary", "the canary differs, distance 0.3"),
    ]
    assert lines(caplog) == expected
    encoder.on_run = encoder.on_canary = lambda: None
    await until(lambda: batcher.healthy)
    assert lines(caplog) == [*expected, ("", "")]
    await batcher.close()


async def test_the_log_says_why_a_warm_up_failed(
    real: OnnxImageEncoder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Faulty(real)
    monkeypatch.setattr(encoder, "warm", breaks)
    batcher = Batcher(encoder=encoder, metrics=RecordingMetrics(), options=BatcherOptions())
    with pytest.raises(EncoderUnavailable):
        await batcher.start()
    await batcher.close()
    assert [doing for doing, problem in lines(caplog) if SHORT in problem] == ["warm-up"]


async def test_a_lane_keeps_the_librarys_words() -> None:
    """An encoder raises its own error, from the library's."""

    def infer() -> None:
        try:
            breaks()
        except RuntimeError as problem:
            raise EncoderUnavailable("the encoder failed") from problem

    lane = Lane(None, name="lane")  # type: ignore[arg-type]  # no encoder is asked
    with pytest.raises(EncoderUnavailable) as caught:
        await lane.call(infer, limit_s=30)
    lane.stop()
    assert words_of(caught.value) == f"the encoder failed: {SHORT}"


def test_words_of_other_errors() -> None:
    assert words_of(ValueError("plain")) == "plain"
    silent = EncoderUnavailable("failed")
    silent.__cause__ = MemoryError()
    assert words_of(silent) == "failed: MemoryError"
    long = EncoderUnavailable("failed")
    long.__cause__ = RuntimeError("x" * 1000 + "\nmore")
    assert words_of(long) == "failed: " + "x" * 300


def test_another_failure_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles()
    troubles.over()
    for word in ("a", "a", "b"):
        troubles.failed("batch", ValueError(word))
    assert lines(caplog) == [("batch", "a"), ("batch", "b")]


def test_a_command_says_why_a_gpu_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As at the first start with a GPU, where a library is missing or its memory is full."""
    bundle = write_tiny_bundle(tmp_path / "tiny")
    assert load_bundle(tmp_path / "tiny").fingerprint == bundle.fingerprint

    def refuse(*_: object, **__: object) -> None:
        raise BundleError("CUDA's libraries do not load", metadata={"cause": "libcublas.so.13"})

    monkeypatch.setattr(opening, "has_cuda", lambda: True)
    monkeypatch.setattr(opening, "open_session", refuse)
    monkeypatch.setenv("IMAGESIEVE__MODEL__PROVIDER", "cuda")
    monkeypatch.setenv("IMAGESIEVE__MODEL__BUNDLE", str(tmp_path / "tiny"))
    monkeypatch.setenv("IMAGESIEVE__SERVER__ADDRESS", "127.0.0.1:0")
    monkeypatch.setenv("IMAGESIEVE__METRICS__ADDRESS", "")
    monkeypatch.chdir(tmp_path)
    assert commands.main(["serve"]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "imagesieve-server: CUDA's libraries do not load (libcublas.so.13)"
