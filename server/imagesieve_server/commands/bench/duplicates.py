"""What equal bytes save: images/s where three in ten came before ÷ where none did, on one server
whose cache is on. The most that it can gain is 1/0.7."""

from __future__ import annotations

import asyncio
import random
from collections import deque

from imagesieve_server.commands.bench import load
from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.figures import Aim, Ratio, Series
from imagesieve_server.commands.bench.parts import server_of
from imagesieve_server.commands.bench.pictures import SMALL, Pictures
from imagesieve_server.config import Settings

NAME = "duplicates"
SHARE = 0.3
_REMEMBERED = 256  # pictures that may come again


class Repeating:
    """New pictures, a share of them sent before."""

    def __init__(self, pictures: Pictures, *, share: float, seed: int) -> None:
        self._pictures = pictures
        self._share = share
        self._chance = random.Random(seed)
        self._sent: deque[bytes] = deque(maxlen=_REMEMBERED)
        self._since = 0.0  # repeats that are due

    def new(self) -> bytes:
        """Exactly the share in the long run, at regular distances, each of a random age."""
        self._since += self._share
        if self._since >= 1 and self._sent:
            self._since -= 1
            return self._chance.choice(self._sent)
        picture = self._pictures.new()
        self._sent.append(picture)
        return picture


def measure(bench: Bench) -> list[Ratio]:
    """One ratio."""
    pictures = Pictures(SMALL)
    rates: dict[float, list[float]] = {0.0: [], SHARE: []}
    cache = str(bench.settings.images.cache_mib or Settings().images.cache_mib)
    with server_of(bench, IMAGESIEVE__IMAGES__CACHE_MIB=cache) as server:
        for number in range(bench.effort.rounds):
            turn = sorted(rates, reverse=number % 2 == 1)  # neither is always the second
            for share in turn:
                answered = asyncio.run(
                    load.closed_loop(
                        server.target,
                        Repeating(pictures, share=share, seed=number).new,
                        callers=bench.effort.callers,
                        seconds=bench.effort.seconds,
                    )
                )
                rates[share].append(answered.images_per_s)
    return [
        Ratio(
            measure=NAME,
            title=f"throughput at {SHARE:.0%} exact duplicates ÷ none",
            over=Series(what="with duplicates", unit="images/s", values=tuple(rates[SHARE])),
            under=Series(what="without", unit="images/s", values=tuple(rates[0.0])),
            aim=Aim(at_least=1.38),
            beside={"the most possible": 1 / (1 - SHARE)},
        )
    ]
