"""What one process did to a folder: recording it, reading the records, replaying them.

Knows the records of ``power_cut_shim.c``. Does not know what the process was for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from power_cut_disk import Disk, File, Folder, Node, Tree

SHIM = Path(__file__).with_name("power_cut_shim.c")
LONGEST_SYNC_US = 1500


@dataclass(frozen=True, slots=True)
class Record:
    kind: str  # the letter of power_cut_shim.c
    words: tuple[str, ...]
    data: bytes = b""


def build_shim(folder: Path) -> Path:
    """Compile the recorder. Raises RuntimeError with the compiler's words."""
    library = folder / "power_cut_shim.so"
    command = [os.environ.get("CC", "cc"), "-O1", "-Wall", "-Werror", "-shared", "-fPIC"]
    command += ["-pthread", "-o", str(library), str(SHIM), "-ldl"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise RuntimeError(f"the recorder needs a C compiler; there is no {command[0]}") from None
    if done.returncode:
        raise RuntimeError(f"the recorder does not compile:\n{done.stderr}")
    return library


def record(command: Sequence[str], *, shim: Path, root: Path, log: Path) -> tuple[Record, ...]:
    """Run a Python script to its end; what it did below ``root``, in order."""
    seen = {
        "LD_PRELOAD": str(shim),
        "POWER_CUT_ROOT": str(root),
        "POWER_CUT_LOG": str(log),
        "POWER_CUT_SYNC_US": str(LONGEST_SYNC_US),
    }
    log.unlink(missing_ok=True)
    subprocess.run([sys.executable, *command], env={**os.environ, **seen}, check=True)
    return tuple(parse(log.read_bytes(), root=root))


def parse(log: bytes, *, root: Path) -> Iterator[Record]:
    """The records, their paths relative to ``root``."""
    at = 0
    while at < len(log):
        end = log.index(b"\n", at)
        line = log[at:end].decode()
        kind, rest = line[0], line[2:]
        at = end + 1
        if kind in "RUMX":
            yield Record(kind, tuple(_inside(path, root) for path in rest.split("\t")))
        elif kind == "O":
            *words, path = rest.split(" ", 4)
            yield Record(kind, (*words, _inside(path, root)))
        elif kind in "WA":
            words = rest.split(" ")
            size = int(words[-1])
            yield Record(kind, tuple(words), log[at : at + size])
            at += size
        else:
            yield Record(kind, tuple(rest.split(" ")))


def _inside(path: str, root: Path) -> str:
    found = os.path.relpath(path, root)
    if found.startswith(".."):
        raise ValueError(f"{path} is not below {root}")
    return "" if found == "." else found


class Replay:
    """Records played one by one onto a modelled disk, and the marks between them.

    ``ignores`` names, by the path opened, the files and folders whose syncs the disk only
    claims to have done.
    """

    def __init__(self, start: Tree, *, ignores: Callable[[str], bool] = lambda _: False) -> None:
        self.disk = Disk(start)
        self.marks: list[bytes] = []
        self._ignores = ignores
        self._open: dict[str, tuple[str, Node]] = {}
        self._syncing: dict[str, list[int]] = {}

    def play(self, record: Record) -> None:
        match record.kind, record.words:
            case "O", (handle, is_folder, created, truncated, path):
                self._opened(handle, path, created=created == "1" and is_folder == "0")
                if truncated == "1":
                    self.disk.resize(self._file(handle), 0)
            case "C", (handle,):
                del self._open[handle]
            case "W", (handle, offset, _):
                self.disk.write(self._file(handle), int(offset), record.data)
            case "T", (handle, size):
                self.disk.resize(self._file(handle), int(size))
            case "S", (handle,):
                self._syncing.setdefault(handle, []).append(self.disk.moment())
            case "E", (handle,):
                self._sync_done(handle)
            case "R", (source, target):
                self.disk.rename(source, target)
            case (("U" | "X"), (path,)):
                self.disk.remove(path)
            case "M", (path,):
                self.disk.create(path, Folder())
            case "A", _:
                self.marks.append(record.data)
            case _:
                raise ValueError(f"unknown record {record}")

    def _opened(self, handle: str, path: str, *, created: bool) -> None:
        if created:
            self.disk.create(path, File())
        self._open[handle] = (path, self.disk.node(path))

    def _sync_done(self, handle: str) -> None:
        # Two threads in a sync of one handle: the older beginning is the safe assumption.
        until = self._syncing[handle].pop(0)
        path, node = self._open[handle]
        if not self._ignores(path):
            self.disk.synced(node, until)

    def _file(self, handle: str) -> File:
        node = self._open[handle][1]
        if not isinstance(node, File):
            raise ValueError("a folder is not written")
        return node


def read_tree(root: Path) -> Tree:
    """A real folder as a disk that holds all of it durably."""
    return {
        path.relative_to(root).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
    }


def write_tree(tree: Tree, root: Path) -> None:
    for path, data in sorted(tree.items()):
        if data is None:
            (root / path).mkdir(mode=0o700)
        else:
            (root / path).write_bytes(data)


def differences(tree: Tree, root: Path) -> list[str]:
    """Paths where the replayed disk is not the folder the process really left: calls that the
    recorder missed. The ``-shm`` of a write-ahead log is mapped memory and never recovered."""
    real = read_tree(root)
    return sorted(
        path
        for path in {*tree, *real}
        if not path.endswith("-shm") and tree.get(path, b"\0") != real.get(path, b"\0")
    )
