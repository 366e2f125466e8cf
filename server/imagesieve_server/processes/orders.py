"""What the supervisor tells a process to be, as one line of JSON over its control socket.

Knows settings and parts; a line is our own word to our own child and is taken as it is. Secrets
are not in it: settings name their files.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from dataclasses import dataclass, replace
from typing import Any, get_type_hints

from imagesieve_server.config import Settings


class Part(enum.StrEnum):
    """What a process does."""

    ENCODER = "encoder"  # the model, and nothing else
    LEADER = "leader"  # a front end that also does what one process does for all
    FRONT_END = "front_end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """Everything a process is told."""

    part: Part
    name: str  # encoder, front-1, front-2, …
    meeting: int  # inherited descriptor: the encoder's listening socket, or the door to it
    settings: Settings  # with this process's share of rooms and workers

    def dump(self) -> bytes:
        return json.dumps(dataclasses.asdict(self)).encode() + b"\n"

    def at(self, provider: str) -> Orders:
        """The same, but for where the model computes."""
        model = replace(self.settings.model, provider=provider)
        return replace(self, settings=replace(self.settings, model=model))


def load_orders(line: bytes) -> Orders:
    """The supervisor's word."""
    raw: dict[str, Any] = json.loads(line)
    kinds = get_type_hints(Settings)
    sections = {name: kinds[name](**values) for name, values in raw["settings"].items()}
    return Orders(
        part=Part(raw["part"]),
        name=raw["name"],
        meeting=raw["meeting"],
        settings=Settings(**sections),
    )
