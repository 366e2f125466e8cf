"""Scenes as uploaded. Some come twice, each time by another way: a pair shows one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.small_vit.deployed import as_uploaded
from imagesieve_server.extras import need
from imagesieve_server.offline.demo_model import emoji_art
from imagesieve_server.offline.demo_model.batches import BatchMaker
from imagesieve_server.offline.demo_model.categories import CATEGORIES
from imagesieve_server.offline.demo_model.options import Options

_SOUGHT = 0.3
"""Share of pictures that show what the demo's policy looks for; of all emoji one in 44 does."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """What one step sees; the last pictures are the first ones, uploaded another way."""

    pixels: Any  # uint8 [N + pairs, 3, 64, 64]
    tokens: Any  # int64 [N, L]
    matches: Any  # bool [N, N]: caption j is true of picture i
    concepts: Any  # int64 [N + pairs]


class UploadMaker(BatchMaker):
    """Draws batches; batch ``step`` depends on the seed and ``step`` alone."""

    def __init__(self, options: Options, tokenizer: Any, *, pairs: int) -> None:
        """Read the art. Raises ConfigError where a package is missing or another."""
        super().__init__(options, tokenizer)
        emoji = emoji_art.read_emoji(options.cache)
        named = {name for names in CATEGORIES.values() for name in names}
        self._seed, self._pairs, self._count = options.seed, pairs, len(emoji)
        self._sought = need("torch").tensor([i for i, e in enumerate(emoji) if e.name in named])
        self._artists = len(options.artists)

    def uploads(self, step: int) -> Uploads:
        """The batch of a step."""
        torch = need("torch")
        batch = self.make(step)
        twice = torch.cat([batch.pixels, batch.pixels[: self._pairs]])
        pixels = as_uploaded(twice.permute(0, 2, 3, 1).numpy(), self._seed * 1_000_003 + step)
        return Uploads(
            pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2),
            tokens=batch.tokens,
            matches=batch.matches,
            concepts=torch.cat([batch.concepts, batch.concepts[: self._pairs]]),
        )

    def _subjects(self, generator: Any) -> tuple[Any, Any, Any]:
        torch = need("torch")
        sprites, crops, concepts = super()._subjects(generator)
        count = len(sprites)
        which = torch.randint(len(self._sought), (count,), generator=generator)
        artist = torch.randint(self._artists, (count,), generator=generator)
        wanted = torch.rand(count, generator=generator) < _SOUGHT
        wanted &= sprites >= 0
        chosen = self._sought[which]
        sprites = torch.where(wanted, artist * self._count + chosen, sprites)
        return sprites, crops, torch.where(wanted, chosen, concepts)
