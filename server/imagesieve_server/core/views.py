"""What a decoded image looks like to the rest of the server: pixels and the views they show.

A *view* is one square picture the encoder sees. It knows where in the original it comes
from; it knows nothing about codecs or files.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.near_duplicates import PictureHash

Pixels = npt.NDArray[np.uint8]
Embeddings = npt.NDArray[np.float32]


class ViewKind(enum.StrEnum):
    """How a view was taken; a policy may set thresholds per kind."""

    STILL = "still"  # the picture as a whole, by the bundle's own transform or squashed
    TILE = "tile"  # one of several overlapping squares of a picture that is not square
    FRAME = "frame"  # a later frame of an animation


class Background(enum.StrEnum):
    """What a transparent picture was composited on."""

    NONE = "none"  # no pixel is transparent
    WHITE = "white"
    BLACK = "black"


class Coverage(enum.StrEnum):
    """What to do where the bundle's crop sees less than 80 % of the pixels."""

    TILES = "tiles"  # edge-aligned overlapping squares
    SQUASH = "squash"  # one view of the whole picture, aspect ratio lost
    CENTRE = "centre"  # keep the crop


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One square picture the encoder sees."""

    kind: ViewKind
    box: tuple[int, int, int, int]  # left, upper, right, lower in px of the upright original
    frame: int = 0  # 0-based frame number; 0 for stills
    background: Background = Background.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewPlan:
    """What a policy asks the decoder to show."""

    coverage: Coverage = Coverage.TILES
    max_views: int = 32  # hard cap over tiles × frames × backgrounds

    def at_most(self, views: int) -> ViewPlan:
        """The same with a cap of so many views where its own is higher."""
        return self if self.max_views <= views else replace(self, max_views=views)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """The bundle's own transform from an upright RGB picture to a square one.

    Mean and standard deviation are folded into the exported graph and stand here for
    reference and for parity tests only.
    """

    size: int  # side of the square, px
    resize: str = "shortest"  # shortest (then centre crop) | squash | longest (then pad)
    interpolation: str = "bicubic"  # bicubic | bilinear
    fill: int = 0  # grey value of the padding of `longest`
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeInfo:
    """What the decoder found and did, for the answer and for the reviewer."""

    format: str  # JPEG | PNG | WEBP | GIF | AVIF
    width: int  # px, upright (after EXIF orientation)
    height: int  # px, upright
    mode: str  # the codec's own mode before conversion, for example "CMYK" or "I;16"
    frames: int = 1
    orientation: int = 1  # EXIF orientation found, 1 to 8
    has_alpha: bool = False  # some pixel is not fully opaque
    icc_converted: bool = False  # an embedded colour profile was applied
    scale_denominator: int = 1  # DCT scaling used: 1, 2, 4 or 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedImage:
    """Every view of one image.

    ``coverage`` is what was seen ÷ what the plan wanted to see, 0 to 1; below 1 something
    planned was cut. ``crop_fraction`` is the share of the pixels that view 0's crop keeps.
    """

    pixels: Pixels  # uint8 [V, S, S, 3], RGB
    views: tuple[View, ...]  # length V, in the fixed order
    info: DecodeInfo
    coverage: float = 1.0
    crop_fraction: float = 1.0
    truncated: tuple[str, ...] = field(default=())  # what was cut: "frames", "tiles"
    # None where one look is not all there is: several frames, or something transparent.
    picture_hash: PictureHash | None = None

    @property
    def comparable(self) -> str:
        """The bits of the picture's hash; "" where it must not be compared with others."""
        return self.picture_hash.usable if self.picture_hash else ""

    def without_pixels(self) -> DecodedImage:
        """What is still of interest once the views are encoded; the pixels' memory is freed."""
        return replace(self, pixels=np.empty((0, 0, 0, 3), dtype=np.uint8))


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewPlan:
    """Which picture of a file a person wants to see."""

    frame: int = 0  # 0-based; beyond the last it is the last
    background: Background = Background.WHITE  # under transparency; without any, of no effect
    side: int = 1280  # px, the longer side at most; a smaller picture is not enlarged


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One picture of a file, upright and reduced, for people to look at."""

    pixels: Pixels  # uint8 [H, W, 3], RGB
    frame: int  # the one shown
    info: DecodeInfo
