"""Taking the planned views of an opened file: which frames, backgrounds and squares fit.

Knows how the cap on views is shared, and what share of the plan was seen. The order is fixed:
frame by frame, background by background, square by square. It refuses to leave anything out
silently: whatever the cap cuts lowers the coverage and is named.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from PIL import Image

from imagesieve_server.core.near_duplicates import PictureHash
from imagesieve_server.core.views import (
    DecodedImage,
    DecodeInfo,
    Pixels,
    Preprocessing,
    View,
    ViewKind,
)
from imagesieve_server.images.frames import choose, frame_at, survey
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.normalise import Upright, upright
from imagesieve_server.images.opening import Opened, open_again
from imagesieve_server.images.picture_hash import hash_of
from imagesieve_server.images.views import Geometry, render, spread

_FRAMES_AT_LEAST: Final = 2  # of an animation, the first and the last, before squares take the rest


@dataclass(slots=True, kw_only=True)
class Take:
    """The views of one opened file. For one use: ``still`` or ``animation``."""

    opened: Opened
    geometry: Geometry
    max_views: int
    preprocessing: Preprocessing
    limits: Limits
    views: list[View] = field(default_factory=list)
    pixels: list[Pixels] = field(default_factory=list)
    has_alpha: bool = False  # in some frame taken
    icc_converted: bool = False  # in some frame taken

    def still(self) -> DecodedImage:
        """Every square on every background, as far as the cap goes."""
        mode = self.opened.image.mode
        self.opened.image.load()
        picture = self._upright(self.opened.image)
        share = self._add(0, picture, self._squares(len(picture.backgrounds)))
        looks = hash_of(picture.colours) if picture.alpha is None else None
        return self._result(mode, squares_seen=share, frames_seen=1, looks=looks)

    def animation(self, key: bytes) -> DecodedImage:
        """The frames that differ most, each like a still; ``key`` breaks ties."""
        mode = self.opened.image.mode
        seen = survey(self.opened, limits=self.limits)
        backgrounds = 2 if seen.has_alpha else 1
        squares = self._squares(backgrounds * _FRAMES_AT_LEAST)
        limit = max(1, self.max_views // (len(squares) * backgrounds))
        choice = choose(seen, limit=limit, key=key)
        image, screen = open_again(self.opened), self.opened.stored_size
        shares = [
            self._add(number, self._upright(frame_at(image, number, screen=screen)), squares)
            for number in choice.frames
        ]
        return self._result(mode, squares_seen=min(shares), frames_seen=choice.seen)

    def _squares(self, repeats: int) -> tuple[int, ...]:
        """Which squares fit, where each is taken ``repeats`` times."""
        return spread(len(self.geometry.boxes), max(1, self.max_views // repeats))

    def _upright(self, image: Image.Image) -> Upright:
        return upright(
            image,
            orientation=self.opened.orientation,
            icc_bytes=self.limits.icc_bytes,
            sample_bits=self.opened.sample_bits,
        )

    def _add(self, frame: int, picture: Upright, squares: tuple[int, ...]) -> float:
        """Take the squares of one frame. Returns the share of its planned views that fit."""
        self.has_alpha |= picture.alpha is not None
        self.icc_converted |= picture.icc_converted
        kind = ViewKind.FRAME if frame else self.geometry.kind
        backgrounds = picture.backgrounds[: self.max_views]
        for background in backgrounds:
            self.views += [
                View(kind=kind, box=self.geometry.boxes[at], frame=frame, background=background)
                for at in squares
            ]
            self.pixels += render(
                picture.on(background),
                self.geometry,
                squares,
                width=self.opened.width,
                height=self.opened.height,
                preprocessing=self.preprocessing,
            )
        planned = len(self.geometry.boxes) * len(picture.backgrounds)
        return len(squares) * len(backgrounds) / planned

    def _result(
        self,
        mode: str,
        *,
        squares_seen: float,
        frames_seen: int,
        looks: PictureHash | None = None,
    ) -> DecodedImage:
        opened = self.opened
        cut = {"tiles": squares_seen < 1, "frames": frames_seen < opened.frames}
        return DecodedImage(
            pixels=np.stack(self.pixels),
            views=tuple(self.views),
            info=DecodeInfo(
                format=opened.format.value,
                width=opened.width,
                height=opened.height,
                mode=mode,
                frames=opened.frames,
                orientation=opened.orientation,
                has_alpha=self.has_alpha,
                icc_converted=self.icc_converted,
                scale_denominator=opened.scale,
            ),
            coverage=squares_seen * frames_seen / opened.frames,
            crop_fraction=self.geometry.crop_fraction,
            truncated=tuple(name for name, is_cut in cut.items() if is_cut),
            picture_hash=looks,
        )
