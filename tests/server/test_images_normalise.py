"""Every mode, depth and transparency becomes what a viewer would show."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from helpers import pictures
from imagesieve_server.core.views import (
    Background,
    DecodedImage,
    Preprocessing,
    ViewPlan,
)
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.normalise import opaque

SIZE = 64


def decode(data: bytes, *, icc_bytes: int = 1 << 20) -> DecodedImage:
    return decode_image(
        data,
        plan=ViewPlan(),
        preprocessing=Preprocessing(size=SIZE),
        limits=Limits(icc_bytes=icc_bytes),
    )


def shown(data: bytes) -> np.ndarray:
    decoded = decode(data)
    assert len(decoded.views) == 1
    return decoded.pixels[0].astype(int)


def scene() -> Image.Image:
    return pictures.scene((SIZE, SIZE), seed=5)


@pytest.mark.parametrize(
    ("format_", "mode"),
    [(format_, mode) for format_ in pictures.FORMATS for mode in ("1", "L", "RGB")]
    + [("PNG", "P"), ("GIF", "P"), ("WEBP", "P"), ("JPEG", "CMYK")],
)
def test_opaque_modes_keep_their_colours(format_: str, mode: str) -> None:
    """Each opaque mode, in each format that can hold it, shows the picture it was made from."""
    image = scene().convert(mode)
    options = {"quality": 95} if format_ in ("JPEG", "WEBP", "AVIF") else {}
    original = np.asarray(image.convert("RGB")).astype(int)
    difference = np.abs(shown(pictures.encode(image, format_, **options)) - original)
    lossless = format_ in ("PNG", "GIF") and mode != "RGB"
    assert difference.mean() <= (1 if lossless else 12), difference.mean()


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_of_every_depth_is_scaled_never_clipped(bits: int) -> None:
    """A ramp from black to white stays one, whatever the bits per sample."""
    levels = 1 << bits
    columns = np.arange(64) * levels // 64
    if bits == 16:
        line = b"".join(struct.pack(">H", value) for value in columns)
    else:
        flat = "".join(format(value, f"0{bits}b") for value in columns)
        line = int(flat, 2).to_bytes(len(flat) // 8, "big")
    data = pictures.raw_png(64, 64, bits=bits, colour_type=0, rows=line * 64)
    row = shown(data)[32, :, 0]
    expected = columns >> 8 if bits == 16 else columns * 255 // (levels - 1)
    assert np.abs(row - expected).max() <= 1


def test_sixteen_bit_grey_is_not_white() -> None:
    """The picture that Pillow's own conversion turns white keeps its mean and its ends."""
    data = pictures.encode(Image.fromarray(pictures.grey_ramp_16()), "PNG")
    assert decode(data).info.mode == "I;16"
    seen = shown(data)
    assert 120 <= seen.mean() <= 135
    assert seen.min() == 0
    assert seen.max() == 255


@pytest.mark.parametrize("colour_type", [2, 6])
def test_sixteen_bit_colour_keeps_the_high_byte(colour_type: int) -> None:
    """RGB and RGBA of 16 bits per sample."""
    opaque = b"\xff\xff" if colour_type == 6 else b""
    sample = struct.pack(">HHH", 0x12FF, 0x80FF, 0xFE00) + opaque
    data = pictures.raw_png(8, 8, bits=16, colour_type=colour_type, rows=sample * 64)
    assert shown(data)[0, 0].tolist() == [0x12, 0x80, 0xFE]


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "AVIF"])
def test_transparency_is_shown_on_white_and_on_black(format_: str) -> None:
    """Colours under alpha 0 stay hidden; half-opaque ones mix with each background."""
    image = Image.new("RGBA", (SIZE, SIZE), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 32, SIZE))
    options = {"lossless": True} if format_ == "WEBP" else {}
    options = {"quality": 100, "subsampling": "4:4:4"} if format_ == "AVIF" else options
    decoded = decode(pictures.encode(image, format_, **options))
    assert [view.background for view in decoded.views] == [Background.WHITE, Background.BLACK]
    assert decoded.info.has_alpha
    assert decoded.coverage == 1.0
    white, black = decoded.pixels.astype(int)
    for view, background in ((white, 255), (black, 0)):
        assert np.abs(view[30, 8] - [0, 0, 255]).max() <= 6
        assert np.abs(view[30, 56] - background).max() <= 6


