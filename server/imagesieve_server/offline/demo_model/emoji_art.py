"""The art: which emoji there are, what they are called, and their 64 px pictures.

Knows the three npm packages and how they are fetched; refuses to know what is made of them. The
packages are pinned by version and sha256, so that one seed means one model.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagesieve_server.core.errors import ConfigError
from imagesieve_server.offline.folders import make_folder

SIDE = 64
"""Side of a sprite, px."""

Sprites = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One npm package at one version."""

    name: str
    version: str
    sha256: str  # of the tarball

    @property
    def file(self) -> str:
        """The tarball's name as ``npm pack`` writes it."""
        return f"{self.name}-{self.version}.tgz"


NAMES = Package(
    name="emojibase-data",
    version="17.0.0",
    sha256="d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
)
ART = {
    "google": Package(
        name="emoji-datasource-google",
        version="16.0.0",
        sha256="fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    ),
    "twitter": Package(
        name="emoji-datasource-twitter",
        version="16.0.0",
        sha256="f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
    ),
}
ARTISTS = tuple(ART)

# 259 country flags differ by stripes only and would fill the batch; a component is a skin tone.
_LEFT_OUT = frozenset({"Flags", "Component"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Emoji:
    """One emoji that both artists drew."""

    code: str  # hexadecimal code points, joined by "-"
    name: str  # emojibase's English label
    words: tuple[str, ...]  # emojibase's keywords
    group: str  # "Food & Drink"
    subgroup: str  # "food-fruit"
    file: str  # name of its picture in both packages


def fetch(cache: Path, artists: Sequence[str] = ARTISTS) -> None:
    """Bring the packages into ``cache`` where they are not there yet.

    Raises ConfigError where npm is missing, fails, or what it brings is not the pinned file, and
    where ``cache`` cannot be written.
    """
    make_folder(cache)
    for package in (NAMES, *(ART[artist] for artist in sorted({*artists, *ARTISTS}))):
        target = cache / package.file
        if not target.is_file():
            _npm_pack(package, cache)
        if hashlib.sha256(target.read_bytes()).hexdigest() != package.sha256:
            raise ConfigError(f"{package.file} is not the file this release was made with")


def read_emoji(cache: Path) -> tuple[Emoji, ...]:
    """Every emoji that both artists drew, flags left out, in the packages' own order."""
    labels = {entry["hexcode"]: entry for entry in _json(cache, NAMES, "package/en/data.json")}
    found = []
    for entry in _json(cache, ART["google"], "package/emoji.json"):
        code = str(entry["unified"])
        label = labels.get(code) or labels.get(code.replace("-FE0F", ""))
        drawn = all(entry[f"has_img_{artist}"] for artist in ARTISTS)
        if label is None or not drawn or entry["category"] in _LEFT_OUT:
            continue
        found.append(
            Emoji(
                code=code,
                name=str(label["label"]),
                words=tuple(str(tag) for tag in label.get("tags", ())),
                group=str(entry["category"]),
                subgroup=str(entry["subcategory"]),
                file=str(entry["image"]),
            )
        )
    return tuple(found)


def read_sprites(cache: Path, artist: str, emoji: Sequence[Emoji]) -> Sprites:
    """One artist's pictures, uint8 [N, 4, 64, 64] RGBA with colours premultiplied by alpha.

    Raises ConfigError where the package lacks one.
    """
    wanted = {f"package/img/{artist}/{SIDE}/{e.file}": row for row, e in enumerate(emoji)}
    sprites = np.zeros((len(emoji), 4, SIDE, SIDE), dtype=np.uint8)
    missing = set(wanted)
    with tarfile.open(cache / ART[artist].file) as package:
        for member in package:
            if member.name in wanted:
                data = package.extractfile(member)
                assert data is not None  # a regular file, by its name
                sprites[wanted[member.name]] = premultiplied(data.read())
                missing.discard(member.name)
    if missing:
        raise ConfigError(f"{ART[artist].file} has no {min(missing)}")
    return sprites


def premultiplied(png: bytes) -> Sprites:
    """A PNG as uint8 [4, 64, 64], padded to a square, colours multiplied by alpha."""
    with Image.open(io.BytesIO(png)) as image:
        art = image.convert("RGBA")
    square = Image.new("RGBA", (SIDE, SIDE))
    square.paste(art, ((SIDE - art.width) // 2, (SIDE - art.height) // 2))
    pixels = np.asarray(square, dtype=np.uint16)
    colours = (pixels[..., :3] * pixels[..., 3:] + 127) // 255
    return np.concatenate([colours, pixels[..., 3:]], axis=2).astype(np.uint8).transpose(2, 0, 1)


def _npm_pack(package: Package, cache: Path) -> None:
    command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    try:
        subprocess.run(command, cwd=cache, check=True, capture_output=True)
    except FileNotFoundError as problem:
        raise ConfigError(
            f"npm is not installed; put {package.file} into the cache folder yourself"
        ) from problem
    except subprocess.CalledProcessError as problem:
        raise ConfigError(f"npm could not bring {package.name}@{package.version}") from problem


def _json(cache: Path, package: Package, member: str) -> Any:
    with tarfile.open(cache / package.file) as archive:
        data = archive.extractfile(member)
        assert data is not None  # a regular file, by its name
        return json.load(data)
