"""A disk that forgets what was not synced: the model behind the power-cut test.

Knows what a file system promises and nothing more: a file's bytes are durable once a sync of
that file, begun after they were written, is done; a name in a folder likewise once the folder
is synced; a folder is there only if its name in its parent is. Everything else may or may not
be on the disk after a cut, in any combination. Reads no clock and no files.

Where a real file system promises more (most do), the model is the harder judge.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator
from dataclasses import dataclass, field


class Order(enum.Enum):
    """Which of the names that were not synced are there after a cut."""

    PREFIX = "prefix"  # all up to some moment, as with a journal of metadata
    ANY = "any"  # each by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How one power cut treats what was not synced."""

    chance: random.Random
    keep: float  # the probability that a sector or a name is on the disk
    sector: int  # bytes that are written whole or not at all
    order: Order
    garbage: bool  # bytes never written are rubbish instead of zeros

    @classmethod
    def draw(cls, chance: random.Random) -> Cut:
        return cls(
            chance=chance,
            keep=chance.choice((0.0, 0.1, 0.5, 0.5, 0.9, 1.0)),
            sector=chance.choice((512, 4096)),
            order=chance.choice(list(Order)),
            garbage=chance.random() < 0.5,
        )

    def kept(self) -> bool:
        return self.chance.random() < self.keep

    def filler(self, length: int) -> bytes:
        return self.chance.randbytes(length) if self.garbage else bytes(length)


@dataclass(slots=True)
class File:
    """Bytes that are durable, and the changes behind them: (moment, offset, data), where the
    data None mean that the file was cut or stretched to ``offset``."""

    durable: bytearray = field(default_factory=bytearray)
    changes: list[tuple[int, int, bytes | None]] = field(default_factory=list)

    def synced(self, until: int) -> None:
        done = [change for change in self.changes if change[0] <= until]
        for _, offset, data in done:
            _apply(self.durable, offset, data)
        del self.changes[: len(done)]

    def newest(self) -> bytes:
        content = bytearray(self.durable)
        for _, offset, data in self.changes:
            _apply(content, offset, data)
        return bytes(content)

    def after(self, cut: Cut) -> bytes:
        content = bytearray(self.durable)
        for _, offset, data in self.changes:
            if data is None:
                if cut.kept():
                    _apply(content, offset, None)
                continue
            for start, part in _sectors(offset, data, cut.sector):
                if cut.kept():
                    _stretch(content, start, cut)
                    _apply(content, start, part)
                elif cut.kept():  # the new size is there, the bytes are not
                    _stretch(content, start + len(part), cut)
        return bytes(content)


@dataclass(slots=True)
class Folder:
    """What each name means: durably, and since then, as (moment, meaning); None: nothing."""

    durable: dict[str, Node] = field(default_factory=dict)
    changes: dict[str, list[tuple[int, Node | None]]] = field(default_factory=dict)

    def newest(self, name: str) -> Node | None:
        changes = self.changes.get(name)
        return changes[-1][1] if changes else self.durable.get(name)

    def synced(self, until: int) -> None:
        for name, changes in list(self.changes.items()):
            done = [change for change in changes if change[0] <= until]
            if done:
                self._settle(name, done[-1][1])
            if len(done) == len(changes):
                del self.changes[name]
            else:
                del changes[: len(done)]

    def after(self, cut: Cut, until: int) -> dict[str, Node]:
        """The names after a cut; with Order.PREFIX those set up to the moment ``until``."""
        found = dict(self.durable)
        for name, changes in self.changes.items():
            for moment, node in changes:
                if moment <= until if cut.order is Order.PREFIX else cut.kept():
                    if node is None:
                        found.pop(name, None)
                    else:
                        found[name] = node
        return found

    def _settle(self, name: str, node: Node | None) -> None:
        if node is None:
            self.durable.pop(name, None)
        else:
            self.durable[name] = node


Node = File | Folder
Tree = dict[str, bytes | None]
"""What a disk holds: paths, relative, with their bytes; None for a folder."""


class Disk:
    """Folders and files below one root, which itself is durable.

    Paths are relative to the root, ``""`` being the root; the caller says the order of calls
    by the order in which it makes them.
    """

    def __init__(self, content: Tree | None = None) -> None:
        self._root = Folder()
        self._now = 0
        self._committed = 0  # the last moment covered by the sync of any folder
        for path, data in sorted((content or {}).items()):
            parent, name = self._parent(path)
            parent.durable[name] = Folder() if data is None else File(bytearray(data))

    def node(self, path: str) -> Node:
        found = self._find(path)
        if found is None:
            raise LookupError(f"no {path!r} on the modelled disk")
        return found

    def create(self, path: str, node: Node) -> None:
        self._name(path, node)

    def rename(self, source: str, target: str) -> None:
        node = self.node(source)
        self._name(target, node)
        parent, name = self._parent(source)
        # The same moment: a journal of metadata has both or neither.
        parent.changes.setdefault(name, []).append((self._now, None))

    def remove(self, path: str) -> None:
        self.node(path)
        self._name(path, None)

    def write(self, file: File, offset: int, data: bytes) -> None:
        file.changes.append((self._tick(), offset, data))

    def resize(self, file: File, size: int) -> None:
        file.changes.append((self._tick(), size, None))

    def moment(self) -> int:
        """Now; a sync that begins now covers what was done up to it."""
        return self._now

    def synced(self, node: Node, until: int) -> None:
        """A sync that began at ``until`` is done."""
        node.synced(until)
        if isinstance(node, Folder):
            self._committed = max(self._committed, until)

    def newest(self) -> Tree:
        """What a process sees while the power is on."""
        keep_all = Cut(
            chance=random.Random(0), keep=2.0, sector=4096, order=Order.ANY, garbage=False
        )
        return dict(_walk(self._root, "", keep_all, self._now))

    def after(self, cut: Cut) -> Tree:
        """What is found when the power is back."""
        until = self._now
        if cut.order is Order.PREFIX and not cut.kept():
            until = cut.chance.randint(self._committed, self._now)
        return dict(_walk(self._root, "", cut, until))

    def _tick(self) -> int:
        self._now += 1
        return self._now

    def _name(self, path: str, node: Node | None) -> None:
        parent, name = self._parent(path)
        parent.changes.setdefault(name, []).append((self._tick(), node))

    def _parent(self, path: str) -> tuple[Folder, str]:
        above, _, name = path.rpartition("/")
        parent = self.node(above)
        if not isinstance(parent, Folder):
            raise LookupError(f"{above!r} is not a folder")
        return parent, name

    def _find(self, path: str) -> Node | None:
        node: Node | None = self._root
        for name in path.split("/") if path else ():
            if not isinstance(node, Folder):
                return None
            node = node.newest(name)
        return node


def _walk(folder: Folder, path: str, cut: Cut, until: int) -> Iterator[tuple[str, bytes | None]]:
    for name, node in sorted(folder.after(cut, until).items()):
        inner = f"{path}/{name}" if path else name
        if isinstance(node, Folder):
            yield inner, None
            yield from _walk(node, inner, cut, until)
        else:
            yield inner, node.after(cut)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    if data is not None:
        content[offset : offset + len(data)] = data


def _stretch(content: bytearray, size: int, cut: Cut) -> None:
    if len(content) < size:
        content.extend(cut.filler(size - len(content)))


def _sectors(offset: int, data: bytes, sector: int) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start < len(data):
        end = min(len(data), start + sector - (offset + start) % sector)
        yield offset + start, data[start:end]
        start = end
