"""Pictures of coloured squares and discs, with captions: something small that can be learned."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from PIL import Image, ImageDraw

COLORS = {
    "red": (220, 30, 30),
    "green": (30, 180, 60),
    "blue": (40, 60, 220),
    "yellow": (230, 210, 30),
}
SHAPES = ("square", "disc", "bar")


def write_pairs(folder: Path, *, count: int, seed: int, classes: bool = True) -> Path:
    """Write ``count`` pictures of 40 px below ``folder`` and pairs.csv beside them; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        color, shape = chance.choice(list(COLORS)), chance.choice(SHAPES)
        name = f"{seed}-{number}.png"
        draw_picture(color, shape, chance).save(folder / name)
        rows.append((name, f"a {color} {shape}", color))
    path = folder / "pairs.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "caption", "class"] if classes else ["file", "caption"])
        writer.writerows(rows if classes else [row[:2] for row in rows])
    return path


def draw_picture(color: str, shape: str, chance: random.Random) -> Image.Image:
    """RGB, 40 px, on a random grey."""
    grey = chance.randrange(60, 200)
    picture = Image.new("RGB", (40, 40), (grey, grey, grey))
    left, upper = chance.randrange(2, 14), chance.randrange(2, 14)
    box = (left, upper, left + 20, upper + (8 if shape == "bar" else 20))
    draw = ImageDraw.Draw(picture)
    (draw.ellipse if shape == "disc" else draw.rectangle)(box, fill=COLORS[color])
    return picture
