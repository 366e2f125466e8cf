"""Files that are cut, lie or bomb: one typed error each, within bounds, never a wrong picture."""

from __future__ import annotations

import io
import struct
import time
import warnings

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from helpers import bombs, pictures
from imagesieve_server.core.errors import ImageUndecodable, RequestError, UndecodableDetail
from imagesieve_server.core.views import Coverage, DecodedImage, Preprocessing, ViewPlan
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.opening import open_image, pillow_bomb_cap
from imagesieve_server.images.preprocess import bundle_view
from imagesieve_server.images.sniff import ImageFormat


def decode(data: bytes, *, limits: Limits | None = None, size: int = 32) -> DecodedImage:
    return decode_image(
        data,
        plan=ViewPlan(),
        preprocessing=Preprocessing(size=size),
        limits=limits or Limits(),
    )


def detail(data: bytes, *, limits: Limits | None = None) -> UndecodableDetail:
    with pytest.raises(ImageUndecodable) as caught:
        decode(data, limits=limits)
    assert caught.value.metadata["detail"] == caught.value.detail.value
    return caught.value.detail


def outcome_of(data: bytes) -> DecodedImage | RequestError:
    try:
        return decode(data)
    except RequestError as error:
        return error


FILES = {
    "baseline": ("JPEG", {}),
    "progressive": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "lossy webp": ("WEBP", {}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "gif": ("GIF", {}),
    "avif": ("AVIF", {"speed": 10}),
}


@pytest.mark.parametrize(("format_", "options"), FILES.values(), ids=FILES.keys())
def test_a_file_cut_anywhere_is_truncated_or_complete(
    format_: str, options: dict[str, object]
) -> None:
    """At each 1/64: the error says TRUNCATED, or every pixel is there all the same."""
    data = pictures.encode(pictures.scene((120, 110)), format_, **options)
    whole = decode(data).pixels
    refused = 0
    for cut in pictures.cuts(data):
        outcome = outcome_of(cut)
        if isinstance(outcome, DecodedImage):
            np.testing.assert_array_equal(outcome.pixels, whole, err_msg=f"at {len(cut)}")
        elif len(cut) > 32:  # below, even the magic may be gone
            assert outcome.metadata == {"detail": "TRUNCATED"}
            refused += 1
    assert refused >= 56


@pytest.mark.parametrize("format_", pictures.FORMATS)
def test_damage_is_an_error_or_a_picture_never_anything_else(format_: str) -> None:
    """Random bytes overwritten: a typed error, or a picture of the right shape."""
    data = pictures.encode(pictures.scene((60, 50)), format_)
    generator = np.random.default_rng(11)
    for _ in range(60):
        broken = bytearray(data)
        for at in generator.integers(12, len(data), 4):
            broken[at] = generator.integers(0, 256)
        outcome = outcome_of(bytes(broken))
        if isinstance(outcome, DecodedImage):
            assert outcome.pixels.shape == (len(outcome.views), 32, 32, 3)
        else:
            assert outcome.reason == "IMAGE_UNDECODABLE"


@pytest.mark.parametrize(
    "data",
    [
        pictures.lying_png(60_000, 60_000),
        pictures.lying_png(65_536, 1),
        pictures.lying_png(9_000, 9_000),
        pictures.lying_jpeg(65_000, 65_000),
        pictures.lying_webp(16_000, 16_000),
        pictures.lying_webp(1 << 24, 1 << 24),
        pictures.gif_of_tiny_frames(3_001),
    ],
    ids=["png", "png side", "png 81 Mpx", "jpeg", "webp", "webp huge", "gif frames"],
)
def test_headers_over_the_caps_are_refused_before_decoding(data: bytes) -> None:
    """No pixel is allocated for what a header merely claims."""
    start = time.process_time()
    assert detail(data) is UndecodableDetail.OVER_CAPS
    assert time.process_time() - start < 0.5


def test_the_header_caps_and_pillows_own_hold_without_each_other() -> None:
    """Ours after opening, Pillow's inside it, where a codec allocates before we can look."""
    data = pictures.encode(pictures.scene((40, 40)), "WEBP")
    jpeg = pictures.encode(pictures.scene((40, 40)), "JPEG")
    with pytest.raises(ImageUndecodable, match="larger"):
        open_image(data, ImageFormat.WEBP, limits=Limits(pixels=1_599), target=32)
    with pytest.raises(ImageUndecodable, match="larger"):
        open_image(jpeg, ImageFormat.JPEG, limits=Limits(jpeg_pixels=1_599), target=32)
    with pillow_bomb_cap(1_598), pytest.raises(Image.DecompressionBombError):
        open_image(data, ImageFormat.WEBP, limits=Limits(), target=32)
    with pillow_bomb_cap(1_600):
        assert open_image(data, ImageFormat.WEBP, limits=Limits(), target=32).width == 40


def test_a_header_that_claims_more_than_the_data_hold() -> None:
    """A PNG is an error; a JPEG shows grey where its scan ends early, as viewers show it."""
    assert detail(pictures.lying_png(2_000, 2_000)) is UndecodableDetail.DECODE_ERROR
    shown = decode(pictures.lying_jpeg(3_000, 3_000)).pixels[0]
    assert (shown[2:] == 128).all()


def test_a_bomb_within_the_caps_is_just_a_picture() -> None:
    """A highly compressed 16 Mpx PNG decodes; one pixel row over the cap does not."""
    data = pictures.black_png(4_096, 4_096)
    assert len(data) < 20_000
    assert not decode(data).pixels.any()
    small = pictures.encode(pictures.scene((60, 60)), "JPEG")  # too small for DCT scaling
    assert detail(small, limits=Limits(pixels=3_599)) is UndecodableDetail.OVER_CAPS
    tight = Limits(pixels=4_096 * 4_095)
    assert detail(data, limits=tight) is UndecodableDetail.OVER_CAPS


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size() -> None:
    """The cap after DCT scaling is the one that counts for a JPEG."""
    data = pictures.encode(Image.new("RGB", (4_000, 3_000), (10, 200, 10)), "JPEG")
    decoded = decode(data, limits=Limits(pixels=1 << 20), size=224)
    assert decoded.info.scale_denominator == 4
    assert (decoded.info.width, decoded.info.height) == (4_000, 3_000)
    assert np.abs(decoded.pixels.astype(int) - [10, 200, 10]).max() <= 4
    assert detail(data, limits=Limits(jpeg_pixels=11_999_999)) is UndecodableDetail.OVER_CAPS


def test_the_coefficients_of_a_progressive_jpeg_must_fit_the_memory() -> None:
    """They are kept whole whatever the scale: 2 bytes a sample, so 4:2:0 needs half of 4:4:4."""
    image = Image.new("RGB", (1_024, 1_024))
    full, half = (
        pictures.encode(image, "JPEG", progressive=True, subsampling=subsampling)
        for subsampling in ("4:4:4", "4:2:0")
    )
    limits = Limits(memory_bytes=8 << 20)
    assert detail(full, limits=limits) is UndecodableDetail.OVER_CAPS
    assert decode(half, limits=limits).info.scale_denominator == 8
    assert decode(pictures.encode(image, "JPEG", subsampling="4:4:4"), limits=limits).views


@pytest.mark.parametrize(
    ("side", "scale"), [(100, 1), (127, 1), (128, 2), (255, 2), (256, 4), (511, 4), (600, 8)]
)
def test_dct_scaling_keeps_twice_the_target(side: int, scale: int) -> None:
    """The short side stays at least 2 × 32 px."""
    decoded = decode(pictures.encode(pictures.scene((side + 9, side)), "JPEG"))
    assert decoded.info.scale_denominator == scale


@pytest.mark.parametrize(
    ("scans", "limits"), [(500, Limits()), (20, Limits(scan_pixels=20 * 64 * 64))]
)
def test_a_jpeg_in_too_many_scans_is_refused(scans: int, limits: Limits) -> None:
    """Each scan goes through the whole picture again; ordinary progressive files have ten."""
    assert detail(bombs.many_scans(scans, side=64), limits=limits) is UndecodableDetail.OVER_CAPS
    assert decode(bombs.many_scans(20, side=64)).info.width == 64


@pytest.mark.parametrize("side", [128 * 2, 128 * 4 + 5, 128 * 8 + 3])
def test_dct_scaling_is_faithful(side: int) -> None:
    """Against the full-size decode: a mean difference below two levels of 255.

    The scenes have more fine structure than photographs, where it is a few tenths.
    """
    data = pictures.encode(pictures.scene((side, side)), "JPEG", quality=90)
    fast = decode(data, size=64)
    assert fast.info.scale_denominator > 1
    with Image.open(io.BytesIO(data)) as image:
        full = decode(pictures.encode(image, "PNG", compress_level=1), size=64)
    assert full.info.scale_denominator == 1
    assert np.abs(fast.pixels.astype(int) - full.pixels.astype(int)).mean() < 2.0


@pytest.mark.parametrize("size", [(521, 783), (783, 521)])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_reduced_copy_is_cut_where_the_original_is(
    size: tuple[int, int], orientation: int
) -> None:
    """At a quarter these are 131×196: by these sides the result would be a row shorter."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture = pictures.scene(size, seed=3)
    data = pictures.encode(picture, "JPEG", quality=95, subsampling=0, exif=exif)
    plan, settings = ViewPlan(coverage=Coverage.CENTRE), Preprocessing(size=64)
    fast = decode_image(data, plan=plan, preprocessing=settings, limits=Limits())
    assert fast.info.scale_denominator == 4
    with Image.open(io.BytesIO(data)) as image:
        full = bundle_view(ImageOps.exif_transpose(image), settings)
    assert np.abs(fast.pixels[0].astype(int) - full).mean() < 2.0


@pytest.mark.parametrize("size", [(800, 518), (518, 800)])
def test_a_reduced_copy_is_padded_as_the_original_is(size: tuple[int, int]) -> None:
    """64×41 of the square; by the sides of the copy, 200×130, it would be 64×42."""
    picture = pictures.scene(size, seed=3)
    data = pictures.encode(picture, "JPEG", quality=95, subsampling=0)
    plan = ViewPlan(coverage=Coverage.CENTRE)
    settings = Preprocessing(size=64, resize="longest", fill=0)
    fast = decode_image(data, plan=plan, preprocessing=settings, limits=Limits())
    assert fast.info.scale_denominator == 4
    with Image.open(io.BytesIO(data)) as image:
        full = bundle_view(image, settings)
    along = size.index(min(size))  # the axis of the picture that a bar fills
    bars = [
        (view == 0).all(axis=(along, 2)).nonzero()[0].tolist() for view in (full, fast.pixels[0])
    ]
    assert len(bars[0]) == 23
    assert bars[1] == bars[0]


def test_only_the_sniffed_codec_is_tried() -> None:
    """A GIF's header before a whole PNG is a broken GIF, not a PNG."""
    png = pictures.encode(pictures.scene((20, 20)), "PNG")
    assert decode(png).info.format == "PNG"
    screen = struct.pack("<HHBBB", 20, 20, 0, 0, 0)
    assert detail(b"GIF89a" + screen + png) in UndecodableDetail


def test_nothing_of_pillow_is_left_changed() -> None:
    """The bomb limit is set for the call only, after success and after failure."""
    before = Image.MAX_IMAGE_PIXELS
    decode(pictures.encode(pictures.scene((20, 20)), "PNG"))
    detail(pictures.lying_png(60_000, 60_000))
    assert before == Image.MAX_IMAGE_PIXELS


def test_codec_warnings_do_not_leak() -> None:
    """What a codec warns about is answered, not printed, even where warnings are errors."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        decode(pictures.black_png(6_000, 6_000))
    assert caught == []


def test_messages_never_quote_a_codec() -> None:
    """The caller reads a fixed sentence, whatever the file made Pillow say."""
    data = pictures.encode(pictures.scene((40, 40)), "PNG")
    with pytest.raises(ImageUndecodable, match=r"^the image data end before the picture does$"):
        decode(data[:-40])
