"""The two projections, learned from features; InfoNCE for CLIP, pairwise sigmoid for SigLIP.

λ and b stay as they are, so that scores keep their scale. Batch ``number`` depends on the seed
and ``number`` alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.errors import ConfigError
from imagesieve_server.extras import need
from imagesieve_server.offline.finetune.features import Features, Numbers
from imagesieve_server.offline.finetune.projections import Map
from imagesieve_server.offline.training import loop
from imagesieve_server.offline.training.losses import contrastive_loss, sigmoid_loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What is learned from: P pairs of features."""

    pictures: Features
    captions: Features
    picture_of: Numbers  # [P]
    caption_of: Numbers  # [P]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How cosines become logits, and by which loss."""

    logit_scale: float  # λ
    logit_bias: float  # b
    sigmoid: bool  # pairwise sigmoid loss instead of InfoNCE


class ProjectionLearner:
    """The loop's learner. ``image`` and ``text`` are the maps as learned so far."""

    def __init__(
        self,
        lesson: Lesson,
        *,
        image: Map,
        text: Map,
        scale: Scale,
        batch: int,
        seed: int,
        image_only: bool,
        schedule: str = "",
    ) -> None:
        """Begin at these maps, which are changed in place; ``batch`` is cut to the pairs there are.

        ``schedule`` says how rates follow each other: a state saved under another is refused.
        """
        torch = need("torch")
        self.image, self.text = image, text
        self._lesson, self._scale, self._seed = lesson, scale, seed
        self.batch = min(batch, len(lesson.picture_of))
        self.steps_an_epoch = len(lesson.picture_of) // self.batch
        learned = [image.weight, image.bias]
        if not image_only:
            learned += [text.weight, text.bias]
        self._learned = [tensor.requires_grad_() for tensor in learned if tensor is not None]
        # No decay: it would pull towards zero, not towards the old map.
        self._optimizer = torch.optim.AdamW(self._learned, weight_decay=0.0, betas=(0.9, 0.98))
        self._key = _key(lesson, [self.batch, seed, image_only, schedule])
        self._order: tuple[int, npt.NDArray[np.intp]] = (-1, np.empty(0, dtype=np.intp))

    def step(self, number: int, rate: float) -> float:
        """Learn from batch ``number``; its loss."""
        rows = self._rows(number)
        pictures, captions = self._lesson.picture_of[rows], self._lesson.caption_of[rows]
        similar = _embedded(self.image, self._lesson.pictures, pictures) @ (
            _embedded(self.text, self._lesson.captions, captions).T
        )
        logits = self._scale.logit_scale * similar + self._scale.logit_bias
        same = (pictures[:, None] == pictures) | (captions[:, None] == captions)
        matches = need("torch").from_numpy(same)
        loss = (sigmoid_loss if self._scale.sigmoid else contrastive_loss)(logits, matches)
        return loop.descend(loss, self._optimizer, self._learned, rate=rate)

    def _rows(self, number: int) -> npt.NDArray[np.intp]:
        epoch, at = divmod(number, self.steps_an_epoch)
        if self._order[0] != epoch:
            chance = np.random.default_rng((self._seed, epoch))
            self._order = (epoch, chance.permutation(len(self._lesson.picture_of)))
        return self._order[1][at * self.batch : (at + 1) * self.batch]

    def is_finite(self) -> bool:
        """Whether every learned number is."""
        return all(bool(tensor.isfinite().all()) for tensor in self._learned)

    def state(self) -> dict[str, Any]:
        """The learned tensors and the optimizer's state."""
        return {
            "key": self._key,
            "learned": [tensor.detach().clone() for tensor in self._learned],
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` gave. Raises ConfigError for a state of another training."""
        if state["key"] != self._key:
            raise ConfigError(
                "--resume: the saved state is of other pairs or settings; repeat the command "
                "as it was, or leave --resume out to begin anew"
            )
        for tensor, value in zip(self._learned, state["learned"], strict=True):
            tensor.data.copy_(value)
        self._optimizer.load_state_dict(state["optimizer"])


def _key(lesson: Lesson, settings: list[Any]) -> str:
    digest = hashlib.sha256(json.dumps(settings).encode())
    digest.update(lesson.picture_of.tobytes())
    digest.update(lesson.caption_of.tobytes())
    return digest.hexdigest()


def embed(map_: Map, features: Features) -> npt.NDArray[np.float32]:
    """Unit embeddings float32 [N, D] of all features, chunk by chunk."""
    chunks = np.array_split(np.arange(len(features)), max(1, len(features) // 4096))
    with need("torch").no_grad():
        parts = [_embedded(map_, features, rows).numpy() for rows in chunks]
    return np.concatenate(parts)


def _embedded(map_: Map, features: Features, numbers: Numbers) -> Any:
    torch = need("torch")
    inputs, base = features.rows(numbers)
    return map_.of(torch.from_numpy(inputs), None if base is None else torch.from_numpy(base))


def mixed(old: Map, new: Map, share: float) -> Map:
    """(1 − share)·old + share·new, in weight space (WiSE-FT, arXiv:2109.01903)."""
    weight = old.weight + share * (new.weight.detach() - old.weight)
    bias = None if old.bias is None else old.bias + share * (new.bias.detach() - old.bias)
    return Map(weight=weight, bias=bias)
