"""What the first picture of a fresh worker would else pay for: late imports, pages, tables.

Knows one small picture and that decoding it brings all of that in; refuses to know processes. Of
other formats the first picture costs about a millisecond more than the next.
"""

from __future__ import annotations

import io

from PIL import ExifTags, Image

from imagesieve_server.core.views import Coverage, Preprocessing, ViewPlan
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits

_SIZE = (96, 64)  # px; two views
_TURNED = 6  # EXIF orientation, for which Pillow imports more


def warm(preprocessing: Preprocessing) -> None:
    """Decode a picture made here, and forget it."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = _TURNED
    file = io.BytesIO()
    Image.new("RGB", _SIZE).save(file, "JPEG", exif=exif)
    plan = ViewPlan(coverage=Coverage.TILES)
    decode_image(file.getvalue(), plan=plan, preprocessing=preprocessing, limits=Limits())
