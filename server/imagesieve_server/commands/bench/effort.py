"""How much is measured: rounds, seconds a part, and what a measure is given."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imagesieve_server.config import Settings
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.usable_cores import usable_cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """One measurement's size."""

    rounds: int
    seconds: float  # of each part of a round
    callers: int = 32  # at once, where the server is to be busy
    requests: int = 1000  # of the measure that looks at memory


QUICK = Effort(rounds=3, seconds=1.0)
FULL = Effort(rounds=5, seconds=4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every measure is given."""

    effort: Effort
    folder: Path  # for queues and policies; empty at first, gone at the end
    settings: Settings  # model, images and limits count; ports and queue are the bench's own
    bundle: Bundle
    baseline: Bundle | None = None  # another precision of the same model, to compare with
    cores: int = field(default_factory=usable_cores)

    def say(self, text: str) -> None:
        """Progress, for whoever waits."""
        print(text, file=sys.stderr, flush=True)

    def server_settings(self, **others: str) -> Mapping[str, str]:
        """The environment of a server with these settings and no cache of what was seen."""
        return {**as_environment(self.settings), "IMAGESIEVE__IMAGES__CACHE_MIB": "0", **others}


_SECTIONS = ("model", "images")
_LIMITS = ("max_in_flight_views", "max_in_flight_mib", "max_moderation_calls")


def as_environment(settings: Settings) -> dict[str, str]:
    """The part of ``settings`` that decides speed, as environment variables."""
    chosen = {
        (section, key): value
        for section in _SECTIONS
        for key, value in _values(getattr(settings, section)).items()
    }
    chosen |= {("server", key): getattr(settings.server, key) for key in _LIMITS}
    return {
        f"IMAGESIEVE__{section}__{key}".upper(): str(value).lower()
        if isinstance(value, bool)
        else str(value)
        for (section, key), value in chosen.items()
    }


def _values(section: object) -> dict[str, object]:
    return {name: getattr(section, name) for name in section.__dataclass_fields__}  # type: ignore[attr-defined]
