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


def failed_by(cause: Exception) -> EncoderUnavailable:
    problem = EncoderUnavailable("failed")
    problem.__cause__ = cause
    return problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # OpenVINO's first line is only where the error comes from.
        (
            "Exception from src/inference/src/cpp/infer_request.cpp:223:\n"
            "Exception from src/plugins/intel_cpu/src/graph.cpp:1362:\n[CPU] out of memory\n\n",
            "Exception from src/inference/src/cpp/infer_request.cpp:223: "
            "Exception from src/plugins/intel_cpu/src/graph.cpp:1362: [CPU] out of memory",
        ),
        ("\nbegins with a new line", "begins with a new line"),
        ("x" * 1000 + "\nmore", "x" * 300),
        ("one\n" + CUDA_WORDS, SHORT),
        ("", "RuntimeError"),
        (" \n", "RuntimeError"),
    ],
)
def test_the_librarys_words_are_told_in_one_line(text: str, said: str) -> None:
    assert words_of(failed_by(RuntimeError(text))) == f"failed: {said}"


def test_words_of_errors_that_nothing_caused() -> None:
    assert words_of(ValueError("plain")) == "plain"
    assert words_of(ValueError("two\nlines")) == "two lines"
    assert words_of(MemoryError()) == "MemoryError"


def test_another_failure_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles()
    troubles.over()
    for word in ("a", "a", "b"):
        troubles.failed("batch", ValueError(word))
    assert lines(caplog) == [("batch", "a"), ("batch", "b")]


def test_failures_that_differ_in_a_later_line_only_are_each_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    troubles = Troubles()
    for last in ("out of memory", "out of memory", "no such kernel"):
        troubles.failed(
            "batch", failed_by(RuntimeError(f"Exception from request.cpp:223:\n{last}"))
        )
    assert [problem.split(":223: ")[-1] for _, problem in lines(caplog)] == [
        "out of memory",
        "no such kernel",
    ]


def test_a_failure_without_words_is_told(caplog: pytest.LogCaptureFixture) -> None:
    Troubles().failed("batch", MemoryError())
    assert lines(caplog) == [("batch", "MemoryError")]


@pytest.mark.usefixtures("own_log")
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
