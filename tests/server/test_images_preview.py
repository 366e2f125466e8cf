"""Previews: what people look at is made of pixels by a worker, never the file itself."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PIL import Image

from helpers import pictures
from imagesieve_server.core.errors import ImageUndecodable, UndecodableDetail
from imagesieve_server.core.views import Background, Preprocessing, PreviewPlan, ViewPlan
from imagesieve_server.images.decoder_pool import DecoderPool
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.preview import preview_image
from imagesieve_server.testing import RecordingMetrics

LIMITS = Limits()


def _gif(*colours: tuple[int, int, int]) -> bytes:
    frames = [Image.new("RGB", (40, 20), colour) for colour in colours]
    return pictures.encode(frames[0], "GIF", save_all=True, append_images=frames[1:])


def test_a_large_picture_is_reduced_and_a_small_one_is_not() -> None:
    large = pictures.encode(pictures.scene((900, 300)), "PNG")
    preview = preview_image(large, plan=PreviewPlan(side=450), limits=LIMITS)
    assert preview.pixels.shape == (150, 450, 3)
    assert (preview.info.width, preview.info.height) == (900, 300)
    small = pictures.encode(pictures.scene((60, 30)), "PNG")
    assert preview_image(small, plan=PreviewPlan(), limits=LIMITS).pixels.shape == (30, 60, 3)


def test_a_hair_thin_strip_keeps_a_pixel() -> None:
    strip = pictures.encode(pictures.scene((3000, 1)), "PNG")
    preview = preview_image(strip, plan=PreviewPlan(side=300), limits=LIMITS)
    assert preview.pixels.shape == (1, 300, 3)


@pytest.mark.parametrize(("asked", "shown"), [(0, 0), (1, 1), (2, 2), (99, 2)])
def test_each_frame_can_be_seen(asked: int, shown: int) -> None:
    colours = ((250, 0, 0), (0, 250, 0), (0, 0, 250))
    preview = preview_image(_gif(*colours), plan=PreviewPlan(frame=asked), limits=LIMITS)
    assert preview.frame == shown
    assert preview.info.frames == 3
    assert preview.pixels[5, 5].argmax() == shown


@pytest.mark.parametrize(("background", "level"), [(Background.WHITE, 255), (Background.BLACK, 0)])
def test_transparency_shows_on_the_background_asked_for(background: Background, level: int) -> None:
    clear = pictures.encode(Image.new("RGBA", (8, 8), (9, 9, 9, 0)), "PNG")
    preview = preview_image(clear, plan=PreviewPlan(background=background), limits=LIMITS)
    assert np.all(preview.pixels == level)
    assert preview.info.has_alpha


def test_a_broken_file_has_no_preview() -> None:
    broken = pictures.encode(pictures.scene((90, 40)), "PNG")[:-40]
    with pytest.raises(ImageUndecodable) as caught:
        preview_image(broken, plan=PreviewPlan(), limits=LIMITS)
    assert caught.value.detail is UndecodableDetail.TRUNCATED


async def test_the_pool_makes_previews_and_views() -> None:
    pool = DecoderPool(
        preprocessing=Preprocessing(size=16), metrics=RecordingMetrics(), workers=1, max_views=4,
        preview_side=200,
    )  # fmt: skip
    await pool.start()
    try:
        deadline = time.monotonic() + 60
        data = pictures.encode(pictures.scene((400, 300)), "PNG")
        preview = await pool.preview(data, plan=PreviewPlan(), deadline=deadline)
        assert preview.pixels.shape == (150, 200, 3)  # no more than the pool has room for
        decoded = await pool.decode(data, plan=ViewPlan(), deadline=deadline)
        assert decoded.pixels.shape[1:] == (16, 16, 3)
        with pytest.raises(ImageUndecodable):
            await pool.preview(data[:-50], plan=PreviewPlan(), deadline=deadline)
    finally:
        await pool.close()
