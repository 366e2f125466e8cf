"""A failing encoder as callers see it: ONNX Runtime behind a real server, faults injected."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from onnx import helper, numpy_helper

from helpers.grpc_rig import Rig, ask, refused, running, until
from helpers.tiny_bundle import SIZE, image_graph, tiny_encoder, write_manifest, write_tiny_bundle
from imagesieve.v1 import moderation_pb2, verdict_pb2
from imagesieve_server.core.errors import EncoderUnavailable
from imagesieve_server.core.policy import OnUnavailable, Policy, PromptGroup
from imagesieve_server.encoders.batcher import Batcher, BatcherOptions, RowEncoder
from imagesieve_server.encoders.bundle import Bundle, load_bundle
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.testing import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    Colour,
    FaultyRowEncoder,
    RecordingMetrics,
    colour_policy,
    ppm,
)

pytestmark = pytest.mark.timeout(60)

Code = grpc.StatusCode
MAGIC = 77  # red of the first pixel of a picture whose embedding is none


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose graph divides by zero where a picture's first pixel has the magic red."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    plain = write_tiny_bundle(folder)
    assert MAGIC not in plain.canary.pixels[:, 0, 0, 0]
    target = folder.parent / "magic"
    shutil.copytree(folder, target)
    proto = image_graph()
    graph = proto.graph
    (divide,) = (node for node in graph.node if node.op_type == "Div")
    divide.output[0] = "unit"
    values = {
        "at": np.zeros(3, dtype=np.int64),
        "to": np.ones(3, dtype=np.int64),
        "axes": np.arange(1, 4, dtype=np.int64),
        "row": np.array([-1, 1], dtype=np.int64),
        "magic": np.array(MAGIC, dtype=np.float32),
        "nought": np.array(0, dtype=np.float32),
        "one": np.array(1, dtype=np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in values.items())
    graph.node.extend(
        [
            helper.make_node("Slice", ["wide", "at", "to", "axes"], ["first"]),
            helper.make_node("Reshape", ["first", "row"], ["red"]),
            helper.make_node("Equal", ["red", "magic"], ["found"]),
            helper.make_node("Where", ["found", "nought", "one"], ["divisor"]),
            helper.make_node("Div", ["unit", "divisor"], ["embeddings"]),
        ]
    )
    onnx.save(proto, target / "image_encoder.onnx")
    write_manifest(target)
    return load_bundle(target)


@pytest.fixture(scope="module")
def real(bundle: Bundle) -> OnnxImageEncoder:
    return tiny_encoder(bundle)


def red_policy(real: RowEncoder, **changes: Any) -> Policy:
    """Flags red against white, green and blue, by the real encoder's own embeddings."""

    def group(*colours: Colour) -> PromptGroup:
        pixels = np.zeros((len(colours), SIZE, SIZE, 3), dtype=np.uint8)
        pixels[:] = np.asarray(colours, dtype=np.uint8)[:, None, None, :]
        return PromptGroup(texts=tuple(map(str, colours)), vectors=real.run(pixels))

    policy = colour_policy(**changes)
    (category,) = policy.categories
    nothing = PromptGroup(texts=(), vectors=group(RED).vectors[:0])
    red = replace(category, prompts=group(RED), counter_prompts=nothing)
    return replace(policy, neutral=group(WHITE, GREEN, BLUE), categories=(red,))


@asynccontextmanager
async def serving(
    real: OnnxImageEncoder, *, hang_s: float = 20.0, **policy: Any
) -> AsyncIterator[tuple[Rig, FaultyRowEncoder]]:
    """A server over the real encoder, and the faults to inject."""
    faulty, metrics = FaultyRowEncoder(real), RecordingMetrics()
    batcher = Batcher(
        encoder=faulty,
        metrics=metrics,
        options=BatcherOptions(hang_timeout_s=hang_s, recovery_interval_s=0.05),
    )
    await batcher.start()
    try:
        policies = [red_policy(real, **policy)]
        async with running(encoder=batcher, metrics=metrics, policies=policies) as rig:
            yield rig, faulty
    finally:
        faulty.free.set()
        await batcher.close()


