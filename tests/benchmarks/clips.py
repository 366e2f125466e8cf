"""Ordinary animations, made from scikit-image's photographs: what people send as GIF or WebP.

Each is a function of the size in px (width, height) and the number of frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import skimage
from PIL import Image, ImageDraw, ImageFilter

Size = tuple[int, int]
Clip = Callable[[Size, int], Iterator[Image.Image]]

_DATA = Path(skimage.__file__).parent / "data"
PHOTOGRAPHS = (
    "chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg", "motorcycle_left.png",
    "hubble_deep_field.jpg", "retina.jpg", "coins.png",
)  # fmt: skip


@cache
def photograph(name: str) -> Image.Image:
    """One of scikit-image's own pictures, in RGB."""
    with Image.open(_DATA / name) as image:
        return image.convert("RGB")


def part(
    image: Image.Image, size: Size, *, x: float = 0.5, y: float = 0.5, zoom: float = 1.0
) -> Image.Image:
    """A crop of the aspect of ``size``, scaled to it; ``x`` and ``y`` from 0 to 1 place it."""
    scale = 0.999 * min(image.width / size[0], image.height / size[1]) / max(1.0, zoom)
    width, height = size[0] * scale, size[1] * scale
    left = (image.width - width) * min(max(x, 0.0), 1.0)
    upper = (image.height - height) * min(max(y, 0.0), 1.0)
    box = (left, upper, left + width, upper + height)
    return image.resize(size, Image.Resampling.BICUBIC, box=box)


def talking_head(size: Size, count: int) -> Iterator[Image.Image]:
    """A face that nods and speaks before a still background."""
    back = part(photograph("coffee.png"), size).filter(ImageFilter.GaussianBlur(3))
    side = int(size[1] * 0.8)
    face = part(photograph("astronaut.png"), (side, side), x=0.4, y=0.1, zoom=1.6)
    mask = Image.new("L", face.size)
    ImageDraw.Draw(mask).ellipse((0, 0, *face.size), fill=255)
    for number in range(count):
        frame = back.copy()
        dx, dy = (int(size[1] * 0.02 * math.sin(number / pace)) for pace in (4, 3))
        frame.paste(face, ((size[0] - side) // 2 + dx, size[1] - side + dy), mask)
        x, y, width = size[0] // 2 + dx, int(size[1] * 0.75) + dy, size[1] * 0.08
        height = size[1] * 0.05 * (0.3 + abs(math.sin(number * 1.3)))
        mouth = (x - width, y - height, x + width, y + height)
        ImageDraw.Draw(frame).ellipse(mouth, fill=(60, 10, 10))
        yield frame


def scene_cuts(size: Size, count: int) -> Iterator[Image.Image]:
    """Eight scenes, each panned slowly."""
    for number in range(count):
        scene, step = divmod(number * len(PHOTOGRAPHS) / count, 1)
        image = photograph(PHOTOGRAPHS[int(scene)])
        yield part(image, size, x=0.4 + 0.2 * step, zoom=1.15)


def cross_fade(size: Size, count: int) -> Iterator[Image.Image]:
    """Six photographs that fade into each other."""
    for number in range(count):
        scene, step = divmod(number * 6 / count, 1)
        now, then = (photograph(PHOTOGRAPHS[(int(scene) + at) % 6]) for at in (0, 1))
        yield Image.blend(part(now, size), part(then, size), max(0.0, (step - 0.7) / 0.3))


def camera_pan(size: Size, count: int) -> Iterator[Image.Image]:
    """A camera that sweeps over half a scene full of detail."""
    for number in range(count):
        yield part(photograph("motorcycle_left.png"), size, x=number / (count - 1), zoom=2)


def game(size: Size, count: int) -> Iterator[Image.Image]:
    """Twelve players on a lawn, followed by a camera."""
    phases = np.random.default_rng(2).uniform(0, 6, 12)
    for number in range(count):
        frame = part(photograph("grass.png"), size, x=0.5 + 0.4 * math.sin(number / 20), zoom=1.5)
        draw = ImageDraw.Draw(frame)
        for player, phase in enumerate(phases):
            x = size[0] * (0.5 + 0.5 * math.sin(number / 15 * (1 + player / 9) + phase))
            y = size[1] * (0.5 + 0.4 * math.cos(number / 12 + phase * 2))
            body = (x - size[1] * 0.03, y - size[1] * 0.06, x + size[1] * 0.03, y + size[1] * 0.06)
            draw.ellipse(body, fill=(200, 30, 30) if player % 2 else (240, 240, 240))
        yield frame


def screen_recording(size: Size, count: int) -> Iterator[Image.Image]:
    """A page of text that scrolls."""
    page = photograph("page.png").resize((size[0], size[0] * 2))
    for number in range(count):
        top = (page.height - size[1]) * number // (count - 1)
        yield page.crop((0, top, size[0], top + size[1]))


def dance(size: Size, count: int) -> Iterator[Image.Image]:
    """A figure that jumps before a plain wall."""
    figure = part(photograph("astronaut.png"), (size[1] * 2 // 3, size[1]))
    for number in range(count):
        frame, turn = Image.new("RGB", size, (240, 240, 235)), number / count * 8 * math.pi
        x = (size[0] - figure.width) * (0.5 + 0.3 * math.sin(turn))
        frame.paste(figure, (int(x), int(size[1] * 0.15 * abs(math.sin(turn * 2)))))
        yield frame


def sticker(size: Size, count: int) -> Iterator[Image.Image]:
    """A transparent cut-out that wobbles."""
    with Image.open(_DATA / "logo.png") as image:
        logo = image.convert("RGBA").resize((min(size) * 7 // 10,) * 2)
    for number in range(count):
        turn = number / count * 2 * math.pi
        frame = Image.new("RGBA", size, (0, 0, 0, 0))
        turned = logo.rotate(15 * math.sin(turn), resample=Image.Resampling.BICUBIC)
        frame.alpha_composite(
            turned, ((size[0] - turned.width) // 2, (size[1] - turned.height) // 2)
        )
        yield frame


def music_video(size: Size, count: int) -> Iterator[Image.Image]:
    """A cut a second, a camera that never rests, and a picture that flies through all of it."""
    for number in range(count):
        scene, step = divmod(number / 25, 1)
        images = [photograph(PHOTOGRAPHS[(int(scene) + at) % 6]) for at in (0, 3)]
        x = 0.2 + 0.6 * step if scene % 2 else 0.8 - 0.6 * step
        zoom = 1.4 + 0.5 * math.sin(number / 11 + scene)
        frame = part(images[0], size, x=x, y=0.5 + 0.3 * math.sin(number / 9), zoom=zoom)
        flying = part(images[1], (size[1] // 3, size[1] // 3), zoom=2)
        left = (0.5 + 0.45 * math.sin(number / 7)) * (size[0] - flying.width)
        upper = (0.5 + 0.45 * math.cos(number / 5)) * (size[1] - flying.height)
        frame.paste(flying, (int(left), int(upper)))
        yield frame


CLIPS: dict[str, Clip] = {
    clip.__name__.replace("_", " "): clip
    for clip in (
        talking_head, sticker, dance, game, scene_cuts, cross_fade, camera_pan,
        screen_recording, music_video,
    )
}  # fmt: skip