def test_a_picture_drawn_in_alpha_alone_is_seen() -> None:
    """All colours are black, the shape is in the transparency: it shows on white."""
    shape = np.zeros((SIZE, SIZE, 4), dtype=np.uint8)
    shape[16:48, 16:48, 3] = 255
    decoded = decode(pictures.encode(Image.fromarray(shape), "PNG"))
    white = decoded.pixels[0]
    assert white[32, 32].tolist() == [0, 0, 0]
    assert white[4, 4].tolist() == [255, 255, 255]
    assert not decoded.pixels[1].any()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_that_hides_nothing_gives_one_view(mode: str) -> None:
    """An alpha channel of 255 throughout costs no second view and changes no colour."""
    image = scene().convert(mode)
    decoded = decode(pictures.encode(image, "PNG"))
    assert [view.background for view in decoded.views] == [Background.NONE]
    assert not decoded.info.has_alpha
    np.testing.assert_array_equal(decoded.pixels[0], np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("bits", "colour_type", "line", "key"),
    [
        (1, 0, b"\x0f", b"\0\0"),
        (2, 0, b"\x00\x55", b"\0\0"),
        (2, 0, b"\x55\xaa", b"\0\x01"),
        (4, 0, b"\x33\x33\x77\x77", b"\0\x03"),
        (8, 0, b"\x09" * 4 + b"\x63" * 4, b"\0\x09"),
        (16, 0, b"\x12\x34" * 4 + b"\x12\x35" * 4, b"\x12\x34"),
        (8, 2, b"\x01\x02\x03" * 4 + b"\x01\x02\x04" * 4, b"\0\x01\0\x02\0\x03"),
        (16, 2, b"\x11\x99\x22\x99\x33\x99" * 4 + b"\x44\x99" * 12, b"\x11\x99\x22\x99\x33\x99"),
    ],
)
def test_a_transparent_grey_or_colour_of_any_depth_is_hidden(
    bits: int, colour_type: int, line: bytes, key: bytes
) -> None:
    """The left half has the transparent colour: it shows the background, the right half not."""
    trns = pictures.png_chunk(b"tRNS", key)
    data = pictures.raw_png(8, 8, bits=bits, colour_type=colour_type, rows=line * 8, extra=trns)
    decoded = decode(data)
    assert len(decoded.views) == 2
    white, black = decoded.pixels
    assert white[32, 2].tolist() == [255, 255, 255]
    assert black[32, 2].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(white[:, 56:], black[:, 56:])


@pytest.mark.parametrize("key", [b"\0", b"\0\x80"])
def test_a_transparent_palette_entry_is_hidden(key: bytes) -> None:
    """One hidden index, and a table of alphas per index."""
    palette = pictures.png_chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 255, 9, 9, 9]))
    trns = pictures.png_chunk(b"tRNS", key)
    line = b"\0" * 4 + b"\2" * 4
    data = pictures.raw_png(8, 8, bits=8, colour_type=3, rows=line * 8, extra=palette + trns)
    white, black = decode(data).pixels
    assert white[32, 2].tolist() == [255, 255, 255]
    assert black[32, 2].tolist() == [0, 0, 0]
    assert white[32, 60].tolist() == black[32, 60].tolist() == [9, 9, 9]


