"""What the peers with ONNX Runtime share: a picture's bytes to pixels, and the session.

Their servers run in an environment without imagesieve, so nothing of it is imported here.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)  # as open_clip has them
_STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)


def pixels_of(data: bytes, side: int) -> np.ndarray:
    """uint8 [side, side, 3]: open_clip's transform, as its users write it with Pillow."""
    with Image.open(io.BytesIO(data)) as image:
        rgb = image.convert("RGB")
    factor = side / min(rgb.size)
    size = tuple(max(side, int(n * factor)) for n in rgb.size)
    resized = rgb.resize(size, Image.Resampling.BICUBIC)
    left, upper = (size[0] - side) // 2, (size[1] - side) // 2
    return np.asarray(resized.crop((left, upper, left + side, upper + side)))


def normal_of(data: bytes, side: int) -> np.ndarray:
    """float32 [3, side, side]: the same behind CLIP's normalisation, for a graph without it."""
    scaled = pixels_of(data, side).astype(np.float32) / 255
    return ((scaled - _MEAN) / _STD).transpose(2, 0, 1)


def session_of(model: str, threads: int) -> Any:
    """A session of so many threads; they do not spin, for decoding shares the cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
