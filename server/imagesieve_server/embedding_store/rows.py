"""Kept images as a Parquet file and back: one row per view.

The embedding is FIXED_LEN_BYTE_ARRAY, D float16 numbers, lowest byte first: it is read eight
times as fast as a list of numbers, and ``numpy.frombuffer`` is all that a reader needs. Pages
carry checksums, which are verified. What an image shares among its views stands in every row,
which the encoding makes almost free.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.errors import EmbeddingsDamaged
from imagesieve_server.core.kept import (
    BACKGROUNDS,
    KINDS,
    KeptBlock,
    KeptImage,
    Words,
    plan_of,
    plan_text,
)
from imagesieve_server.core.tenant_folders import folder_name
from imagesieve_server.core.verdict import Verdict
from imagesieve_server.extras import need

FORMAT = 1
_ABOUT = b"imagesieve"
_IMAGE_WORDS = ("surface", "policy", "policy_version", "verdict", "categories", "truncated", "plan")
_WORDS = (*_IMAGE_WORDS, "kind", "background")
_BOX = ("left", "upper", "right", "lower")


def as_file(images: Sequence[KeptImage]) -> bytes:
    """A file's bytes. The images are of one tenant and one model; there is at least one."""
    pa = need("pyarrow")
    first = images[0]
    dimensions = first.embeddings.shape[1]
    about = {
        "format": FORMAT,
        "tenant": first.tenant,
        "model_fingerprint": first.model_fingerprint,
        "dimensions": dimensions,
    }
    columns = _columns(images)
    embeddings = np.ascontiguousarray(np.concatenate([i.embeddings for i in images]), dtype="<f2")
    columns["embedding"] = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(2 * dimensions), len(embeddings), [None, pa.py_buffer(embeddings.tobytes())]
    )
    schema = _schema(pa, dimensions).with_metadata({_ABOUT: json.dumps(about).encode()})
    return _written(pa.table(columns, schema=schema))


def blocks(path: Path, *, tenant_folder: str, model: str) -> Iterator[KeptBlock]:
    """What a file holds, block by block. It must be of that model, and of a tenant whose folder
    is named so: a file that was put into another tenant's folder is not read.

    Raises EmbeddingsDamaged, FileNotFoundError.
    """
    pa, pq = need("pyarrow"), need("pyarrow.parquet")
    try:
        with pq.ParquetFile(
            path, read_dictionary=list(_WORDS), page_checksum_verification=True
        ) as file:
            about = _about(file.schema_arrow.metadata)
            if about is None or not _same(file.schema_arrow, _schema(pa, about["dimensions"])):
                raise EmbeddingsDamaged("is not a file of this store", file=str(path))
            if folder_name(about["tenant"]) != tenant_folder or about["model_fingerprint"] != model:
                raise EmbeddingsDamaged("belongs to another folder of the store", file=str(path))
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, use_threads=False)
                yield _block(table.unify_dictionaries().combine_chunks(), about, path)
    except FileNotFoundError:
        raise
    except KeyError:  # a column, or a note in the metadata, that every file of the store has
        raise EmbeddingsDamaged("is not a file of this store", file=str(path)) from None
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise EmbeddingsDamaged(f"cannot be read: {_line(problem)}", file=str(path)) from problem


def hashes(path: Path) -> npt.NDArray[np.void]:
    """The sha256 of each row, 32 bytes each. Raises EmbeddingsDamaged, FileNotFoundError."""
    pa, pq = need("pyarrow"), need("pyarrow.parquet")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            column = file.read(columns=["sha256"], use_threads=False).column("sha256")
        if column.type != pa.binary(32) or column.null_count or not len(column):
            raise EmbeddingsDamaged("is not a file of this store", file=str(path))
        return _fixed(column.combine_chunks(), 32).view("V32")[:, 0]
    except FileNotFoundError:
        raise
    except KeyError:  # a column, or a note in the metadata, that every file of the store has
        raise EmbeddingsDamaged("is not a file of this store", file=str(path)) from None
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise EmbeddingsDamaged(f"cannot be read: {_line(problem)}", file=str(path)) from problem


def _schema(pa: Any, dimensions: int) -> Any:
    return pa.schema(
        [
            ("sha256", pa.binary(32)),
            ("at", pa.timestamp("ms", tz="UTC")),
            *((name, pa.string()) for name in _IMAGE_WORDS),
            ("coverage", pa.float64()),
            ("view", pa.int16()),
            ("kind", pa.string()),
            ("frame", pa.int32()),
            *((side, pa.int32()) for side in _BOX),
            ("background", pa.string()),
            ("embedding", pa.binary(2 * dimensions)),
        ]
    )


