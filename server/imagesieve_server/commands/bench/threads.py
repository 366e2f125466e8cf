"""Which threads suit this machine: the rate of whole servers with other threads ÷ that of one with
the settings in force.

All servers are there from the start and take turns; the others have nothing to do meanwhile. A
square picture with one view each, so that the encoder has the largest part of the work.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from imagesieve_server.commands.bench import load
from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.figures import Ratio, Series
from imagesieve_server.commands.bench.parts import server_of
from imagesieve_server.commands.bench.pictures import SQUARE, Pictures
from imagesieve_server.core.views import Coverage

NAME = "threads"
_IN_FORCE = "settings in force"


def measure(bench: Bench) -> list[Ratio]:
    """One ratio for each way; above 1 it is better than the settings in force."""
    tried = {_IN_FORCE: {}, **ways(bench.cores)}
    pictures = Pictures(SQUARE)
    rates: dict[str, list[float]] = {name: [] for name in tried}
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(server_of(bench, None, **settings))
            for name, settings in tried.items()
        }
        for number in range(bench.effort.rounds):
            for name, server in servers.items():
                rates[name].append(_rate(bench, server.target, pictures))
            said = ", ".join(f"{name} {found[-1]:.1f}" for name, found in rates.items())
            bench.say(f"  round {number + 1}: {said} views/s")
    base = Series(what=_IN_FORCE, unit="views/s", values=tuple(rates.pop(_IN_FORCE)))
    return [
        Ratio(
            measure=NAME,
            title=f"served with {name} ÷ with the {_IN_FORCE}",
            over=Series(what=name, unit="views/s", values=tuple(found)),
            under=base,
            beside=_as_settings(tried[name]),
        )
        for name, found in rates.items()
    ]


def ways(cores: int) -> Mapping[str, Mapping[str, str]]:
    """What else could be set, as environment of a server."""
    model = "IMAGESIEVE__MODEL__"
    shared = {f"{model}SESSIONS": "1", f"{model}THREADS": "0"}
    found = {
        "one session, threads that sleep": {**shared, f"{model}SPINNING": "false"},
        "one session, threads that spin": {**shared, f"{model}SPINNING": "true"},
    }
    if cores > 1:
        found["a session of one thread for each core"] = {
            f"{model}SESSIONS": str(cores),
            f"{model}THREADS": "1",
            f"{model}SPINNING": "false",
        }
    return found


def _as_settings(environment: Mapping[str, str]) -> dict[str, float | str]:
    return {
        name.removeprefix("IMAGESIEVE__").replace("__", ".").lower(): value
        for name, value in environment.items()
    }


def _rate(bench: Bench, target: str, pictures: Pictures) -> float:
    answered = asyncio.run(
        load.closed_loop(
            target,
            pictures.new,
            callers=bench.effort.callers,
            seconds=bench.effort.seconds,
            policy=Coverage.CENTRE.value,
        )
    )
    return answered.views_per_s
