"""Pictures to train on: art on a backdrop, at random scale, place, angle and colour.

A whole batch is composed at once with torch; everything random comes from the generator it is
given, so one seed gives one picture. Knows pixels; refuses to know names and captions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from imagesieve_server.extras import need
from imagesieve_server.offline.demo_model.backdrops import Crops
from imagesieve_server.offline.demo_model.emoji_art import Sprites

SIDE = 64
MAX_ANGLE = 20.0
"""Degrees either way: beyond that orientation would lose its meaning ("up arrow")."""

_CHUNK = 64
"""Pictures composed at once: few enough to stay in the processor's cache."""

NONE = -1
"""In place of a sprite's number: a backdrop with nothing on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How often what happens to a picture."""

    photograph: float = 0.40  # behind the art; the rest is split among the others
    smooth: float = 0.30  # gradients and blotches
    companion: float = 0.05  # a second, smaller sprite behind the first
    grey: float = 0.20
    silhouette: float = 0.03  # one plain colour on another
    blur: float = 0.15


class SceneMaker:
    """Composes pictures from sprites and photograph crops."""

    def __init__(self, sprites: Sprites, crops: Crops, shares: Shares | None = None) -> None:
        """``sprites`` uint8 [V, 4, 64, 64] premultiplied RGBA; ``crops`` uint8 [K, 3, 64, 64]."""
        torch = need("torch")
        self._sprites = torch.from_numpy(sprites)
        half = torch.nn.functional.avg_pool2d(self._sprites.float(), 2)
        self._half = half.round().to(torch.uint8)
        self._crops = torch.from_numpy(crops)
        self._shares = shares or Shares()

    def render(self, numbers: Any, generator: Any, crop_numbers: Any = None) -> Any:
        """uint8 [N, 3, 64, 64] of sprites ``numbers`` int64 [N], NONE for a bare backdrop.

        ``crop_numbers`` int64 [N] fixes the photograph crop behind each; NONE where the backdrop
        is not to be a photograph. Without it backdrops are drawn.
        """
        torch = need("torch")
        rows = torch.split(torch.arange(len(numbers)), _CHUNK)
        crops = [None if crop_numbers is None else crop_numbers[some] for some in rows]
        chunks = zip(rows, crops, strict=True)
        return torch.cat([self._render(numbers[some], generator, c) for some, c in chunks])

    def _render(self, numbers: Any, generator: Any, crop_numbers: Any) -> Any:
        draw = Draw(generator, len(numbers))
        bare = numbers == NONE
        silhouette = draw.happens(self._shares.silhouette) & ~bare
        canvas = self._backdrops(draw, silhouette, crop_numbers)
        companion = draw.happens(self._shares.companion) & ~bare & ~silhouette
        canvas = self._with_companions(canvas, companion, draw)
        layer = self._placed(numbers.clamp(min=0), draw, draw.uniform(0.45, 1.05))
        layer = _recoloured(layer, draw, silhouette, canvas)
        layer = layer * (~bare).view(-1, 1, 1, 1)
        canvas = layer[:, :3] + canvas * (1.0 - layer[:, 3:])
        return self._finished(canvas, draw, silhouette)

    def _backdrops(self, draw: Draw, silhouette: Any, crop_numbers: Any) -> Any:
        """float [N, 3, 64, 64] in 0…1."""
        torch = need("torch")
        plain = _plain_colours(draw)
        smooth = _smooth_colours(draw)
        crops = draw.integers(len(self._crops)) if crop_numbers is None else crop_numbers
        photographs = _jittered(self._crops[crops.clamp(min=0)].float() / 255.0, draw)
        kind = draw.uniform(0.0, 1.0)
        shares = self._shares
        is_photograph = kind < shares.photograph if crop_numbers is None else crops != NONE
        is_smooth = ~is_photograph & (
            draw.uniform(0.0, 1.0) < shares.smooth / (1 - shares.photograph)
        )
        canvas = torch.where(_wide(is_photograph & ~silhouette), photographs, plain)
        return torch.where(_wide(is_smooth & ~silhouette), smooth, canvas)

    def _with_companions(self, canvas: Any, companion: Any, draw: Draw) -> Any:
        torch = need("torch")
        numbers = draw.integers(len(self._sprites))
        scale = draw.uniform(0.2, 0.4)
        rows = torch.nonzero(companion)[:, 0]
        if not len(rows):
            return canvas
        layer = self._placed(numbers[rows], draw.of(rows), scale[rows], margin=0.0)
        canvas[rows] = layer[:, :3] + canvas[rows] * (1.0 - layer[:, 3:])
        return canvas

    def _placed(self, numbers: Any, draw: Draw, scale: Any, margin: float = 0.06) -> Any:
        """Premultiplied RGBA float [N, 4, 64, 64]: each sprite scaled, turned and moved.

        ``margin`` is the share of the sprite that may lie outside the picture.
        """
        torch = need("torch")
        grid = _grid(draw, scale, margin)
        large = torch.nonzero(scale >= 0.6)[:, 0]
        small = torch.nonzero(scale < 0.6)[:, 0]
        layer = torch.zeros(len(numbers), 4, SIDE, SIDE)
        for rows, sprites in ((large, self._sprites), (small, self._half)):
            if len(rows):
                source = sprites[numbers[rows]].float() / 255.0
                layer[rows] = torch.nn.functional.grid_sample(
                    source, grid[rows], mode="bilinear", padding_mode="zeros", align_corners=False
                )
        return layer

    def _finished(self, canvas: Any, draw: Draw, silhouette: Any) -> Any:
        torch = need("torch")
        canvas = torch.where(_wide(silhouette), canvas, _jittered(canvas, draw, amount=0.35))
        luma = (canvas * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        canvas = torch.where(_wide(draw.happens(self._shares.grey)), luma, canvas)
        blurred = torch.nn.functional.avg_pool2d(canvas, 3, stride=1, padding=1)
        blurred = blurred * 0.6 + canvas * 0.4
        canvas = torch.where(_wide(draw.happens(self._shares.blur)), blurred, canvas)
        return (canvas.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)


class Draw:
    """Random numbers for each picture of a batch."""

    def __init__(self, generator: Any, count: int) -> None:
        self._generator = generator
        self.count = count

    def of(self, rows: Any) -> Draw:
        """The same generator for a part of the batch."""
        return Draw(self._generator, len(rows))

    def uniform(self, low: float, high: float, *shape: int) -> Any:
        """float32 [N, *shape] in [low, high)."""
        torch = need("torch")
        return low + (high - low) * torch.rand(self.count, *shape, generator=self._generator)

    def integers(self, below: int) -> Any:
        """int64 [N] in [0, below)."""
        return need("torch").randint(below, (self.count,), generator=self._generator)

    def happens(self, share: float) -> Any:
        """bool [N]."""
        return self.uniform(0.0, 1.0) < share


def angles(draw: Draw) -> Any:
    """Radians [N] within MAX_ANGLE, a third of them nearly upright."""
    torch = need("torch")
    angle = draw.uniform(-1.0, 1.0) * math.radians(MAX_ANGLE)
    return torch.where(draw.happens(0.33), angle * 0.1, angle)


def _grid(draw: Draw, scale: Any, margin: float) -> Any:
    """Sampling grid [N, 64, 64, 2]: from picture coordinates to the sprite's."""
    torch = need("torch")
    angle, stretch = angles(draw), draw.uniform(0.9, 1.1)
    room = (1.0 - scale).abs() + 2.0 * margin * scale
    x, y = draw.uniform(-1.0, 1.0) * room, draw.uniform(-1.0, 1.0) * room
    cos, sin = torch.cos(angle), torch.sin(angle)
    # Inverse of: scale by (s·k, s/k), turn, move.
    across, along = 1.0 / (scale * stretch), stretch / scale
    theta = torch.stack(
        [
            torch.stack([cos * across, sin * across, -(cos * x + sin * y) * across], dim=1),
            torch.stack([-sin * along, cos * along, (sin * x - cos * y) * along], dim=1),
        ],
        dim=1,
    )
    return torch.nn.functional.affine_grid(theta, (draw.count, 4, SIDE, SIDE), align_corners=False)


def _recoloured(layer: Any, draw: Draw, silhouette: Any, canvas: Any) -> Any:
    """Change the art's tint; silhouettes become black on light canvases, white on dark ones."""
    torch = need("torch")
    tint = draw.uniform(0.85, 1.15, 3, 1, 1) * draw.uniform(0.85, 1.1, 1, 1, 1)
    alpha = layer[:, 3:]
    tinted = torch.minimum(layer[:, :3] * tint, alpha)
    # Against a backdrop below 0.35 or above 0.65, see _plain_colours.
    ink = (canvas.mean(dim=(1, 2, 3)) < 0.5).float()
    return torch.cat([torch.where(_wide(silhouette), alpha * _wide(ink), tinted), alpha], dim=1)


def _plain_colours(draw: Draw) -> Any:
    """float [N, 3, 64, 64]: any colour, or often white, black or grey."""
    torch = need("torch")
    colour = draw.uniform(0.0, 1.0, 3, 1, 1)
    grey = draw.uniform(0.0, 1.0, 1, 1, 1).expand(-1, 3, -1, -1)
    which = draw.uniform(0.0, 1.0)
    colour = torch.where(_wide(which < 0.5), grey, colour)
    colour = torch.where(_wide(which < 0.3), torch.ones(1), colour)
    colour = torch.where(_wide(which < 0.1), torch.zeros(1), colour)
    return colour.expand(-1, -1, SIDE, SIDE)


def _smooth_colours(draw: Draw) -> Any:
    """float [N, 3, 64, 64]: gradients between corners, or blotches."""
    torch = need("torch")
    resize = torch.nn.functional.interpolate
    gradient = resize(draw.uniform(0.0, 1.0, 3, 2, 2), (SIDE, SIDE), mode="bilinear")
    blotches = resize(draw.uniform(-0.1, 1.1, 3, 6, 6), (SIDE, SIDE), mode="bilinear")
    return torch.where(_wide(draw.happens(0.6)), gradient, blotches)


def _jittered(canvas: Any, draw: Draw, amount: float = 1.0) -> Any:
    """Brightness, contrast and colour balance changed by up to 30 % times ``amount``."""
    spread = 0.3 * amount
    balance = draw.uniform(1 - spread / 2, 1 + spread / 2, 3, 1, 1)
    contrast = draw.uniform(1 - spread, 1 + spread, 1, 1, 1)
    shift = draw.uniform(-spread / 2, spread / 2, 1, 1, 1)
    return ((canvas * balance - 0.5) * contrast + 0.5 + shift).clamp(0.0, 1.0)


def _wide(flags: Any) -> Any:
    return flags.view(-1, 1, 1, 1)
