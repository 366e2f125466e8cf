"""Pictures in a report: small, re-encoded, and blurred before they get into the file.

A report is mailed, printed and shown on walls. By default it holds no sharp picture at all: a
blurred one keeps eight by eight colors, which no tool turns back. ``REVEAL`` puts sharp ones in
the file behind a blur that a click takes away. Some studies find that blurring spares
reviewers, one found nothing: it is offered, and nothing is claimed.
"""

from __future__ import annotations

import asyncio
import base64
import enum
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from imagesieve_server.core.errors import LabelsError
from imagesieve_server.core.ports import ImageDecoder
from imagesieve_server.core.views import Pixels, Preprocessing, ViewPlan
from imagesieve_server.offline.labelled.encoding import decode_picture, decoder_pool
from imagesieve_server.offline.labelled.labelled_set import LabelledSet
from imagesieve_server.offline.labelled.pictures import Picture

SIDE = 144  # px, of a thumbnail
_KEPT = 8  # cells a side that are left of a blurred picture
_QUALITY = 72
_AT_ONCE = 16  # pictures being decoded


class Thumbnails(enum.StrEnum):
    """What a report shows of the pictures it speaks of."""

    BLURRED = "blurred"  # only blurred ones are in the file
    REVEAL = "reveal"  # sharp ones are in the file, covered until clicked
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """One small picture."""

    data: bytes  # JPEG
    covered: bool  # sharp, to be shown under a cover

    def html(self, about: str) -> str:
        """An element of the page; ``about`` is plain text."""
        source = f"data:image/jpeg;base64,{base64.b64encode(self.data).decode()}"
        image = f'<img src="{source}" alt="{escape(about)}" width="{SIDE}" height="{SIDE}">'
        if not self.covered:
            return image
        return (
            f'<label class="cover" title="click to show or cover"><input type="checkbox" '
            f'aria-label="show {escape(about)}">{image}</label>'
        )


def thumbnails(
    labelled: LabelledSet,
    views: Iterable[int],
    *,
    images: Path,
    preprocessing: Preprocessing,
    plan: ViewPlan,
    kind: Thumbnails,
) -> dict[int, Thumbnail]:
    """View number → its thumbnail, of the views that can be shown; decoded in worker processes.

    A file that changed since it was looked at has none.
    """
    if kind is Thumbnails.NONE:
        return {}
    wanted: dict[int, list[int]] = defaultdict(list)  # picture → its views
    for view in sorted(set(views)):
        wanted[int(labelled.image_of[view])].append(view)
    if not wanted:
        return {}
    pixels = asyncio.run(_decode(labelled, list(wanted), images, preprocessing, plan))
    starts = labelled.starts
    return {
        view: make(pixels[number][view - int(starts[number])], kind)
        for number, own in wanted.items()
        for view in own
        if number in pixels and view - int(starts[number]) < len(pixels[number])
    }


def make(pixels: Pixels, kind: Thumbnails) -> Thumbnail:
    """A thumbnail of one view, uint8 [S, S, 3]."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if kind is Thumbnails.BLURRED:
        few = picture.resize((_KEPT, _KEPT), Image.Resampling.BOX)
        picture = few.resize((SIDE, SIDE), Image.Resampling.BICUBIC).filter(
            ImageFilter.GaussianBlur(SIDE / 24)
        )
    else:
        picture = picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return Thumbnail(data=buffer.getvalue(), covered=kind is Thumbnails.REVEAL)


async def _decode(
    labelled: LabelledSet,
    numbers: Sequence[int],
    images: Path,
    preprocessing: Preprocessing,
    plan: ViewPlan,
) -> Mapping[int, Pixels]:
    found: dict[int, Pixels] = {}
    pool = decoder_pool(preprocessing, plan)
    await pool.start()
    try:
        for start in range(0, len(numbers), _AT_ONCE):
            group = numbers[start : start + _AT_ONCE]
            pictures = [_picture(labelled, number, images) for number in group]
            decoded = await asyncio.gather(*(_pixels(one, pool, plan) for one in pictures))
            found.update(
                (number, pixels)
                for number, pixels in zip(group, decoded, strict=True)
                if pixels is not None
            )
    finally:
        await pool.close()
    return found


async def _pixels(picture: Picture, decoder: ImageDecoder, plan: ViewPlan) -> Pixels | None:
    try:
        decoded = await decode_picture(picture, decoder=decoder, plan=plan)
    except LabelsError:  # gone, or another file by now
        return None
    return None if isinstance(decoded, str) else decoded.pixels


def _picture(labelled: LabelledSet, number: int, images: Path) -> Picture:
    """Read again under the hash that it was looked at with: another file shows nothing."""
    name = labelled.files[number]
    return Picture(name=name, path=images / name, sha256=labelled.sha256[number], size=0)
