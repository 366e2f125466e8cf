"""An encoder process whose encoder does not come back ends, so that a new one is started."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import replace

import pytest

from imagesieve_server.assembly import shared_encoder
from imagesieve_server.assembly.giving_up import HasHealth, down_for_long
from imagesieve_server.assembly.shared_encoder import encoder_process
from imagesieve_server.config import Settings
from imagesieve_server.core.errors import EncoderUnavailable
from imagesieve_server.encoders.bucketed import BucketedEncoder
from imagesieve_server.shared_encoder.meeting import open_meeting_point

pytestmark = pytest.mark.timeout(120)


class Turns:
    """Down at each look but the tenth."""

    looks = 0

    @property
    def healthy(self) -> bool:
        self.looks += 1
        return self.looks == 10


async def test_a_pause_in_the_illness_begins_the_time_anew() -> None:
    encoder, seconds = Turns(), itertools.count()
    await down_for_long(encoder, seconds=20, look_every_s=0, clock=lambda: float(next(seconds)))
    assert encoder.looks == 31


@pytest.mark.parametrize(("hang_s", "seconds"), [(5.0, 120.0), (60.0, 120.0), (600.0, 1200.0)])
async def test_runs_that_may_be_long_have_time_to_end(
    hang_s: float, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A canary that passes after nine minutes must not find its process gone."""
    waited: list[float] = []

    async def note(_: HasHealth, *, seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(shared_encoder, "down_for_long", note)
    settings = Settings()
    settings = replace(settings, model=replace(settings.model, hang_seconds=hang_s))
    broken = asyncio.Event()
    with contextlib.closing(open_meeting_point()) as meeting:
        async with encoder_process(settings, listening=meeting.listening, on_broken=broken.set):
            await broken.wait()
    assert waited == [seconds]


async def test_a_process_whose_encoder_stays_down_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def differs(_: BucketedEncoder, batch_size: int = 0) -> None:
        raise EncoderUnavailable("the canary differs")

    broken = asyncio.Event()
    with contextlib.closing(open_meeting_point()) as meeting:
        async with encoder_process(
            Settings(), listening=meeting.listening, on_broken=broken.set, hopeless_s=0.05
        ):
            await asyncio.sleep(1.5)
            assert not broken.is_set()  # it is well
        monkeypatch.setattr(BucketedEncoder, "check_canary", differs)
        async with encoder_process(
            Settings(), listening=meeting.listening, on_broken=broken.set, hopeless_s=0.05
        ):
            async with asyncio.timeout(60):
                await broken.wait()
