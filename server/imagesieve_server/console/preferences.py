"""What a reviewer chooses, and what the organisation chooses for all.

Where the organisation says that pictures are veiled, no reviewer can say otherwise.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from imagesieve_server.console.database import ConsoleDatabase


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """One account's; the defaults are the careful ones."""

    veil: bool = True  # pictures come blurred and grey until the reviewer reveals them
    grey: bool = False  # and stay grey once revealed
    shortcuts: bool = True  # single keys act


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceBook:
    """Reads and keeps preferences."""

    database: ConsoleDatabase
    always_veil: bool  # the organisation's word

    async def of(self, account: str) -> Preferences:
        """What is in force for the account."""
        text = await self.database.preference(account)
        known = {field.name for field in dataclasses.fields(Preferences)}
        raw = json.loads(text) if text else {}
        chosen = Preferences(**{key: bool(raw[key]) for key in known & raw.keys()})
        return dataclasses.replace(chosen, veil=chosen.veil or self.always_veil)

    async def choose(self, account: str, preferences: Preferences) -> None:
        await self.database.prefer(account, json.dumps(dataclasses.asdict(preferences)))
