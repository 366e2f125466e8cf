"""Reads this project's .proto files: services and messages with the comments above them.

Knows the plain subset of the language that the files use; a line it cannot place is an error,
so that nothing is silently left out of the reference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

PROTO = Path(__file__).parents[2] / "proto" / "imagesieve" / "v1"

_RPC = re.compile(r"rpc (\w+)\((stream )?(\w+)\) returns \((stream )?(\w+)\);")
_FIELD = re.compile(r"((?:repeated |optional )?[\w.]+|map<[^>]+>) (\w+) = (\d+);")
_VALUE = re.compile(r"([A-Z][A-Z0-9_]*) = (\d+);")
_IGNORED = re.compile(r"(syntax|package|import)\b.*;|}|message \w+ {}|oneof (\w+) {|")


@dataclass
class Entry:
    """An rpc, a field or an enum value."""

    name: str
    kind: str  # a field's type; of an rpc "Request → Response"; of a value its number
    comment: str
    oneof: str = ""


@dataclass
class Block:
    """A service, message or enum."""

    what: str  # service | message | enum
    name: str
    comment: str
    entries: list[Entry] = field(default_factory=list)


def blocks() -> list[Block]:
    """Everything in every file, in the order of the files' names."""
    found: list[Block] = []
    for path in sorted(PROTO.glob("*.proto")):
        found += _read(path)
    return found


def _read(path: Path) -> list[Block]:
    found: list[Block] = []
    comment: list[str] = []
    oneof = ""
    for raw in path.read_text(encoding="utf-8").splitlines():
        line = raw.strip()
        if line.startswith("//"):
            comment.append(line.removeprefix("//").strip())
            continue
        said, comment = " ".join(comment), []
        if begun := re.fullmatch(r"(service|message|enum) (\w+) {}?", line):
            found.append(Block(begun[1], begun[2], said))
        elif rpc := _RPC.fullmatch(line):
            kind = f"{rpc[2] or ''}{rpc[3]} → {rpc[4] or ''}{rpc[5]}"
            found[-1].entries.append(Entry(rpc[1], kind, said))
        elif value := _VALUE.fullmatch(line):
            found[-1].entries.append(Entry(value[1], value[2], said))
        elif one := _FIELD.fullmatch(line):
            found[-1].entries.append(Entry(one[2], one[1], said, oneof))
        elif ignored := _IGNORED.fullmatch(line):
            oneof = ignored[2] or ""
        else:
            raise ValueError(f"{path.name}: cannot place {line!r}")
    return found