def test_a_gif_hides_its_transparent_index() -> None:
    """GIF transparency is shown on both backgrounds as well."""
    image = Image.new("P", (SIZE, SIZE), 1)
    image.putpalette([200, 0, 0, 0, 200, 0])
    image.paste(0, (0, 0, 32, SIZE))
    white, black = decode(pictures.encode(image, "GIF", transparency=0)).pixels
    assert white[30, 8].tolist() == [255, 255, 255]
    assert black[30, 8].tolist() == [0, 0, 0]
    assert white[30, 56].tolist() == [0, 200, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_every_exif_orientation_shows_the_same_picture(orientation: int, format_: str) -> None:
    """A picture stored turned, with the tag that says so, is shown upright."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = pictures.halves((72, 64))
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = pictures.encode(stored, format_, exif=exif.tobytes(), quality=95)
    decoded = decode(data)
    assert decoded.info.orientation == orientation
    assert (decoded.info.width, decoded.info.height) == (72, 64)
    reference = decode(pictures.encode(upright, "PNG")).pixels.astype(int)
    assert np.abs(decoded.pixels - reference).mean() < 5


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"MM\0*" + b"\xff" * 90]
)
def test_broken_exif_is_ignored(exif: bytes) -> None:
    """Damaged metadata do not cost the picture."""
    plain = decode(pictures.encode(scene(), "JPEG"))
    odd = decode(pictures.encode(scene(), "JPEG", exif=exif))
    np.testing.assert_array_equal(plain.pixels, odd.pixels)


def test_xmp_does_not_turn_a_picture() -> None:
    """Viewers obey EXIF only; so does the sieve."""
    xmp = b'<x tiff:Orientation="3"/>'
    plain = decode(pictures.encode(scene(), "WEBP"))
    turned = decode(pictures.encode(scene(), "WEBP", xmp=xmp))
    assert turned.info.orientation == 1
    np.testing.assert_array_equal(plain.pixels, turned.pixels)


def test_adobe_cmyk_is_not_inverted() -> None:
    """A CMYK JPEG as image editors write it shows its colours, not their negative."""
    image = Image.new("RGB", (SIZE, SIZE), (230, 40, 40))
    decoded = decode(pictures.encode(image.convert("CMYK"), "JPEG", quality=95))
    assert decoded.info.mode == "CMYK"
    assert np.abs(decoded.pixels[0, 30, 30].astype(int) - [230, 40, 40]).max() <= 12


def test_a_wide_gamut_profile_is_applied() -> None:
    """Colours move as the profile says, and the answer says that they did."""
    image = Image.new("RGB", (SIZE, SIZE), (60, 200, 60))
    profile = pictures.wide_gamut_profile()
    decoded = decode(pictures.encode(image, "PNG", icc_profile=profile))
    assert decoded.info.icc_converted
    red, green, blue = decoded.pixels[0, 0, 0].tolist()
    assert red < 40
    assert abs(green - 200) <= 15
    assert abs(blue - 60) <= 25


def srgb() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(
    "profile",
    [srgb(), pictures.blanking_profile(), b"not a profile", b"\0" * 200, srgb()[:300]],
    ids=["srgb", "blanking", "text", "zeros", "cut"],
)
def test_a_profile_that_changes_nothing_or_is_unsound_leaves_every_bit(profile: bytes) -> None:
    """sRGB itself, a profile that blanks the picture, and broken ones."""
    plain = decode(pictures.encode(scene(), "PNG"))
    tagged = decode(pictures.encode(scene(), "PNG", icc_profile=profile))
    assert not tagged.info.icc_converted
    np.testing.assert_array_equal(plain.pixels, tagged.pixels)


def test_a_profile_over_the_bound_or_of_another_kind_is_ignored() -> None:
    """Size and colour space decide before the profile is used."""
    profile = pictures.wide_gamut_profile()
    data = pictures.encode(scene(), "PNG", icc_profile=profile)
    assert decode(data).info.icc_converted
    assert not decode(data, icc_bytes=len(profile) - 1).info.icc_converted
    grey = pictures.encode(scene().convert("L"), "PNG", icc_profile=profile)
    assert not decode(grey).info.icc_converted


def test_metadata_named_like_codec_fields_are_harmless() -> None:
    """PNG text chunks can claim the names under which Pillow keeps its own facts."""
    chunks = b"".join(
        pictures.png_chunk(b"tEXt", key + b"\0" + b"\xff" * 40)
        for key in (b"transparency", b"icc_profile", b"exif", b"gamma", b"background")
    )
    line = bytes(range(24))
    data = pictures.raw_png(8, 8, bits=8, colour_type=2, rows=line * 8, extra=chunks)
    plain = pictures.raw_png(8, 8, bits=8, colour_type=2, rows=line * 8)
    np.testing.assert_array_equal(decode(data).pixels, decode(plain).pixels)


def test_mpo_counts_as_a_jpeg() -> None:
    """A JPEG that holds further pictures shows its first, as viewers do."""
    buffer = io.BytesIO()
    scene().save(buffer, "MPO", save_all=True, append_images=[pictures.noise((SIZE, SIZE))])
    decoded = decode(buffer.getvalue())
    assert decoded.info.format == "JPEG"
    assert decoded.info.frames == 1
    assert decoded.coverage == 1.0


@pytest.mark.parametrize("values", [[[-5.0, 0.0], [2.5, 5.0]], [[0.0, 35_000.0], [52_500.0, 7e4]]])
def test_grey_outside_sixteen_bits_is_scaled_by_its_own_range(values: list[list[float]]) -> None:
    """No codec that is allowed gives such samples today; none may clip them."""
    image = Image.fromarray(np.array(values, dtype=np.float32))
    grey = np.asarray(opaque(image))
    assert (grey.min(), grey.max()) == (0, 255)
    assert len(np.unique(grey)) == 4
    flat = opaque(Image.fromarray(np.full((2, 2), np.nan, dtype=np.float32)))
    assert np.asarray(flat).tolist() == [[0, 0], [0, 0]]
