"""Which frames of an animation are seen: those that differ most, compared over all of them.

Knows small signatures of frames and the distance between them. It refuses to sample blindly:
frames between samples are where somebody would hide something, so every frame is compared,
however short it is shown, and whatever is not like a chosen one counts as unseen.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagesieve_server.images.limits import Limits
from imagesieve_server.images.normalise import alpha_of, opaque
from imagesieve_server.images.opening import Opened

Signatures = npt.NDArray[np.float32]

NEAR: Final = 19.0  # levels of 255 where two frames differ most; nearer ones count as seen
_CELLS: Final = 8  # per side
_FINE: Final = 64  # px per side of the reduced frame in which a cell's detail is measured
_COLOUR: Final = np.array(
    [[0.299, -0.169, 0.5], [0.587, -0.331, -0.419], [0.114, 0.5, -0.081]], dtype=np.float32
)  # RGB to luma and the two colour differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What all frames look like from afar."""

    signatures: Signatures  # float32 [F, K, 8, 8]; F may be less than the animation has
    has_alpha: bool  # in some frame some pixel is not opaque


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The frames to see, in order, and how many frames are like one of them."""

    frames: tuple[int, ...]
    seen: int


def frame_at(image: Image.Image, number: int, *, screen: tuple[int, int]) -> Image.Image:
    """A frame as a viewer shows it at that moment, over what earlier frames left.

    ``screen`` is the animation's own size in px. Raises what Pillow raises for a frame that
    is broken or missing.
    """
    image.seek(number)
    image.load()
    # A GIF's later frame may reach beyond the screen; viewers clip it.
    return image if image.size == screen else image.crop((0, 0, *screen))


def survey(opened: Opened, *, limits: Limits) -> Survey:
    """Look at every frame that the pixel budget and the file's state allow.

    Raises what Pillow raises where even the first frame is broken.
    """
    signatures = []
    has_alpha = False
    for frame in _readable_frames(opened, limits):
        alpha = alpha_of(frame, sample_bits=opened.sample_bits)
        has_alpha = has_alpha or alpha is not None
        signatures.append(_signature(frame, alpha))
    return Survey(signatures=np.stack(signatures), has_alpha=has_alpha)


def choose(survey: Survey, *, limit: int, key: bytes) -> Choice:
    """At most ``limit`` frames: the first, the last, then whichever is farthest from those.

    It stops when every frame is near a chosen one. Ties are broken by a hash with ``key``, so
    that nobody who makes a file can predict them.
    """
    signatures = survey.signatures
    count = len(signatures)
    chosen = [0] if limit == 1 or count == 1 else [0, count - 1]
    distance = np.full(count, np.inf, dtype=np.float32)
    for frame in chosen:
        distance = np.minimum(distance, _distances(signatures, frame))
    while len(chosen) < limit and distance.max() > NEAR:
        frame = _farthest(distance, key)
        chosen.append(frame)
        distance = np.minimum(distance, _distances(signatures, frame))
    return Choice(frames=tuple(sorted(chosen)), seen=int((distance <= NEAR).sum()))


def tie_key(secret: bytes, data: bytes) -> bytes:
    """The key for one image's ties: the same on every server that shares the secret."""
    return hmac.digest(secret, hashlib.sha256(data).digest(), "sha256")


def _readable_frames(opened: Opened, limits: Limits) -> Iterator[Image.Image]:
    """Frames from the first on, up to the budget or the first broken one."""
    area = opened.width * opened.height
    for number in range(min(opened.frames, max(1, limits.animation_pixels // area))):
        try:
            frame = frame_at(opened.image, number, screen=opened.stored_size)
        except (MemoryError, Image.DecompressionBombError):
            raise
        except Exception:
            # A viewer plays what can be read; the rest counts as unseen.
            if number == 0:
                raise
            return
        yield frame


def _signature(frame: Image.Image, alpha: Image.Image | None) -> npt.NDArray[np.float32]:
    """The frame on white and on black, so that what only one background shows counts too."""
    colours = opaque(frame)
    colours = colours if colours.mode == "RGB" else colours.convert("RGB")
    if alpha is None:
        once = _cells(np.asarray(_shrunk(colours), dtype=np.float32))
        return np.concatenate([once, once])
    colours = colours.copy()
    colours.putalpha(alpha)
    small = np.asarray(_shrunk(colours), dtype=np.float32)  # weighted by opacity
    share = small[..., 3:] / np.float32(255)
    on_black = small[..., :3] * share
    on_white = on_black + np.float32(255) * (np.float32(1) - share)
    return np.concatenate([_cells(on_white), _cells(on_black)])


def _cells(small: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Luma, two colour differences and detail of every cell: float32 [4, 8, 8].

    Luma alone would not tell a drawing in colours of one brightness from a plain frame, nor
    means alone one in lines that are finer than a cell.
    """
    side = _FINE // _CELLS
    blocks = (small @ _COLOUR).reshape(_CELLS, side, _CELLS, side, 3)
    means, detail = blocks.mean(axis=(1, 3)), blocks[..., :1].std(axis=(1, 3))
    return np.concatenate([means, detail], axis=2).transpose(2, 0, 1)


def _shrunk(image: Image.Image) -> Image.Image:
    return image.resize((_FINE, _FINE), Image.Resampling.BOX)


def _distances(signatures: Signatures, frame: int) -> npt.NDArray[np.float32]:
    """From every frame to one: root mean square over the quarter where they differ most.

    Over a whole frame a small offence would be lost among what stays the same. The nine quarters
    overlap by half.
    """
    squares = np.square(signatures - signatures[frame])
    count, kinds = squares.shape[:2]
    pairs = squares.reshape(count, kinds, _CELLS // 2, 2, _CELLS // 2, 2).mean(axis=(3, 5))
    rows = pairs[:, :, :-1] + pairs[:, :, 1:]
    quarters = (rows[..., :-1] + rows[..., 1:]) / 4
    result: npt.NDArray[np.float32] = np.sqrt(quarters.max(axis=(1, 2, 3)))
    return result


def _farthest(distance: npt.NDArray[np.float32], key: bytes) -> int:
    tied = np.flatnonzero(distance == distance.max())
    return min((int(frame) for frame in tied), key=lambda frame: _rank(key, frame))


def _rank(key: bytes, frame: int) -> bytes:
    return hmac.digest(key, frame.to_bytes(4, "big"), "sha256")
