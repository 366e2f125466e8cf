"""What is refused by its first bytes, and what the outer structure of a file says."""

from __future__ import annotations

import time

import pytest

from helpers import bombs, pictures
from imagesieve_server.core.errors import ImageEmpty, ImageFormatUnsupported, ImageTooLarge
from imagesieve_server.images.admission import admit
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.sniff import ImageFormat, sniff
from imagesieve_server.images.structure import ends_early, gif_frames, jpeg_scans

OTHERS = {
    "bmp": b"BM" + b"\0" * 60,
    "tiff": b"II*\0" + b"\0" * 60,
    "psd": b"8BPS" + b"\0" * 60,
    "pdf": b"%PDF-1.7\n",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0",
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "wave": b"RIFF\x24\0\0\0WAVEfmt ",
    "jpeg xl": b"\xff\x0a" + b"\0" * 60,
    "jpeg after a blank": b" \xff\xd8\xff\xe0",
    "half a png magic": b"\x89PNG",
}


@pytest.mark.parametrize("format_", pictures.FORMATS)
def test_each_format_is_known_by_its_magic(format_: str) -> None:
    """What Pillow writes is sniffed as what it is."""
    assert sniff(pictures.encode(pictures.scene((16, 16)), format_)) is ImageFormat[format_]


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS.keys())
def test_every_other_format_is_refused(data: bytes) -> None:
    """Formats that nobody uploads never reach a codec."""
    assert sniff(data) is None
    with pytest.raises(ImageFormatUnsupported) as caught:
        admit(data, limits=Limits())
    assert caught.value.metadata == {"allowed": "AVIF, GIF, JPEG, PNG, WEBP"}


def test_avif_may_be_a_compatible_brand_only() -> None:
    """Some encoders put the container's brand first."""
    assert sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf") is ImageFormat.AVIF
    assert sniff(b"\0\0\0\x14ftypmif1\0\0\0\0heicavif") is None  # beyond the box


def test_empty_and_too_large_are_refused_first() -> None:
    """Whatever the bytes are."""
    with pytest.raises(ImageEmpty):
        admit(b"", limits=Limits())
    admit(b"GIF89a" + b"\0" * 4, limits=Limits(bytes=10))
    with pytest.raises(ImageTooLarge) as caught:
        admit(b"GIF89a" + b"\0" * 5, limits=Limits(bytes=10))
    assert caught.value.metadata == {"bytes": "11", "limit": "10"}


def test_an_operator_may_allow_fewer_formats() -> None:
    """A format that is not allowed is refused like an unknown one."""
    data = pictures.encode(pictures.scene((8, 8)), "GIF")
    assert admit(data, limits=Limits()) is ImageFormat.GIF
    with pytest.raises(ImageFormatUnsupported):
        admit(data, limits=Limits(), formats=frozenset([ImageFormat.JPEG]))


@pytest.mark.parametrize("format_", pictures.FORMATS)
@pytest.mark.parametrize("progressive", [False, True])
def test_whole_files_do_not_end_early_and_cut_ones_do(format_: str, progressive: bool) -> None:
    """The last tenth of a file is where its structure ends, in every format."""
    options = {"progressive": True} if progressive and format_ == "JPEG" else {}
    data = pictures.encode(pictures.scene((90, 70)), format_, **options)
    kind = ImageFormat[format_]
    assert not ends_early(data, kind)
    assert not ends_early(data + b"\0" * 7, kind) or format_ == "AVIF"
    for cut in pictures.cuts(data):
        assert ends_early(cut, kind), len(cut)


def test_gif_frames_are_counted_without_drawing_them() -> None:
    """The count stops where it is told to, so that a million frames cost nothing."""
    frames = [pictures.noise((20, 20), seed=seed) for seed in range(5)]
    assert gif_frames(pictures.animation(frames, "GIF"), stop_at=100) == 5
    assert gif_frames(pictures.gif_of_tiny_frames(70_000), stop_at=3_001) == 3_001
    assert gif_frames(b"GIF89a", stop_at=10) == 0


@pytest.mark.parametrize(
    ("data", "format_"),
    [
        (b"\xff\xd8" + b"\xff" * 4_000_000, "JPEG"),
        (b"\xff\xd8" + b"\xff\xd0" * 2_000_000, "JPEG"),
        (b"GIF89a" + b"\x01\0\x01\0\0\0\0" + b"\x7f" * 4_000_000, "GIF"),
    ],
    ids=["fill bytes", "lone markers", "stray bytes"],
)
def test_padding_does_not_slow_the_walk(data: bytes, format_: str) -> None:
    """Megabytes of bytes that mean nothing are passed over at once."""
    begun = time.process_time()
    assert ends_early(data, ImageFormat[format_])
    assert time.process_time() - begun < 0.5


def test_jpeg_scans_are_counted_as_far_as_the_picture_goes() -> None:
    """A baseline file has one, a progressive grey one six; what follows its end does not count."""
    grey = pictures.scene((64, 64)).convert("L")
    baseline = pictures.encode(grey, "JPEG")
    progressive = pictures.encode(grey, "JPEG", progressive=True)
    assert jpeg_scans(baseline, stop_at=99) == 1
    assert jpeg_scans(progressive, stop_at=99) == 6
    assert jpeg_scans(progressive, stop_at=4) == 4
    assert jpeg_scans(baseline + progressive, stop_at=99) == 1
    assert jpeg_scans(bombs.many_scans(500, side=64), stop_at=10_000) == 505
    assert jpeg_scans(progressive[: len(progressive) // 2], stop_at=99) < 6
    colour = pictures.encode(pictures.scene((64, 64)), "JPEG")
    assert jpeg_scans(colour, stop_at=99) == 1
    at = colour.index(b"\xff\xda") + 4
    assert colour[at] == 3  # of one component, so that two more scans must follow
    parts = colour[:at] + b"\1" + colour[at + 1 : -2] + colour[at - 4 : -2] * 2 + colour[-2:]
    assert jpeg_scans(parts, stop_at=99) == 3


def test_boxes_may_run_to_the_end_and_may_be_long() -> None:
    """A length of 0 is the rest of the file, of 1 is followed by one of 64 bits."""
    head = b"\0\0\0\x10ftypavif\0\0\0\0"
    assert not ends_early(head + b"\0\0\0\0mdat", ImageFormat.AVIF)
    long_box = head + b"\0\0\0\1mdat" + (24).to_bytes(8, "big") + b"12345678"
    assert not ends_early(long_box, ImageFormat.AVIF)
    assert ends_early(long_box[:-1], ImageFormat.AVIF)
    assert not ends_early(head + b"\0\0\0\4mdat", ImageFormat.AVIF)  # broken, not cut


def test_a_gif_that_ends_inside_a_picture_ends_early() -> None:
    data = pictures.gif_of_tiny_frames(2)
    at = data.index(b"\x2c")
    assert ends_early(data[: at + 5], ImageFormat.GIF)
    assert gif_frames(data[: at + 5], stop_at=9) == 0
    assert ends_early(data[:10], ImageFormat.GIF)
