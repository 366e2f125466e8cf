"""Views per image of ordinary photographs and animations: the tables of docs/reference/views.md.

    PYTHONPATH=tests python tests/benchmarks/views.py [--write]

Nothing is timed. Photographs are scikit-image's, cropped to each aspect ratio and scaled;
animations are ``clips``. Decoded in this process, by the plan of a policy that says nothing.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
from collections.abc import Iterator, Sequence

from benchmarks.clips import CLIPS, PHOTOGRAPHS, part, photograph
from helpers import reference
from helpers.pictures import animation, encode
from helpers.reference import REFERENCE, table
from imagesieve_server.core.views import DecodedImage, Preprocessing, ViewPlan
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits

PAGE = REFERENCE / "views.md"
ASPECTS = ((1, 1), (4, 3), (3, 2), (16, 9), (9, 16), (21, 9))
MEGAPIXELS = (0.3, 2.0, 12.0)
CLIP_SIZES = ((320, 180), (320, 240), (240, 240), (180, 320))
CLIP_FRAMES = 60
LONG_FRAMES = 300  # of the two that move most
LONG = ("camera pan", "music video")


def decoded(data: bytes) -> DecodedImage:
    return decode_image(
        data, plan=ViewPlan(), preprocessing=Preprocessing(size=224), limits=Limits()
    )


def stills() -> str:
    """One row per aspect ratio, over all photographs and sizes."""
    rows = []
    for width, height in ASPECTS:
        images = [
            decoded(encode(part(photograph(name), _size(width, height, megapixels)), "JPEG"))
            for name, megapixels in itertools.product(PHOTOGRAPHS, MEGAPIXELS)
        ]
        rows.append((f"{width}:{height}", str(len(images)), *_figures(images)))
    head = ("Aspect", "photographs", "views", "crop_fraction", "VIEWS_TRUNCATED")
    return table(head, rows)


def _size(width: int, height: int, megapixels: float) -> tuple[int, int]:
    unit = math.sqrt(megapixels * 1e6 / (width * height))
    return round(width * unit), round(height * unit)


def _figures(images: Sequence[DecodedImage]) -> Iterator[str]:
    yield ", ".join(str(count) for count in sorted({len(image.views) for image in images}))
    yield f"{statistics.mean(image.crop_fraction for image in images):.2f}"
    yield f"{sum(bool(image.truncated) for image in images)} of {len(images)}"


def clips() -> str:
    """One row per clip: views at each size, with the coverage where it is less than all."""
    rows = []
    counts = [(name, CLIP_FRAMES) for name in CLIPS] + [(name, LONG_FRAMES) for name in LONG]
    for name, count in counts:
        rows.append((name, str(count), *(_clip(name, size, count) for size in CLIP_SIZES)))
        print(*rows[-1], flush=True)
    head = ("Clip", "frames", *(f"{width}×{height}" for width, height in CLIP_SIZES))
    return table(head, rows)


def _clip(name: str, size: tuple[int, int], count: int) -> str:
    image = decoded(animation(list(CLIPS[name](size, count)), "WEBP", method=0))
    seen = f"{len(image.views)}"
    return seen if image.coverage == 1.0 else f"{seen} ({image.coverage:.0%})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="rewrite the page of the reference")
    args = parser.parse_args()
    for name, make in (("stills", stills), ("clips", clips)):
        text = make()
        print(text)
        if args.write:
            before, _, after = reference.split(PAGE.read_text(encoding="utf-8"), name)
            PAGE.write_text(f"{before}\n{text}\n\n{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