def _columns(images: Sequence[KeptImage]) -> dict[str, Any]:
    """Every column but the embedding's."""
    views = [(image, number, view) for image in images for number, view in enumerate(image.views)]
    columns: dict[str, Any] = {
        "sha256": [bytes.fromhex(image.sha256) for image, _, _ in views],
        "at": [round(image.at * 1000) for image, _, _ in views],
        "surface": [_text(image.surface) for image, _, _ in views],
        "policy": [image.policy for image, _, _ in views],
        "policy_version": [image.policy_version for image, _, _ in views],
        "verdict": [image.verdict.value for image, _, _ in views],
        "categories": [",".join(image.categories) for image, _, _ in views],
        "truncated": [",".join(image.truncated) for image, _, _ in views],
        "plan": [plan_text(image.plan) for image, _, _ in views],
        "coverage": [image.coverage for image, _, _ in views],
        "view": [number for _, number, _ in views],
        "kind": [view.kind.value for _, _, view in views],
        "frame": [view.frame for _, _, view in views],
    }
    for place, side in enumerate(_BOX):
        columns[side] = [view.box[place] for _, _, view in views]
    columns["background"] = [view.background.value for _, _, view in views]
    return columns


def _block(table: Any, about: dict[str, Any], path: Path) -> KeptBlock:
    if any(column.null_count for column in table.columns) or not len(table):
        raise EmbeddingsDamaged("has no rows, or a row with something missing", file=str(path))
    column = {name: table.column(name).chunk(0) for name in table.column_names}
    number = column["view"].to_numpy()
    first = np.flatnonzero(number == 0)
    starts = np.repeat(first, np.diff(first, append=len(number)))
    if not len(first) or first[0] or not np.array_equal(number, np.arange(len(number)) - starts):
        raise EmbeddingsDamaged("does not hold whole images", file=str(path))
    words = {name: _words(column[name], first) for name in _IMAGE_WORDS}
    for verdict in words["verdict"].texts:
        Verdict(verdict)
    for plan in words["plan"].texts:
        plan_of(plan)
    embeddings = _fixed(column["embedding"], 2 * about["dimensions"]).view("<f2")
    return KeptBlock(
        tenant=about["tenant"],
        model_fingerprint=about["model_fingerprint"],
        first=first,
        sha256=_fixed(column["sha256"], 32).view("V32")[:, 0][first],
        at=column["at"].cast("int64").to_numpy()[first] / 1000.0,
        **words,
        coverage=column["coverage"].to_numpy()[first],
        kinds=_places(column["kind"], [kind.value for kind in KINDS]),
        frames=column["frame"].to_numpy(),
        boxes=np.stack([column[side].to_numpy() for side in _BOX], axis=1),
        backgrounds=_places(column["background"], [ground.value for ground in BACKGROUNDS]),
        embeddings=embeddings,
    )


def _words(column: Any, first: npt.NDArray[np.intp]) -> Words:
    texts = tuple(column.dictionary.to_pylist())
    return Words(texts=texts, codes=column.indices.to_numpy()[first].astype(np.int32))


def _places(column: Any, known: Sequence[str]) -> npt.NDArray[np.int8]:
    """Each row's place in ``known``. Raises ValueError for a text that is not there."""
    places = np.array([known.index(text) for text in column.dictionary.to_pylist()], dtype=np.int8)
    found: npt.NDArray[np.int8] = places[column.indices.to_numpy()]
    return found


def _fixed(array: Any, width: int) -> npt.NDArray[np.uint8]:
    """The bytes of a fixed-size binary array, uint8 [n, width], without copying."""
    raw = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    begin = array.offset * width
    return raw[begin : begin + len(array) * width].reshape(-1, width)


def _about(metadata: dict[bytes, bytes] | None) -> dict[str, Any] | None:
    raw = (metadata or {}).get(_ABOUT)
    about = json.loads(raw) if raw else None
    wanted = {"format": int, "tenant": str, "model_fingerprint": str, "dimensions": int}
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        return None
    sound = all(isinstance(about.get(key), kind) for key, kind in wanted.items())
    return about if sound and 0 < about["dimensions"] < 65536 else None


def without(path: Path, sha256: str) -> bytes | None:
    """The file's bytes without the rows of that image; None where no other row is left.

    Raises EmbeddingsDamaged, FileNotFoundError.
    """
    pa, pq = need("pyarrow"), need("pyarrow.parquet")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(use_threads=False)
        gone = hashes(path) == np.void(bytes.fromhex(sha256))
        return _written(table.filter(pa.array(~gone))) if not gone.all() else None
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError) as problem:
        raise EmbeddingsDamaged(f"cannot be read: {_line(problem)}", file=str(path)) from problem


def _written(table: Any) -> bytes:
    """A table of the store as one row group."""
    pa, pq = need("pyarrow"), need("pyarrow.parquet")
    out = pa.BufferOutputStream()
    names = table.column_names
    pq.write_table(
        table,
        out,
        row_group_size=len(table),
        use_dictionary=list(_WORDS),
        compression={name: "NONE" if name == "embedding" else "ZSTD" for name in names},
        write_page_checksum=True,
    )
    return bytes(out.getvalue())


def _same(found: Any, wanted: Any) -> bool:
    """Whether the columns are those of the schema; words are read as dictionaries."""
    plain = [(f.name, getattr(f.type, "value_type", f.type)) for f in found]
    return plain == [(f.name, f.type) for f in wanted]


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _line(problem: Exception) -> str:
    return str(problem).partition("\n")[0][:200]
