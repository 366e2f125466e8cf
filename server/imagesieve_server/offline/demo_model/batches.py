"""What each training step sees: pictures, captions, and which captions are true of which pictures.

Knows how art, backdrops and captions come together; refuses to know models and losses.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagesieve_server.extras import need
from imagesieve_server.offline.demo_model import backdrops, emoji_art, scenes
from imagesieve_server.offline.demo_model.captions import TEMPLATES, CaptionWriter, concepts_of
from imagesieve_server.offline.demo_model.options import Options

_CROPS_EACH = 400


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step sees."""

    pixels: Any  # uint8 [N, 3, 64, 64]
    tokens: Any  # int64 [N, L]
    matches: Any  # bool [N, N]: caption j is true of picture i
    concepts: Any  # int64 [N]: what each picture shows


class BatchMaker:
    """Draws batches; batch ``step`` depends on the seed and ``step`` alone."""

    def __init__(self, options: Options, tokenizer: Any) -> None:
        """Read the art. Raises ConfigError where a package is missing or another."""
        emoji_art.fetch(options.cache, options.artists)
        emoji = emoji_art.read_emoji(options.cache)
        art = [emoji_art.read_sprites(options.cache, a, emoji) for a in options.artists]
        crops = backdrops.cut_crops(
            backdrops.TRAINING, side=scenes.SIDE, each=_CROPS_EACH, seed=options.seed
        )
        self._options, self._tokenizer, self._emoji_count = options, tokenizer, len(emoji)
        self._maker = scenes.SceneMaker(np.concatenate(art), crops)
        self._crop_count, self._art_count = len(crops), len(emoji) * len(art)
        self._concepts = concepts_of(emoji, backdrops.TRAINING)
        self._captions = CaptionWriter(self._concepts)
        self._scopes = need("torch").from_numpy(self._captions.scopes)

    def make(self, step: int) -> Batch:
        """The batch of a step."""
        torch = need("torch")
        key = self._options.seed * 1_000_003 + step
        generator, chance = torch.Generator().manual_seed(key), random.Random(key)
        sprites, crops, concepts = self._subjects(generator)
        pixels = self._maker.render(sprites, generator, crops)
        written = [self._captions.write(int(number), chance) for number in concepts]
        scopes = torch.tensor([scope for _, scope in written])
        return Batch(
            pixels=pixels,
            tokens=self._tokenizer([text for text, _ in written]),
            matches=self._scopes[scopes][:, concepts].T,
            concepts=concepts,
        )

    def names(self, step: int) -> Any:
        """Tokens int64 [concepts, L] of every concept's name, in one of the templates."""
        template = random.Random(step).choice(TEMPLATES)
        return self._tokenizer([template.format(c.name) for c in self._concepts])

    def _subjects(self, generator: Any) -> tuple[Any, Any, Any]:
        """(sprite numbers, crop numbers, concept numbers), each int64 [N]."""
        torch = need("torch")
        count = self._options.batch
        none = torch.full((count,), scenes.NONE)
        sprites = torch.randperm(self._art_count, generator=generator)[:count]
        bare = torch.rand(count, generator=generator) < self._options.bare
        behind = torch.rand(count, generator=generator)
        crops = torch.randint(self._crop_count, (count,), generator=generator)
        # Seven of ten bare backdrops are photographs, four of ten behind art.
        crops = torch.where(behind < torch.where(bare, 0.7, 0.4), crops, none)
        photograph = self._emoji_count + crops // _CROPS_EACH
        empty = self._emoji_count + len(backdrops.TRAINING)
        backdrop = torch.where(crops == scenes.NONE, empty, photograph)
        concepts = torch.where(bare, backdrop, sprites % self._emoji_count)
        return torch.where(bare, none, sprites), crops, concepts
