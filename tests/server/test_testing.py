"""The fakes that are shipped: real, if simple, implementations of the ports."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import Any

import numpy as np
import pytest

from imagesieve_server.core import ports
from imagesieve_server.core.errors import (
    DeadlinePassed,
    EncoderUnavailable,
    ImageEmpty,
    ImageFormatUnsupported,
    ImageTooLarge,
    ImageUndecodable,
    UnknownPolicy,
)
from imagesieve_server.core.scoring import score_image
from imagesieve_server.core.verdict import Band
from imagesieve_server.core.views import ViewPlan
from imagesieve_server.grpc_api.admission import AdmissionMetrics
from imagesieve_server.grpc_api.interceptors import RpcMetrics
from imagesieve_server.testing import (
    BLACK,
    BLUE,
    GREEN,
    RED,
    WHITE,
    Colour,
    FakeDecoder,
    FakeEncoder,
    RecordingMetrics,
    StaticPolicies,
    colour_policy,
    colour_vector,
    ppm,
)

PLAN = ViewPlan()


def soon() -> float:
    return time.monotonic() + 10


async def embed(colour: Colour) -> Any:
    image = await FakeDecoder().decode(ppm(colour, side=3), plan=PLAN, deadline=soon())
    return image, await FakeEncoder().encode(image.pixels, deadline=soon())


async def test_a_picture_is_read_into_one_view_of_the_encoders_size() -> None:
    image = await FakeDecoder(size=5).decode(ppm(RED, side=3), plan=PLAN, deadline=soon())
    assert image.pixels.shape == (1, 5, 5, 3)
    assert image.pixels.dtype == np.uint8
    assert (image.pixels == np.asarray(RED)).all()
    assert (image.info.width, image.info.height, image.views[0].box) == (3, 3, (0, 0, 3, 3))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", ImageEmpty),
        (b"P6" + bytes(100), ImageTooLarge),
        (b"GIF89a", ImageFormatUnsupported),
        (ppm(RED, side=2)[:-1], ImageUndecodable),
        (b"P6 x y 255\n", ImageUndecodable),
        (b"P6 0 0 255\n", ImageUndecodable),
    ],
)
async def test_what_is_no_picture_is_refused_as_the_port_says(
    data: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await FakeDecoder(max_bytes=100).decode(data, plan=PLAN, deadline=soon())


@pytest.mark.parametrize("colour", [RED, GREEN, BLUE, WHITE, BLACK, (10, 20, 30)])
async def test_an_embedding_is_the_unit_vector_of_the_colour(colour: Colour) -> None:
    _, embeddings = await embed(colour)
    assert embeddings.dtype == np.float32
    assert np.linalg.norm(embeddings[0]) == pytest.approx(1, abs=1e-6)
    assert embeddings[0] == pytest.approx(colour_vector(colour), abs=1e-6)


@pytest.mark.parametrize(
    ("colour", "band"),
    [(RED, Band.BLOCK), (GREEN, Band.CLEAR), (WHITE, Band.CLEAR), (BLACK, Band.CLEAR)],
)
async def test_a_colour_policy_flags_its_colour_and_no_other(colour: Colour, band: Band) -> None:
    image, embeddings = await embed(colour)
    policy = colour_policy(block_at=0.9)
    scored = score_image(
        policy=policy, categories=policy.categories, embeddings=embeddings, views=image.views
    )
    assert scored.valid
    assert [score.band for score in scored.scores] == [band]


async def test_both_keep_deadlines() -> None:
    deadline = time.monotonic() + 0.02
    with pytest.raises(DeadlinePassed):
        await FakeDecoder(delay_s=5).decode(ppm(RED), plan=PLAN, deadline=deadline)
    with pytest.raises(DeadlinePassed):
        await FakeEncoder(delay_s=5).encode(np.zeros((1, 8, 8, 3), np.uint8), deadline=deadline)


async def test_an_encoder_breaks_and_pauses_as_asked() -> None:
    encoder, pixels = FakeEncoder(), np.zeros((1, 8, 8, 3), np.uint8)
    encoder.healthy = False
    with pytest.raises(EncoderUnavailable):
        await encoder.encode(pixels, deadline=soon())
    encoder.failure = KeyError("odd")
    with pytest.raises(KeyError):
        await encoder.encode(pixels, deadline=soon())
    encoder.failure, encoder.healthy = None, True
    encoder.pause()
    held = asyncio.create_task(encoder.encode(pixels, deadline=soon()))
    await asyncio.sleep(0.01)
    assert (held.done(), encoder.waiting) == (False, 1)
    encoder.resume()
    assert (await held).shape == (1, 4)
    assert encoder.waiting == 0


def test_the_first_policy_is_the_default() -> None:
    one, two = colour_policy(name="z"), colour_policy(name="a")
    policies = StaticPolicies(one, two)
    assert policies.get("") is one
    assert policies.get("a") is two
    assert [policy.name for policy in policies.all()] == ["a", "z"]
    with pytest.raises(UnknownPolicy):
        policies.get("none")


@pytest.mark.parametrize("port", [ports.Metrics, RpcMetrics, AdmissionMetrics])
def test_every_metrics_call_is_remembered_with_its_arguments(port: type) -> None:
    names = [name for name in vars(port) if not name.startswith("_")]
    assert names
    for name in names:
        ours = inspect.signature(getattr(RecordingMetrics, name))
        theirs = inspect.signature(getattr(port, name))
        assert list(ours.parameters.values()) == list(theirs.parameters.values()), name
        metrics = RecordingMetrics()
        given: dict[str, Any] = {
            p: () if name == "policies" else 1 for p in ours.parameters if p != "self"
        }
        positional = [
            given.pop(p.name)
            for p in list(ours.parameters.values())[1:]
            if p.kind is p.POSITIONAL_OR_KEYWORD
        ]
        getattr(metrics, name)(*positional, **given)
        (arguments,) = metrics.named(name)
        assert set(arguments) == set(ours.parameters) - {"self"}
