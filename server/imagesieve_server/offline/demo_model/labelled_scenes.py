"""A folder of labelled scenes, as the demo model knows them, to try what measures policies on.

    imagesieve-server model demo-scenes --cache DIR --out DIR [--count N] [--seed S]

Writes the pictures and ``labels.csv``. Four pictures in ten show something that the demo policy
looks for, ``categories`` says what; one in ten is a photograph alone. A third are not square or
move: there the subject lies anywhere, in one of several frames, or beside another one. Two seeds
give two independent draws of scenes; the art in them is the same.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagesieve_server.core.errors import ConfigError
from imagesieve_server.extras import need
from imagesieve_server.offline.demo_model import backdrops, emoji_art, scenes
from imagesieve_server.offline.demo_model.categories import CATEGORIES
from imagesieve_server.offline.demo_model.emoji_art import Emoji
from imagesieve_server.offline.folders import make_folder

LABELS = "labels.csv"
COLUMNS = ("file", "categories", "shape", "artist", "subject")

_SHAPES = {"square": 0.65, "wide": 0.18, "tall": 0.08, "pair": 0.04, "animation": 0.05}
_FLAGGED, _BARE = 0.4, 0.1  # shares; the rest shows some other emoji
_FRAMES = 4
_FRAME_MS = 120
_CROPS_EACH = 100
_CHUNK = 256  # pictures composed at once
_SEED = 1 << 41
"""Training and the model's own figures are seeded with other numbers."""

Panel = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What one picture is made of."""

    file: str
    shape: str
    artist: str
    subjects: tuple[int, ...]  # numbers of emoji; none for a backdrop alone
    panels: tuple[int, ...]  # sprite numbers, scenes.NONE for a backdrop alone
    offset: int  # px: where the window begins that a wide or tall picture is cut from


def write_scenes(
    *, cache: Path, out: Path, count: int, seed: int, artists: Sequence[str] = emoji_art.ARTISTS
) -> None:
    """Compose ``count`` pictures into ``out``, which must not exist or be empty.

    Raises ConfigError for a folder that is in use or cannot be written (see ``emoji_art.fetch``
    too), MissingExtra without torch and scikit-image.
    """
    make_folder(out)
    if any(out.iterdir()):
        raise ConfigError(f"{out} is not empty; name a new folder")
    emoji_art.fetch(cache, artists)
    emoji = emoji_art.read_emoji(cache)
    sprites = np.concatenate([emoji_art.read_sprites(cache, a, emoji) for a in artists])
    crops = backdrops.cut_crops(
        backdrops.PHOTOGRAPHS, side=scenes.SIDE, each=_CROPS_EACH, seed=_SEED + seed
    )
    maker = scenes.SceneMaker(sprites, crops)
    generator = need("torch").Generator().manual_seed(_SEED + seed)
    drawn = list(draw_scenes(emoji, artists, count=count, seed=seed))
    for first in range(0, count, _CHUNK):
        some = drawn[first : first + _CHUNK]
        numbers = need("torch").tensor([number for scene in some for number in scene.panels])
        panels = maker.render(numbers, generator).numpy().transpose(0, 2, 3, 1)
        for scene in some:
            _save(scene, panels[: len(scene.panels)], out / scene.file)
            panels = panels[len(scene.panels) :]
    _write_labels(out / LABELS, drawn, emoji)


def draw_scenes(
    emoji: Sequence[Emoji], artists: Sequence[str], *, count: int, seed: int
) -> Iterator[Scene]:
    """What each picture shows; depends on the arguments alone."""
    chance = random.Random(_SEED + seed)
    number_of = {one.name: number for number, one in enumerate(emoji)}
    flagged = [[number_of[name] for name in names] for names in CATEGORIES.values()]
    members = {number for numbers in flagged for number in numbers}
    others = [number for number in range(len(emoji)) if number not in members]

    def subject() -> int:
        pool = chance.choice(flagged) if chance.random() < _FLAGGED / (1 - _BARE) else others
        return chance.choice(pool)

    for position in range(count):
        shape = chance.choices(list(_SHAPES), list(_SHAPES.values()))[0]
        artist = chance.randrange(len(artists))
        bare = chance.random() < _BARE
        subjects = () if bare else tuple(subject() for _ in range(2 if shape == "pair" else 1))
        sprites = [artist * len(emoji) + number for number in subjects] or [scenes.NONE]
        suffix = "gif" if shape == "animation" else "png"
        yield Scene(
            file=f"{position:06}.{suffix}",
            shape=shape,
            artist=artists[artist],
            subjects=subjects,
            panels=_panels(shape, sprites, chance),
            offset=chance.randrange(scenes.SIDE + 1),
        )


def _panels(shape: str, sprites: Sequence[int], chance: random.Random) -> tuple[int, ...]:
    """Which squares a picture is put together from."""
    none = scenes.NONE
    if shape in ("wide", "tall"):
        return (none, sprites[0], none)  # a window of two is cut from these three
    if shape == "animation":
        shown = chance.randrange(_FRAMES)
        return tuple(sprites[0] if frame == shown else none for frame in range(_FRAMES))
    if shape == "pair" and len(sprites) == 1:
        return (none, none)
    return tuple(sprites)


def _save(scene: Scene, panels: Panel, path: Path) -> None:
    if scene.shape == "animation":
        first, *rest = [Image.fromarray(panel) for panel in panels]
        first.save(path, save_all=True, append_images=rest, duration=_FRAME_MS, loop=0)
        return
    picture = np.concatenate(list(panels), axis=0 if scene.shape == "tall" else 1)
    window = slice(scene.offset, scene.offset + 2 * scenes.SIDE)
    if scene.shape == "wide":
        picture = picture[:, window]
    elif scene.shape == "tall":
        picture = picture[window]
    Image.fromarray(picture).save(path)


def _write_labels(path: Path, drawn: Sequence[Scene], emoji: Sequence[Emoji]) -> None:
    category_of = {name: category for category, names in CATEGORIES.items() for name in names}
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(COLUMNS)
        for scene in drawn:
            names = [emoji[number].name for number in scene.subjects]
            found = sorted({category_of[name] for name in names if name in category_of})
            subject = " + ".join(names) or "photograph or backdrop"
            writer.writerow([scene.file, ";".join(found), scene.shape, scene.artist, subject])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--cache", type=Path, required=True, help="folder of the npm packages")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--count", type=int, default=10_000, help="pictures")
    parser.add_argument("--seed", type=int, default=1)


def run(args: argparse.Namespace) -> int:
    """Compose as the command line says."""
    write_scenes(cache=args.cache, out=args.out, count=args.count, seed=args.seed)
    print(f"wrote {args.count} pictures and {args.out / LABELS}")
    return 0
