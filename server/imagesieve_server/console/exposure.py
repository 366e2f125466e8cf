"""How much of the severe one person is given in a day, by the organisation's word.

Counts what the person took in hand in the last 24 hours, by the queue's own record: over all
servers, tenants and ways in. Once a limit is reached only milder categories come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from imagesieve_server.console.accounts import Account
from imagesieve_server.core.ports import PolicySource, ReviewFigures
from imagesieve_server.core.review_figures import TakenCount

DAY_S: Final = 24 * 3600.0
SEVERE: Final = 3
URGENT: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Different items in 24 hours; 0 is no limit."""

    severe: int = 0  # of severity 3 and 4 together
    urgent: int = 0  # of severity 4

    def highest(self, taken: Sequence[TakenCount]) -> int:
        """The highest severity that may still come, 2 to 4."""
        urgent = sum(one.items for one in taken if one.severity >= URGENT)
        severe = sum(one.items for one in taken if one.severity >= SEVERE)
        if self.severe and severe >= self.severe:
            return SEVERE - 1
        if self.urgent and urgent >= self.urgent:
            return URGENT - 1
        return URGENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What may come to a person. ``clock`` gives Unix time."""

    figures: ReviewFigures
    policies: PolicySource
    limits: Limits
    clock: Callable[[], float]

    async def highest(self, account: Account) -> int:
        """The highest severity that may come to the person now. Raises StoreUnavailable."""
        if not self.limits.severe and not self.limits.urgent:
            return URGENT
        taken: list[TakenCount] = []
        for tenant in account.tenants:  # one pair of eyes
            taken += await self.figures.taken(
                tenant=tenant, since=self.clock() - DAY_S, reviewer=account.name
            )
        return self.limits.highest(taken)

    def categories(self, highest: int, chosen: Sequence[str]) -> tuple[str, ...] | None:
        """The categories to claim, of those chosen; none: any. None where nothing may come.

        What no category flagged may be of any kind: it comes with the severest.
        """
        if highest >= URGENT:
            return tuple(chosen)
        severity: dict[str, int] = {}
        for policy in self.policies.all():
            for category in policy.categories:
                severity[category.id] = max(severity.get(category.id, 0), category.severity)
            severity[""] = max(severity.get("", 0), policy.severity)
        mild = sorted(id for id, worst in severity.items() if worst <= highest)
        allowed = tuple(id for id in mild if not chosen or id in chosen)
        return allowed or None


def limit_reached(highest: int) -> str:
    """What a person is told when from now on nothing above the severity ``highest`` comes."""
    kind = "urgent" if highest == URGENT - 1 else "severe"
    return (
        f"That is as many {kind} pictures as one person should see in a day. From here on only "
        "milder ones come to you, until the earliest are a day old. Thank you for what you did."
    )