async def health(rig: Rig) -> int:
    stub = health_pb2_grpc.HealthStub(rig.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest())
    return int(answer.status)


async def becomes(rig: Rig, status: int) -> None:
    async with asyncio.timeout(20):
        while await health(rig) != status:
            await asyncio.sleep(0.01)


def answered(rig: Rig, name: str, image: bytes = ppm(GREEN)) -> asyncio.Task[Any]:
    async def call() -> Any:
        return await rig.moderation.Moderate(ask(name, image), timeout=30)

    return asyncio.create_task(call())


def magic() -> bytes:
    return ppm((MAGIC, 200, 0))


async def test_the_real_encoder_judges(real: OnnxImageEncoder) -> None:
    async with serving(real) as (rig, _):
        red, green = await answered(rig, "red", ppm(RED)), await answered(rig, "green")
    assert red.verdict == verdict_pb2.VERDICT_REVIEW
    assert green.verdict == verdict_pb2.VERDICT_ALLOW


async def test_a_picture_that_gives_nan_goes_to_a_person_and_harms_no_other(
    real: OnnxImageEncoder,
) -> None:
    async with serving(real) as (rig, faulty):
        faulty.free.clear()
        first = answered(rig, "first")
        await until(faulty.entered.is_set)
        calls = [answered(rig, f"r-{i}", ppm((0, 200 + i, 0))) for i in range(7)]
        bad = answered(rig, "bad", magic())
        await until(lambda: rig.metrics.named("encoder_queue")[-1]["views"] == 8)
        faulty.free.set()
        got = await bad
        others = await asyncio.gather(first, *calls)
        assert await health(rig) == health_pb2.HealthCheckResponse.SERVING
    assert got.verdict == verdict_pb2.VERDICT_REVIEW
    assert [reason.code for reason in got.reasons] == ["SCORE_INVALID"]
    assert got.item_id
    assert {other.verdict for other in others} == {verdict_pb2.VERDICT_ALLOW}


async def test_a_batch_that_fails_tells_each_of_its_callers_and_the_server_recovers(
    real: OnnxImageEncoder,
) -> None:
    def fail() -> None:
        faulty.on_run = lambda: None
        raise RuntimeError("/srv/secret: CUDA error 700")

    async with serving(real) as (rig, faulty):
        faulty.free.clear()
        first = answered(rig, "first")
        await until(faulty.entered.is_set)
        calls = [answered(rig, f"r-{i}", ppm(GREEN, side=9 + i)) for i in range(5)]
        await until(lambda: rig.metrics.named("encoder_queue")[-1]["views"] == 5)
        faulty.on_run = fail
        faulty.free.set()
        errors = [await refused(first)]
        later = await asyncio.gather(*calls, return_exceptions=True)
        await becomes(rig, health_pb2.HealthCheckResponse.SERVING)
        again = await answered(rig, "again")
    assert (errors[0].code, errors[0].reason) == (Code.UNAVAILABLE, "ENCODER_UNAVAILABLE")
    assert "secret" not in errors[0].everything
    for ended in later:  # the canary passed: those who only waited are answered after all
        assert not isinstance(ended, BaseException), ended
    assert again.verdict == verdict_pb2.VERDICT_ALLOW
    assert {"healthy": False} in rig.metrics.named("encoder_healthy")


async def test_a_batch_that_hangs_fails_everyone_who_waits_and_the_server_recovers(
    real: OnnxImageEncoder,
) -> None:
    async with serving(real, hang_s=0.5) as (rig, faulty):
        faulty.free.clear()
        calls = [answered(rig, f"r-{i}") for i in range(4)]
        errors = [await refused(call) for call in calls]
        await becomes(rig, health_pb2.HealthCheckResponse.NOT_SERVING)
        late = await refused(answered(rig, "late"))
        faulty.free.set()
        await becomes(rig, health_pb2.HealthCheckResponse.SERVING)
        again = await answered(rig, "again")
    for error in [*errors, late]:
        assert (error.code, error.reason) == (Code.UNAVAILABLE, "ENCODER_UNAVAILABLE")
    assert again.verdict == verdict_pb2.VERDICT_ALLOW


