"""One setting: its default and what it means, which the reference page is made of."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def setting(default: Any, about: str) -> Any:
    """A dataclass field of a section."""
    return field(default=default, metadata={"about": about})
