"""What of an item may leave for whom: nothing that must not sway a decision.

Knows fields and who reads; the rules are ``core/audit.py``'s and ``core/blindness.py``'s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from imagesieve.v1 import review_pb2
from imagesieve_server.core.audit import WITHHELD
from imagesieve_server.core.blindness import is_hidden, is_told_of_others, words_shown
from imagesieve_server.core.review import Item
from imagesieve_server.grpc_api.identity import Identity, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who is shown an item."""

    decides: bool  # may decide, so that nothing may tell a sample or another's word
    settles: bool = False  # also in higher tiers, where both words of a difference are seen
    name: str = ""  # that the caller proved

    def may_see(self, item: Item) -> bool:
        """Whether there is such an item at all, as far as this reader is told."""
        return not self.decides or not is_hidden(item, reviewer=self.name, leads=self.settles)


def reader_of(who: Identity) -> Reader:
    """What the caller may see: whoever may decide, nothing that would sway them."""
    settles = Role.LEAD in who.roles
    decides = settles or Role.REVIEWER in who.roles
    return Reader(decides=decides, settles=settles, name=who.name)


def as_seen(item: Item, reader: Reader) -> Item:
    """The item without the words that ``reader`` must not know yet."""
    if not reader.decides:
        return item
    return replace(item, decisions=words_shown(item, settles=reader.settles))


def withhold(message: review_pb2.Item, item: Item, reader: Reader) -> None:
    """Take out of the item's message what would sway ``reader``.

    Whoever decides must not know which items are audit samples, or the estimates would measure
    that knowledge. So of a policy that audits they see neither the model's verdict, reasons,
    score and answer nor arrival and due time, of flags and samples alike: nothing is
    made up, it is withheld.
    """
    if not reader.decides:
        return
    if item.blind:
        for field in WITHHELD:
            message.ClearField(field)
    if not is_told_of_others(item, settles=reader.settles):
        message.ClearField("reviews_needed")
