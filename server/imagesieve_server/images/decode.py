"""One image's bytes to views, in the calling process.

Knows the order of the steps: admission, header, decoding, normalisation, views. It refuses
to trust: only the sniffed codec is tried, and every error of a codec becomes
ImageUndecodable. Meant for a worker process, where a codec's crash costs one image.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from imagesieve_server.core.errors import ImageUndecodable, UndecodableDetail
from imagesieve_server.core.views import DecodedImage, Preprocessing, ViewPlan
from imagesieve_server.images.admission import admit
from imagesieve_server.images.frames import tie_key
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.opening import open_image, pillow_bomb_cap, pixel_cap
from imagesieve_server.images.sniff import ImageFormat
from imagesieve_server.images.structure import ends_early
from imagesieve_server.images.take import Take
from imagesieve_server.images.undecodable import undecodable
from imagesieve_server.images.views import plan_squares


def decode_image(
    data: bytes,
    *,
    plan: ViewPlan,
    preprocessing: Preprocessing,
    limits: Limits,
    frame_key: bytes = b"",
) -> DecodedImage:
    """Every view that ``plan`` asks for. ``frame_key`` is the secret of the frame choice.

    Raises ImageEmpty, ImageTooLarge, ImageFormatUnsupported, ImageUndecodable. Not for
    threads: Pillow's global bomb limit is changed while it runs.
    """
    format_ = admit(data, limits=limits)
    with within_caps(data, format_, limits=limits):
        opened = open_image(data, format_, limits=limits, target=preprocessing.size)
        take = Take(
            opened=opened,
            geometry=plan_squares(
                opened.width, opened.height, plan=plan, preprocessing=preprocessing
            ),
            max_views=plan.max_views,
            preprocessing=preprocessing,
            limits=limits,
        )
        return take.still() if opened.frames == 1 else take.animation(tie_key(frame_key, data))


@contextmanager
def within_caps(data: bytes, format_: ImageFormat, *, limits: Limits) -> Iterator[None]:
    """Pillow under our caps, and whatever it raises as ImageUndecodable. Not for threads."""
    try:
        with pillow_bomb_cap(pixel_cap(format_, limits)):
            yield
    except ImageUndecodable:
        raise
    except (MemoryError, Image.DecompressionBombError) as error:
        raise undecodable(UndecodableDetail.OVER_CAPS) from error
    except Exception as error:
        # Codecs raise a dozen kinds, and all mean the same: no picture.
        raise undecodable(_detail(data, format_)) from error


def _detail(data: bytes, format_: ImageFormat) -> UndecodableDetail:
    cut = ends_early(data, format_)
    return UndecodableDetail.TRUNCATED if cut else UndecodableDetail.DECODE_ERROR
