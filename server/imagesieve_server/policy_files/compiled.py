"""The compiled artefact: one file with the source text, the prompt vectors and the model's
fingerprint. Servers load nothing else.

A ``.policy.npz`` file holds two arrays (numpy's npz, never pickled):

    manifest   uint8: JSON with format, source text and file name, model fingerprint,
               logit_scale, logit_bias, the list of prompts, and each category's probe
    vectors    float32 [K, D], one unit row per prompt in the manifest's order

``policy_version`` is the sha256 over both, so it does not depend on zip time stamps.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagesieve_server.core.errors import PolicyError
from imagesieve_server.core.failure import refuse_unsafe_fail_open
from imagesieve_server.core.policy import Category, Method, Policy, Probe, PromptGroup, Vectors
from imagesieve_server.policy_files.fitted_on import stale
from imagesieve_server.policy_files.probe_file import ProbeFile, as_json, probe_of
from imagesieve_server.policy_files.source import CategorySource, PolicySource, parse_policy

SUFFIX = ".policy.npz"
FORMAT = 1
MAX_BYTES = 256 << 20
"""An artefact larger than this is refused unread (100 000 prompts of 640 floats)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledPolicy:
    """A policy ready to judge, with what its author should hear."""

    policy: Policy
    templates: tuple[str, ...]
    vectors: Mapping[str, Vectors]  # prompt text → float32 [D]; reused by the next compile
    warnings: tuple[str, ...]


def build(
    *,
    source: PolicySource,
    file: str,
    model_fingerprint: str,
    logit_scale: float,
    logit_bias: float,
    vectors: Mapping[str, Vectors],
    probes: Mapping[str, ProbeFile] | None = None,
) -> bytes:
    """The artefact's bytes.

    ``vectors`` has a unit float32 [D] for every prompt text, ``probes`` the head of every
    category with that method, by its id.

    Raises PolicyError where a rule of the loader is broken, so that nothing is written that
    a server would refuse.
    """
    prompts = list(source.prompt_texts())
    matrix = np.stack([np.asarray(vectors[text], dtype=np.float32) for text in prompts])
    manifest = {
        "format": FORMAT,
        "file": Path(file).name,
        "source": source.text,
        "model_fingerprint": model_fingerprint,
        "logit_scale": logit_scale,
        "logit_bias": logit_bias,
        "templates": list(source.templates),
        "prompts": prompts,
        "probes": {category: as_json(probe) for category, probe in (probes or {}).items()},
    }
    raw = json.dumps(manifest, sort_keys=True, ensure_ascii=False).encode()
    buffer = io.BytesIO()
    np.savez(buffer, manifest=np.frombuffer(raw, dtype=np.uint8), vectors=matrix)
    data = buffer.getvalue()
    parse(data, file=file)
    return data


def write(path: Path, data: bytes) -> None:
    """Replace the file at ``path`` atomically: a watching server never reads half of it.

    Its folder is made where it is missing. Raises PolicyError where it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with contextlib.suppress(FileExistsError):  # a file of that name is told of by `open`
            path.parent.mkdir(parents=True)
        with temporary.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise PolicyError(f"cannot be written: {error.strerror}", file=str(path)) from None


def read(path: Path) -> CompiledPolicy:
    """Load an artefact. Raises PolicyError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PolicyError(f"larger than {MAX_BYTES} bytes", file=str(path))
        data = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"cannot be read: {error.strerror}", file=str(path)) from None
    return parse(data, file=str(path))


def parse(data: bytes, *, file: str) -> CompiledPolicy:
    """Check and load an artefact's bytes. Raises PolicyError."""
    manifest, matrix = _arrays(data, file)
    prompts = _checked_prompts(manifest, matrix, file)
    raw = json.dumps(manifest, sort_keys=True, ensure_ascii=False).encode()
    version = hashlib.sha256(raw + b"\0" + matrix.tobytes()).hexdigest()
    source = parse_policy(manifest["source"], file=manifest["file"])
    vectors = dict(zip(prompts, matrix, strict=True))
    missing = [text for text in source.prompt_texts() if text not in vectors]
    if missing:
        raise PolicyError(f"has no vector for prompt {missing[0]!r}; compile it again", file=file)
    probes = _checked_probes(source, manifest["probes"], matrix.shape[1], file)
    policy = _policy(source, manifest, vectors, probes, version)
    refuse_unsafe_fail_open(policy)
    return CompiledPolicy(
        policy=policy,
        templates=tuple(manifest["templates"]),
        vectors=vectors,
        warnings=(*source.warnings, *_stale(source, manifest, probes)),
    )


