"""What goes into a tower's last map, computed once for each picture and caption.

Kept in the run's folder as plain numpy files that are read as they are needed, so that a
million pictures fit; filled in order, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.intp]
Compute = Callable[[int, int], tuple[Floats, Floats | None]]
"""From things ``start`` to ``stop`` to their features [n, F], and base [n, D] or None for zero."""

CHUNK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Features of N things."""

    inputs: Floats  # [N, F]
    base: Floats | None  # [N, D]; None is zero

    def __len__(self) -> int:
        return len(self.inputs)

    def rows(self, numbers: Numbers) -> tuple[Floats, Floats | None]:
        """(features, base) of some, copied out of the file."""
        base = None if self.base is None else np.array(self.base[numbers])
        return np.array(self.inputs[numbers]), base


def computed_once(
    folder: Path,
    name: str,
    *,
    key: Any,
    count: int,
    compute: Compute,
    progress: Callable[[int], None],
) -> Features:
    """Features of ``count`` ≥ 1 things, from the files of ``name`` as far as they reach.

    ``key`` is everything the features depend on, as JSON values; files of another key are
    written anew. ``progress`` is told how many are done.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    note = folder / f"{name}.json"
    paths = {kind: folder / f"{name}.{kind}.npy" for kind in ("inputs", "base")}
    done = _done(note, digest)
    if done == 0:
        for path in (note, *paths.values()):
            path.unlink(missing_ok=True)
    for start in range(done, count, CHUNK):
        stop = min(count, start + CHUNK)
        inputs, base = compute(start, stop)
        _store(paths["inputs"], inputs, start, count)
        if base is not None:
            _store(paths["base"], base, start, count)
        part = note.with_suffix(".part")
        part.write_text(json.dumps({"key": digest, "done": stop}))
        part.replace(note)
        progress(stop)
    return Features(
        inputs=np.load(paths["inputs"], mmap_mode="r"),
        base=np.load(paths["base"], mmap_mode="r") if paths["base"].exists() else None,
    )


def _done(note: Path, digest: str) -> int:
    try:
        found = json.loads(note.read_text())
        return int(found["done"]) if found["key"] == digest else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _store(path: Path, rows: Floats, start: int, count: int) -> None:
    file = np.lib.format.open_memmap(
        path,
        mode="r+" if path.exists() else "w+",
        dtype=np.float32,
        shape=(count, rows.shape[1]),
    )
    file[start : start + len(rows)] = rows
    file.flush()
