"""What the contenders answered, and whether it is the same: else their rates compare nothing.

Every contender gets the same JPEGs of a size that nobody scales while decoding. A peer's embedding
is held to the one that our graph of its precision gives behind open_clip's transform, our
server's log-odds to those that this embedding scores; both in parts of what lies between different
pictures, because a model with random weights finds all pictures alike. Our resize differs from
open_clip's by a level in one value of two hundred, which int8 rounds the other way here and there.

What int8 costs is how far the log-odds are from those of fp32, for everybody alike. A graph that
others made has no other measure; beyond ``LOST`` it answers another question than fp32 does.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagesieve_server.commands.bench.pictures import SMALL, synthetic_jpeg
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.scoring import logits_of
from imagesieve_server.core.views import Preprocessing
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import RuntimeOptions
from imagesieve_server.images.preprocess import bundle_view
from imagesieve_server.images.resample import by_pillow
from imagesieve_server.policy_files import compiled

if TYPE_CHECKING:
    from peer_servers import Contender

Embedding = npt.NDArray[np.float32]  # [D], of any length
TOLERANCE = {"fp32": 0.05, "int8": 0.3}  # of the distance between different pictures
LOST = 0.5
"""Of that distance in log-odds, from fp32, on the JPEGs that are sent. Not what an export allows
an int8 graph: that is 0.5 too, but of the embeddings of photographs."""
_PICTURES = 4


def of_floats(answer: bytes) -> Embedding:
    """An answer that is the embedding's bytes."""
    return np.frombuffer(answer, dtype=np.float32)


def of_json(answer: bytes) -> Embedding:
    """LitServe's."""
    return np.array(json.loads(answer)["embedding"], dtype=np.float32)


def of_infer_response(answer: bytes) -> Embedding:
    """MLServer's ``ModelInferResponse``: outputs 5 of contents 5 of fp32_contents 6, packed; or
    raw_output_contents 6."""
    raw = _fields(answer, 6)
    if raw:
        return of_floats(raw[0])
    return of_floats(_fields(_fields(_fields(answer, 5)[0], 5)[0], 6)[0])


def _fields(message: bytes, number: int) -> list[bytes]:
    """Every length-delimited field of that number."""
    at, found = 0, []
    while at < len(message):
        key, at = _varint(message, at)
        value, at = _varint(message, at)
        if key & 7 == 2:
            if key >> 3 == number:
                found.append(message[at : at + value])
            at += value
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a bundle makes of the pictures behind open_clip's transform."""

    pictures: Sequence[bytes]
    embeddings: Embedding  # [n, D], unit rows
    policy: Policy

    def log_odds(self, embeddings: Embedding) -> npt.NDArray[np.float64]:
        """[n, categories]"""
        vectors = embeddings.astype(np.float64)
        found = [logits_of(self.policy, one, vectors)[1] for one in self.policy.categories]
        return np.stack(found, axis=1)


def expected(bundle: Path, policy: Path) -> Expected:
    """``policy`` is a compiled one, for this bundle."""
    encoder = OnnxImageEncoder(bundle=load_bundle(bundle), options=RuntimeOptions())
    pictures = [synthetic_jpeg(SMALL, seed=number) for number in range(_PICTURES)]
    preprocessing = encoder.spec.preprocessing
    pixels = np.stack([_transformed(picture, preprocessing) for picture in pictures])
    return Expected(
        pictures=pictures,
        embeddings=encoder.run(pixels),
        policy=compiled.read(policy).policy,
    )


def _transformed(picture: bytes, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(picture)) as image:
        return bundle_view(image.convert("RGB"), preprocessing, resample=by_pillow)


@dataclass(frozen=True, kw_only=True)
class Distance:
    """Of the farthest answer, in parts of what lies between two pictures."""

    own: float | None  # from what its graph should answer; None: not known of a graph not ours
    fp32: float  # from the log-odds of fp32

    @property
    def fit(self) -> bool:
        """Whether it still answers what fp32 does."""
        return self.fp32 <= LOST

    def __str__(self) -> str:
        own = "" if self.own is None else f"{self.own:.3f} from its graph's, "
        return f"{own}{self.fp32:.3f} from fp32's{'' if self.fit else ': NO PEER'}"


def check(contender: Contender, wanted: Expected | None, fp32: Expected) -> Distance:
    """How far its answers are from what is wanted and from fp32's. Raises SystemExit where they are
    beyond the tolerance of what is wanted."""
    answers = asyncio.run(_asked(contender, fp32.pictures))
    if contender.embedding:
        rows = np.stack([contender.embedding(answer) for answer in answers])
        found = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        own = apart(found, wanted.embeddings) if wanted else None
        odds = fp32.log_odds(found)
    else:
        odds = np.array([[score.log_odds for score in answer.scores] for answer in answers])
        own = apart(odds, wanted.log_odds(wanted.embeddings)) if wanted else None
    if own is not None and not own <= TOLERANCE[contender.precision]:
        raise SystemExit(f"{contender.name} answers something else: {own:.3f} of the distance "
                         "between pictures away")  # fmt: skip
    return Distance(own=own, fp32=apart(odds, fp32.log_odds(fp32.embeddings)))


def apart(found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> float:
    """The farthest row ÷ the median distance between two rows that are wanted."""
    if found.shape != wanted.shape:
        return float("inf")
    between = [np.linalg.norm(a - b) for a, b in itertools.combinations(wanted, 2)]
    return float(np.linalg.norm(found - wanted, axis=1).max() / np.median(between))


async def _asked(contender: Contender, pictures: Sequence[bytes]) -> list[Any]:
    """One after the other, each as the only one."""
    async with contender.calls() as send:
        return [await send(0, picture) for picture in pictures]
