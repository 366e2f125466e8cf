"""Decision events: what the upload services are told, and where in the sequence one stands.

One effective decision makes one event for each submission of its item. Events of a tenant
form one sequence; a cursor is a place in it. Times are seconds since the epoch by the
store's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imagesieve_server.core.review import DecisionRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionEvent:
    """One submission's share of one effective decision."""

    cursor: str  # the place behind this event
    decision: DecisionRecord
    request_id: str
    sha256: str  # of the original bytes
    content_ref: str = ""  # this and the next are empty where the submission's were removed
    uploader_ref: str = ""
    surface: str = ""
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Consecutive events; none where all that there is has been seen."""

    events: tuple[DecisionEvent, ...]
    cursor: str  # the place behind the last of them; with no event, where one stands