def _arrays(data: bytes, file: str) -> tuple[dict[str, Any], Vectors]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            manifest = json.loads(archive["manifest"].tobytes())
            matrix = archive["vectors"]
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise PolicyError(
            "is damaged, or is not a compiled policy "
            "(make one with `imagesieve-server policy compile`)",
            file=file,
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise PolicyError("was compiled by a newer or foreign program", file=file)
    expected = {
        "source": str, "file": str, "model_fingerprint": str, "logit_scale": float,
        "logit_bias": float, "templates": list, "prompts": list, "probes": dict,
    }  # fmt: skip
    for key, kind in expected.items():
        if not isinstance(manifest.get(key), kind):
            raise PolicyError(f"manifest field {key!r} is missing or malformed", file=file)
    return manifest, matrix


def _checked_prompts(manifest: Mapping[str, Any], matrix: Vectors, file: str) -> Sequence[str]:
    prompts: list[str] = manifest["prompts"]
    if matrix.dtype != np.float32 or matrix.ndim != 2 or len(matrix) != len(prompts):
        raise PolicyError("vectors and prompts do not match", file=file)
    lengths = np.linalg.norm(matrix.astype(np.float64), axis=1)
    if not np.all(np.abs(lengths - 1.0) <= 1e-3):
        raise PolicyError("a prompt vector is not of unit length", file=file)
    return prompts


def _checked_probes(
    source: PolicySource, found: Mapping[str, Any], dimensions: int, file: str
) -> dict[str, Probe]:
    probes = {}
    for category in source.categories:
        if category.method is not Method.PROBE:
            continue
        data = found.get(category.id)
        if not isinstance(data, dict):
            raise PolicyError(f"has no probe for category {category.id!r}", file=file)
        probe = probe_of(data, file=file)
        if len(probe.weights) != dimensions:
            raise PolicyError(
                f"the probe of category {category.id!r} has {len(probe.weights)} weights, but "
                f"the model's embeddings have {dimensions} numbers",
                file=file,
            )
        probes[category.id] = probe
    return probes


def _stale(
    source: PolicySource, manifest: Mapping[str, Any], probes: Mapping[str, Probe]
) -> list[str]:
    """A warning per calibration that was fitted on something else."""
    fingerprint = manifest["model_fingerprint"]
    found = [
        stale(source, category, model_fingerprint=fingerprint, probe=probes.get(category.id))
        for category in source.categories
    ]
    return [warning for warning in found if warning]


def _policy(
    source: PolicySource,
    manifest: Mapping[str, Any],
    vectors: Mapping[str, Vectors],
    probes: Mapping[str, Probe],
    version: str,
) -> Policy:
    return Policy(
        name=source.name,
        version=version,
        model_fingerprint=manifest["model_fingerprint"],
        logit_scale=manifest["logit_scale"],
        logit_bias=manifest["logit_bias"],
        neutral=_group(source.neutral, vectors),
        categories=tuple(_category(c, vectors, probes.get(c.id)) for c in source.categories),
        coverage=source.coverage,
        max_views=source.max_views,
        on_undecodable=source.on_undecodable,
        on_partial_coverage=source.on_partial_coverage,
        on_unavailable=source.on_unavailable,
        reviews_needed=source.reviews_needed,
        second_review=source.second_review,
        reuse_decisions=source.reuse_decisions,
        audit=source.audit,
        description=source.description,
        source=source.text,
    )


def _category(
    source: CategorySource, vectors: Mapping[str, Vectors], probe: Probe | None
) -> Category:
    return Category(
        id=source.id,
        title=source.title,
        severity=source.severity,
        mode=source.mode,
        method=source.method,
        pooling=source.pooling,
        prompts=_group(source.prompts, vectors),
        counter_prompts=_group(source.counter_prompts, vectors),
        thresholds=source.thresholds,
        per_view_kind=source.per_view_kind,
        probe=probe,
        calibration=source.calibration.calibration if source.calibration else None,
    )


def _group(texts: Sequence[str], vectors: Mapping[str, Vectors]) -> PromptGroup:
    if not texts:
        return PromptGroup(texts=(), vectors=np.zeros((0, 0), dtype=np.float32))
    return PromptGroup(texts=tuple(texts), vectors=np.stack([vectors[text] for text in texts]))
