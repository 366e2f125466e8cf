"""One picture of a file for people to look at: upright, in RGB, reduced.

Knows which frame and which background; the codecs, the caps and their order are those of
``decode``. Meant for a worker process.
"""

from __future__ import annotations

from PIL import Image

from imagesieve_server.core.views import DecodeInfo, Preview, PreviewPlan
from imagesieve_server.images.admission import admit
from imagesieve_server.images.decode import within_caps
from imagesieve_server.images.frames import frame_at
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.normalise import upright
from imagesieve_server.images.opening import Opened, open_image
from imagesieve_server.images.preprocess import pixels_of


def preview_image(data: bytes, *, plan: PreviewPlan, limits: Limits) -> Preview:
    """The picture that ``plan`` asks for.

    Raises ImageEmpty, ImageTooLarge, ImageFormatUnsupported, ImageUndecodable. Not for
    threads, as ``decode_image``.
    """
    format_ = admit(data, limits=limits)
    with within_caps(data, format_, limits=limits):
        # DCT scaling leaves the short side at least twice the target: no detail is lost.
        opened = open_image(data, format_, limits=limits, target=max(1, plan.side // 2))
        return _picture(opened, plan, limits)


def _picture(opened: Opened, plan: PreviewPlan, limits: Limits) -> Preview:
    mode = opened.image.mode
    number = min(plan.frame, opened.frames - 1)
    frame = opened.image
    if opened.frames > 1:
        frame = frame_at(opened.image, number, screen=opened.stored_size)
    else:
        frame.load()
    picture = upright(
        frame,
        orientation=opened.orientation,
        icc_bytes=limits.icc_bytes,
        sample_bits=opened.sample_bits,
    )
    return Preview(
        pixels=pixels_of(_reduced(picture.on(plan.background), plan.side)),
        frame=number,
        info=DecodeInfo(
            format=opened.format.value,
            width=opened.width,
            height=opened.height,
            mode=mode,
            frames=opened.frames,
            orientation=opened.orientation,
            has_alpha=picture.alpha is not None,
            icc_converted=picture.icc_converted,
            scale_denominator=opened.scale,
        ),
    )


def _reduced(image: Image.Image, side: int) -> Image.Image:
    """The longer side at most ``side`` px, the shorter at least one."""
    scale = side / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
