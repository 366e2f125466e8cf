"""Art on backdrops, with Pillow: the same picture from the same seed on every machine.

Knows scenes and pixels; refuses to know file formats and evasions.
"""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

from imagesieve_server.offline.demo_images.catalogue import Scene
from imagesieve_server.offline.demo_model import emoji_art
from imagesieve_server.offline.demo_model.backdrops import PHOTOGRAPHS, open_photograph

MAX_ANGLE = 8.0
"""Degrees either way."""

_PHOTO = "photo:"


class ArtBox:
    """The two artists' pictures by emoji name."""

    def __init__(self, cache: Path) -> None:
        """Fetch and read the packages. Raises ConfigError."""
        emoji_art.fetch(cache)
        emoji = emoji_art.read_emoji(cache)
        self._numbers = {e.name: number for number, e in enumerate(emoji)}
        self._sprites = {a: emoji_art.read_sprites(cache, a, emoji) for a in emoji_art.ARTISTS}

    def sprite(self, scene: Scene) -> Image.Image:
        """The scene's emoji, RGBA with premultiplied colours ("RGBa"), 64 × 64 px."""
        planes = self._sprites[scene.artist][self._numbers[scene.emoji]]
        pixels = planes.transpose(1, 2, 0).tobytes()
        return Image.frombytes("RGBa", (emoji_art.SIDE, emoji_art.SIDE), pixels)


def draw(scene: Scene, art: ArtBox, chance: random.Random) -> Image.Image:
    """The scene in RGB, or in L where it is grey."""
    canvas = backdrop(scene, chance)
    if scene.emoji:
        layer = sticker(scene, art, chance)
        canvas.paste(layer.convert("RGB"), mask=layer.getchannel("A"))
    return canvas.convert("L") if scene.grey else canvas


def sticker(scene: Scene, art: ArtBox, chance: random.Random) -> Image.Image:
    """The emoji alone on a transparent canvas of the scene's size, RGBA.

    It stands near the middle, in a strip at the right end.
    """
    width, height = scene.size
    side = round(min(scene.size) * scene.scale)
    sprite = art.sprite(scene).resize((side, side), Image.Resampling.BICUBIC)
    turned = sprite.rotate(chance.uniform(-MAX_ANGLE, MAX_ANGLE), Image.Resampling.BICUBIC)
    room = (min(scene.size) - side) // 2
    left = width - side - room if width > 2 * height else (width - side) // 2
    left += chance.randint(-room // 2, room // 2)
    upper = (height - side) // 2 + chance.randint(-room // 2, room // 2)
    layer = Image.new("RGBa", scene.size)
    layer.paste(turned, (left, upper))
    return layer.convert("RGBA")


def backdrop(scene: Scene, chance: random.Random) -> Image.Image:
    """What is behind the emoji, RGB."""
    if scene.backdrop == "smooth":
        return _smooth(scene.size, chance)
    if scene.backdrop.startswith(_PHOTO):
        return _photograph(scene.backdrop.removeprefix(_PHOTO), scene.size)
    return Image.new("RGB", scene.size, scene.backdrop)


def _photograph(file: str, size: tuple[int, int]) -> Image.Image:
    """The largest centred part with the wanted aspect, scaled to ``size``."""
    (photograph,) = (p for p in PHOTOGRAPHS if p.file == file)
    image = open_photograph(photograph)
    ratio = min(image.width / size[0], image.height / size[1])
    width, height = size[0] * ratio, size[1] * ratio
    left, upper = (image.width - width) / 2, (image.height - height) / 2
    box = (left, upper, left + width, upper + height)
    return image.resize(size, Image.Resampling.BICUBIC, box=box)


def _smooth(size: tuple[int, int], chance: random.Random) -> Image.Image:
    """A pale gradient between four corner colours."""
    corners = Image.new("RGB", (2, 2))
    for x in range(2):
        for y in range(2):
            level = [chance.randint(150, 255) for _ in range(3)]
            corners.putpixel((x, y), (level[0], level[1], level[2]))
    return corners.resize(size, Image.Resampling.BILINEAR)
