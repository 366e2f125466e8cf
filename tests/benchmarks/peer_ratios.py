"""Ours ÷ the best peer of each family: rounds in, ratios out. Pure.

A peer whose int8 is too far from fp32 to keep verdicts is shown beside, but is no peer: it is not
what ours is divided by. Knows nothing of servers and of how they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from imagesieve_server.commands.bench import figures
from imagesieve_server.commands.bench.figures import Aim, Ratio, Series
from imagesieve_server.commands.bench.pictures import LARGE, SMALL, Size
from imagesieve_server.usable_cores import usable_cores

if TYPE_CHECKING:
    from steady import Stretch


class Family(StrEnum):
    OURS = "ours"
    TUNED = "tuned"
    DOCUMENTED = "as documented"


FAMILIES = {
    Family.TUNED: "÷ best peer tuned (our graphs, one thread a core)",
    Family.DOCUMENTED: "÷ best peer as documented (their users' graphs, default threads)",
}
"""Those that ours is divided by, and the heading of these ratios; in order."""


class Raced(Protocol):
    """A contender, as far as ratios go."""

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> Family: ...
    @property
    def precision(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is sent, who takes part, and what ours ÷ the best peer of a precision should reach."""

    size: Size
    graphs: tuple[str, ...]  # whose servers take part, by kind; ours by precision
    aims: Mapping[tuple[str, str], float]  # (ours, the peers')

    @property
    def precisions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(graph.partition(" ")[0] for graph in self.graphs))


CASES = {
    "0.3 MP": Case(
        size=SMALL,
        graphs=("fp32", "int8", "int8 dynamic", "int8 static"),
        aims={("fp32", "fp32"): 1.08, ("int8", "int8"): 1.25, ("int8", "fp32"): 2.5},
    ),
    "12 MP": Case(
        size=LARGE, graphs=("int8", "int8 dynamic"), aims={("int8", "int8"): 2.5}
    ),  # decoding binds: one graph as documented is enough
}


def ratios(
    case: Case, found: Mapping[Raced, Sequence[Stretch]], unfit: Sequence[Raced] = ()
) -> Iterator[Ratio]:
    """Each of ours against the best peer of a family and precision, where there is an aim: images a
    second as answered, the same without the callers' time, and processor time an image. Against
    ``unfit`` none."""
    for family, heading in FAMILIES.items():
        for (ours, theirs), aim in case.aims.items():
            mine = [one for one in found if (one.family, one.precision) == (Family.OURS, ours)]
            rivals = [one for one in found if (one.family, one.precision) == (family, theirs)]
            for one in mine if set(rivals) - set(unfit) else ():
                yield from _of(case, heading, aim, one, rivals, found, unfit)


def _of(
    case: Case,
    heading: str,
    aim: float,
    ours: Raced,
    rivals: Sequence[Raced],
    found: Mapping[Raced, Sequence[Stretch]],
    unfit: Sequence[Raced],
) -> Iterator[Ratio]:
    title = f"{case.size.name}: {ours.name} ÷ the best in {rivals[0].precision}"
    for rated, said in ((_as_answered, ""), (_callers_out, ", callers' time taken out")):
        of_peers = {one: _series(one.name, found[one], rated) for one in rivals}
        fit = [series for one, series in of_peers.items() if one not in unfit]
        yield Ratio(
            measure=heading,
            title=f"{title}{said}",
            over=_series(ours.name, found[ours], rated),
            under=max(fit, key=lambda series: series.median),
            aim=Aim(at_least=aim),
            beside=_beside(of_peers, unfit),
        )
    costs = {one: _series(one.name, found[one], _processor_ms, "ms") for one in rivals}
    yield Ratio(
        measure=heading,
        title=f"{title}, as processor time an image: the least of theirs ÷ ours",
        over=min(
            (series for one, series in costs.items() if one not in unfit),
            key=lambda series: series.median,
        ),
        under=_series(ours.name, found[ours], _processor_ms, "ms"),
        beside=_beside(costs, unfit),
    )


def _beside(series: Mapping[Raced, Series], unfit: Sequence[Raced]) -> dict[str, float]:
    no_peer = " (no peer: too far from fp32)"
    return {
        each.what + (no_peer if one in unfit else ""): each.median for one, each in series.items()
    }


def _series(
    name: str,
    found: Sequence[Stretch],
    rated: Callable[[Stretch], float],
    unit: str = "images/s",
) -> Series:
    return Series(what=name, unit=unit, values=tuple(rated(one) for one in found))


def _as_answered(one: Stretch) -> float:
    return one.images_per_s


def _processor_ms(one: Stretch) -> float:
    """Of the server and all its processes, per image."""
    return 1000 * one.server_cpu_s / one.images


def _callers_out(one: Stretch) -> float:
    return figures.without_callers(
        one.images_per_s,
        callers_cpu_s=one.callers_cpu_s,
        wall_s=one.wall_s,
        cores=usable_cores(),
    )
