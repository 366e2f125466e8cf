"""What a policy person is told of a change: figures worked out from what was counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.policy import Category, Policy
from imagesieve_server.offline.backtest import changes, forecast
from imagesieve_server.offline.backtest.diff import Result
from imagesieve_server.offline.backtest.forecast import Share
from imagesieve_server.offline.backtest.tally import Group, Tally

Table = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryChange:
    """One category under both policies; bands are CLEAR, REVIEW, BLOCK."""

    id: str
    why: tuple[str, ...]  # what differs in how it is written
    bands: Table  # [4, 4] A by B; the first place is "not asked for"
    acts_a: bool  # enforced
    acts_b: bool

    @property
    def gained(self) -> int:
        """Images in a higher band under B."""
        return int(np.triu(self.bands, 1).sum())

    @property
    def lost(self) -> int:
        """Images in a lower band under B."""
        return int(np.tril(self.bands, -1).sum())

    def flagged(self) -> tuple[int, int]:
        """Images at or above the review threshold, under A and B."""
        return int(self.bands[2:, :].sum()), int(self.bands[:, 2:].sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole of it."""

    tally: Tally
    damage: tuple[str, ...]
    policy_changes: tuple[str, ...]
    categories: tuple[CategoryChange, ...]
    share_a: Share
    share_b: Share
    difference: Share  # B minus A
    uploads_per_day: float
    uploads_given: bool  # by the caller; else the kept images a day

    def per_day(self, share: Share) -> Share:
        """In reviews a day."""
        return share.times(self.uploads_per_day)

    def audit_per_day(self) -> tuple[float, float]:
        """Expected audit samples a day, which come on top, under A and B."""
        uploads = self.uploads_per_day / self.tally.images
        return self.tally.audit_a * uploads, self.tally.audit_b * uploads


def report_of(result: Result, *, uploads_per_day: float | None) -> Report:
    """Work out a report; without ``uploads_per_day`` the kept images a day stand for it."""
    tally = result.tally
    days = [tally.days[day] for day in sorted(tally.days)]
    images = [day.images for day in days]
    return Report(
        tally=tally,
        damage=result.damage,
        policy_changes=changes.of_policy(tally.a, tally.b),
        categories=tuple(_categories(tally)),
        share_a=forecast.share([day.flagged_a for day in days], images),
        share_b=forecast.share([day.flagged_b for day in days], images),
        difference=forecast.difference(
            [day.gained for day in days], [day.lost for day in days], images
        ),
        uploads_per_day=uploads_per_day or tally.images / len(days),
        uploads_given=uploads_per_day is not None,
    )


def by_images(groups: Mapping[str, Group], *, most: int) -> list[tuple[str, Group]]:
    """The largest groups first."""
    return sorted(groups.items(), key=lambda pair: (-pair[1].images, pair[0]))[:most]


def _categories(tally: Tally) -> list[CategoryChange]:
    of_a, of_b = _by_id(tally.a), _by_id(tally.b)
    return [
        CategoryChange(
            id=name,
            why=changes.of_category(of_a.get(name), of_b.get(name)),
            bands=bands,
            acts_a=name in of_a and of_a[name].mode == "enforce",
            acts_b=name in of_b and of_b[name].mode == "enforce",
        )
        for name, bands in tally.bands.items()
    ]


def _by_id(policy: Policy) -> dict[str, Category]:
    return {category.id: category for category in policy.categories}
