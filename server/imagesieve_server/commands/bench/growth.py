"""Memory that a server takes for itself in the long run, and what is installed on the disk.

Mixed requests to the demo's server: the demo's pictures in all formats with their flags, and
broken ones. A quarter as many come first: they fill pools, caches and the window of
remembered answers (the last 10 000 that are ALLOW), and do not count. What they add is said
beside; below some 93 000 requests a quarter does not fill the window, and the rest counts.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

import grpc

import imagesieve
import imagesieve_server
from imagesieve_server.commands.bench import load
from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.figures import Aim, Amount, Series
from imagesieve_server.commands.bench.process_cost import resident_bytes
from imagesieve_server.commands.local_server import OWN_SERVER, start_server
from imagesieve_server.demo_data import DEMO_IMAGES

NAME = "growth"
LONG = 100_000
"""Requests from which on the aim of 20 MB is looked at."""
_LOOKS = 10
"""How often memory is looked at on the way: a leak rises steadily, what is bounded levels off."""
_CACHE_MIB = 1  # full before it counts
_SUFFIXES = (".jpg", ".png", ".webp", ".gif", ".avif")
_TAKE_MORE = (b"\xff\xd8\xff", b"\x89PNG")
"""How files begin whose decoders ignore bytes after the end."""


def measure(bench: Bench) -> list[Amount]:
    """Growth over ``bench.effort.requests`` requests, and the size of the installation."""
    supply = Supply(mixed_pictures())
    warm = max(1, bench.effort.requests // 4)
    resident = []
    with start_server(
        folder=Path(tempfile.mkdtemp(dir=bench.folder)),
        module=OWN_SERVER,
        IMAGESIEVE__IMAGES__CACHE_MIB=str(_CACHE_MIB),
    ) as server:
        callers = bench.effort.callers
        idle = resident_bytes(server.process.pid)
        asyncio.run(_send(server.target, supply, warm, callers=callers))
        resident.append(resident_bytes(server.process.pid))
        for count in parts(bench.effort.requests, _LOOKS):
            asyncio.run(_send(server.target, supply, count, callers=callers))
            resident.append(resident_bytes(server.process.pid))
            bench.say(f"  {(resident[-1] - resident[0]) / 1e6:+.1f} MB")
    grown = [(size - resident[0]) / 1e6 for size in resident]
    return [
        Amount(
            measure=NAME,
            title=f"growth of resident memory over {bench.effort.requests} requests",
            of=Series(what="growth", unit="MB", values=(grown[-1],)),
            aim=Aim(at_most=20) if bench.effort.requests >= LONG else None,
            beside={
                "before, MB": resident[0] / 1e6,
                f"not counted: the first {warm} requests, MB": (resident[0] - idle) / 1e6,
                "by tenths, MB": " ".join(f"{size:.1f}" for size in grown[1:]),
            },
        ),
        Amount(
            measure=NAME,
            title="installed, with what imagesieve[cpu] brings",
            of=Series(what="installed", unit="MB", values=(installed_bytes() / 1e6,)),
            aim=Aim(at_most=400),
        ),
    ]


def parts(whole: int, count: int) -> list[int]:
    """``whole`` as up to ``count`` numbers that differ by one at most; none of them 0."""
    edges = [whole * part // count for part in range(count + 1)]
    return [high - low for low, high in itertools.pairwise(edges) if high > low]


class Supply:
    """The pictures in turn. JPEGs and PNGs are new to the server every other time: what is kept
    of bytes that never come again, items of the queue among it, may not stay in memory."""

    def __init__(self, pictures: Sequence[bytes]) -> None:
        self._pictures = pictures
        self._sent = itertools.count()

    def new(self) -> bytes:
        """The next one to send."""
        number = next(self._sent)
        turn, place = divmod(number, len(self._pictures))
        picture = self._pictures[place]
        is_new = turn % 2 == 1 and picture.startswith(_TAKE_MORE)
        return picture + f"{number}".encode() if is_new else picture


def mixed_pictures() -> list[bytes]:
    """The demo's pictures, and each JPEG and PNG once more cut in half."""
    paths = sorted(path for path in DEMO_IMAGES.iterdir() if path.suffix in _SUFFIXES)
    whole = [path.read_bytes() for path in paths]
    cut = [data[: len(data) // 2] for path, data in zip(paths, whole, strict=True)
           if path.suffix in _SUFFIXES[:2]]  # fmt: skip
    return whole + cut[:4]


async def _send(target: str, supply: Supply, count: int, *, callers: int) -> None:
    """Every request is answered or refused; which does not matter here."""
    left = iter(range(count))
    async with load.channels(target, callers=callers) as found:
        stubs = [load.stub_of(channel) for channel in found]

        async def caller(number: int) -> None:
            for _ in left:
                try:
                    await stubs[number % len(stubs)].Moderate(
                        load.request_of(supply.new()), timeout=load.PATIENCE_S
                    )
                except grpc.aio.AioRpcError:
                    continue

        await asyncio.gather(*(caller(number) for number in range(callers)))


def installed_bytes() -> int:
    """Size of the distributions that ``imagesieve[cpu]`` needs, as installed here."""
    return sum(_size(name) for name in needed(extras=("cpu", "server")))


def needed(*, extras: tuple[str, ...], root: str = "imagesieve") -> set[str]:
    """Names of the distributions that ``root`` with these extras needs and that are here."""
    found: set[str] = set()
    waiting = [(root, extras)]
    while waiting:
        name, wanted = waiting.pop()
        if name in found or not _installed(name):
            continue
        found.add(name)
        waiting += [(child, ()) for child in _requirements(name, wanted)]
    return found


def _requirements(name: str, extras: tuple[str, ...]) -> Iterator[str]:
    for line in metadata.requires(name) or ():
        requirement, _, marker = line.partition(";")
        asked = re.findall(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        if not asked or set(asked) & set(extras):
            yield re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0].lower()


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _size(name: str) -> int:
    if name == "imagesieve":  # a checkout's files are in no list
        packages = (Path(imagesieve.__file__).parent, Path(imagesieve_server.__file__).parent)
        paths = [path for package in packages for path in package.rglob("*")]
    else:
        paths = [Path(str(file.locate())) for file in metadata.files(name) or ()]
    return sum(path.stat().st_size for path in paths if path.is_file())
