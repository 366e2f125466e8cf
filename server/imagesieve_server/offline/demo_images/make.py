"""Make the demo's pictures: ``python -m imagesieve_server.offline.demo_images.make``.

Writes the files, ``labels.csv`` (file, expected, category) and ``LICENSES.md``. The same seed gives
the same pixels; the bytes also depend on Pillow's codecs.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagesieve_server.demo_data import DEMO_IMAGES
from imagesieve_server.offline.demo_images.catalogue import PICTURES, Picture
from imagesieve_server.offline.demo_images.drawing import ArtBox, draw, sticker
from imagesieve_server.offline.demo_images.evasions import WRITERS
from imagesieve_server.offline.demo_model.backdrops import PHOTOGRAPHS

SEED = 1

_SETTINGS: dict[str, dict[str, Any]] = {
    ".jpg": {"quality": 85},
    ".webp": {"quality": 85},
    ".avif": {"quality": 75},
    ".png": {"optimize": True},
    ".gif": {},
}

_LICENCES = """\
# Where the demo pictures come from

Made by `python -m imagesieve_server.offline.demo_images.make` from the sources below. Scaling,
turning, composing and recompression are the only changes; `labels.csv` says what is expected of
each picture.

## Drawings
- Noto Emoji, copyright Google LLC, Apache License 2.0, by way of the npm package
  emoji-datasource-google.
- Twemoji, copyright Twitter, Inc. and other contributors, licensed under CC-BY-4.0
  (https://creativecommons.org/licenses/by/4.0/), by way of the npm package
  emoji-datasource-twitter; scaled, turned and composed with backdrops.

## Photographs
All by way of scikit-image (`skimage.data`), which documents these licences.

| picture | from | licence |
|---|---|---|
"""


def write_pictures(
    art: ArtBox, folder: Path, pictures: Sequence[Picture] = PICTURES, *, seed: int = SEED
) -> None:
    """Write every picture and the two tables into ``folder``, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        # One generator a picture: adding one leaves the others as they are.
        write_picture(picture, art, random.Random(f"{seed}:{picture.file}"), folder)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "expected", "category"])
        rows.writerows([p.file, p.expected, p.category] for p in pictures)
    (folder / "LICENSES.md").write_text(_LICENCES + _photograph_rows(), encoding="utf-8")


def write_picture(picture: Picture, art: ArtBox, chance: random.Random, folder: Path) -> None:
    """Write one file."""
    path = folder / picture.file
    if picture.evasion:
        WRITERS[picture.evasion](picture.scene, art, chance, path)
        return
    image = (sticker if picture.transparent else draw)(picture.scene, art, chance)
    image.save(path, **_SETTINGS[path.suffix])


def _photograph_rows() -> str:
    used = {p.scene.backdrop.partition(":")[2] for p in PICTURES}
    rows = [f"| {p.file} | {p.source} | {p.licence} |\n" for p in PHOTOGRAPHS if p.file in used]
    return "".join(rows)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the npm packages")
    parser.add_argument("--out", type=Path, default=DEMO_IMAGES)
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    write_pictures(ArtBox(args.cache), args.out, seed=args.seed)
    print(f"wrote {len(PICTURES)} pictures to {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