@pytest.mark.parametrize("spoiled", ["canary", "device"])
@pytest.mark.parametrize("setting", OnUnavailable)
async def test_while_the_canary_fails_the_failure_table_answers_until_it_passes(
    real: OnnxImageEncoder, setting: OnUnavailable, spoiled: str
) -> None:
    """``device``: a picture gives NaN, and then so does the canary; ``canary``: it alone fails."""

    def fail() -> None:
        raise EncoderUnavailable("the encoder does not reproduce the bundle's canary")

    async with serving(real, on_unavailable=setting) as (rig, faulty):
        faulty.on_canary = fail
        if spoiled == "canary":
            faulty.on_run = fail  # an error makes the canary due
        first = await _outcome(rig, "first", magic())
        await becomes(rig, health_pb2.HealthCheckResponse.NOT_SERVING)
        down = await _outcome(rig, "down", ppm(GREEN))
        faulty.on_canary = faulty.on_run = lambda: None
        await becomes(rig, health_pb2.HealthCheckResponse.SERVING)
        after = await _outcome(rig, "down-2", ppm(GREEN))
    expected = {
        OnUnavailable.HOLD: "ENCODER_UNAVAILABLE",
        OnUnavailable.REVIEW: "REVIEW UNSCORED",
        OnUnavailable.ALLOW: "ALLOW POLICY_FAIL_OPEN",
    }[setting]
    assert [first, down, after] == [expected, expected, "ALLOW"]


async def test_views_of_callers_who_have_gone_never_reach_the_encoder(
    real: OnnxImageEncoder,
) -> None:
    """Who leaves in a call or in the middle of a stream takes no row of any later batch."""
    async with serving(real) as (rig, faulty):
        faulty.free.clear()
        first = answered(rig, "first")
        await until(faulty.entered.is_set)
        call = answered(rig, "in a call", ppm((0, 0, 31)))
        stream = rig.moderation.ModerateStream(timeout=30)
        for number in range(3):
            request = ask(f"s-{number}", ppm((0, 0, 32 + number)))
            await stream.write(moderation_pb2.ModerateStreamRequest(request=request))
        await until(lambda: rig.metrics.named("encoder_queue")[-1]["views"] == 4)
        call.cancel()
        stream.cancel()
        await until(lambda: rig.metrics.named("encoder_queue")[-1]["views"] == 0)
        faulty.free.set()
        await first
        await answered(rig, "after")
        await until(lambda: len(rig.metrics.named("images_abandoned")) == 4)
    dropped = rig.metrics.named("encoder_dropped")
    assert sum(one["views"] for one in dropped if one["reason"] == "cancelled") == 4
    blues = {int(value) for pixels in faulty.seen for value in pixels[:, 0, 0, 2]}
    assert blues.isdisjoint(range(31, 35))
    assert rig.metrics.named("in_flight")[-1]["images"] == 0


async def _outcome(rig: Rig, name: str, image: bytes) -> str:
    """The reason of a failure, or the verdict and the reasons that are no category's."""
    try:
        got = await rig.moderation.Moderate(ask(name, image), timeout=30)
    except grpc.aio.AioRpcError:
        return (await refused(rig.moderation.Moderate(ask(name, image), timeout=30))).reason
    verdict = verdict_pb2.Verdict.Name(got.verdict).removeprefix("VERDICT_")
    return " ".join([verdict, *(r.code for r in got.reasons if not r.category)])


def test_the_bundle_of_this_test_gives_nan_for_the_magic_picture_only(
    real: OnnxImageEncoder,
) -> None:
    pixels = np.full((2, SIZE, SIZE, 3), 5, dtype=np.uint8)
    pixels[0, 0, 0, 0] = MAGIC
    found = real.run(pixels)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()
    real.check_canary()
