"""From a policy's YAML and a model bundle to the artefact that servers load.

Needs no torch: prompts go through the bundle's own text encoder. Prompts whose vectors an
earlier artefact of the same model and templates holds are not encoded again, so an edit of
thresholds alone compiles in milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagesieve_server.core.errors import PolicyError
from imagesieve_server.core.policy import Method, Policy, Vectors
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.policy_files import compiled
from imagesieve_server.policy_files.probe_file import ProbeFile, read_probe
from imagesieve_server.policy_files.source import PolicySource, parse_policy

EncodeTexts = Callable[[Sequence[str]], Vectors]
"""Texts to unit vectors, float32 [N, D]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What a compile made."""

    path: Path
    policy: Policy
    encoded: int  # prompts that went through the text encoder
    reused: int  # prompts whose vectors were taken from the earlier artefact
    warnings: tuple[str, ...]


def compile_policy(
    *, source_path: Path, bundle: Bundle, encode_texts: EncodeTexts, out: Path
) -> Compiled:
    """Compile one file; ``out`` is replaced atomically, its folder made. Raises PolicyError."""
    source = read_source(source_path)
    known = _known_vectors(out, source, bundle)
    data, encoded = _build(source, source_path, bundle, encode_texts, known)
    compiled.write(out, data)
    result = compiled.read(out)
    return Compiled(
        path=out,
        policy=result.policy,
        encoded=encoded,
        reused=len(source.prompt_texts()) - encoded,
        warnings=result.warnings,
    )


def compile_in_memory(
    *, source_path: Path, bundle: Bundle, encode_texts: EncodeTexts
) -> compiled.CompiledPolicy:
    """Compile one file and write nothing. Raises PolicyError."""
    source = read_source(source_path)
    data, _ = _build(source, source_path, bundle, encode_texts, {})
    return compiled.parse(data, file=str(source_path))


def _build(
    source: PolicySource,
    source_path: Path,
    bundle: Bundle,
    encode_texts: EncodeTexts,
    known: Mapping[str, Vectors],
) -> tuple[bytes, int]:
    """(the artefact, how many prompts were encoded for it)."""
    _check_fits(source, bundle, str(source_path))
    missing = [text for text in source.prompt_texts() if text not in known]
    data = compiled.build(
        source=source,
        file=str(source_path),
        model_fingerprint=bundle.fingerprint,
        logit_scale=float(bundle.manifest.logit_scale),
        logit_bias=float(bundle.manifest.logit_bias),
        vectors={**known, **ensemble(missing, source.templates, encode_texts)},
        probes=_probes(source, source_path, bundle),
    )
    return data, len(missing)


def ensemble(
    prompts: Sequence[str], templates: Sequence[str], encode_texts: EncodeTexts
) -> dict[str, Vectors]:
    """Each prompt in every template, averaged and renormalised (CLIP, arXiv:2103.00020 §3.1.4).

    Returns a unit float32 [D] per prompt.
    """
    vectors: dict[str, Vectors] = {}
    for prompt in prompts:
        rows = encode_texts([template.replace("{}", prompt) for template in templates])
        mean = rows.astype(np.float64).mean(axis=0)
        vectors[prompt] = (mean / np.linalg.norm(mean)).astype(np.float32)
    return vectors


def read_source(path: Path) -> PolicySource:
    """Read and check a policy's YAML. Raises PolicyError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except UnicodeDecodeError:
        is_compiled = path.name.endswith(compiled.SUFFIX)
        why = (
            "is compiled; name the YAML that it was made of" if is_compiled else "is not UTF-8 text"
        )
        raise PolicyError(why, file=str(path)) from None
    return parse_policy(text, file=str(path))


def _check_fits(source: PolicySource, bundle: Bundle, file: str) -> None:
    """Refuse a method the model was not trained for."""
    activation = str(bundle.manifest.activation)
    for category in source.categories:
        wants = {Method.CONTRAST: "softmax", Method.SIGMOID: "sigmoid"}.get(category.method)
        if wants is not None and wants != activation:
            raise PolicyError(
                f"method {category.method.value} needs a {wants} model, but "
                f"{bundle.manifest.name!r} is {activation}",
                file=file,
                field=f"category {category.id!r}",
            )
    if not math.isfinite(bundle.manifest.logit_scale):
        raise PolicyError("the model has no finite logit_scale", file=file)


def _probes(source: PolicySource, source_path: Path, bundle: Bundle) -> dict[str, ProbeFile]:
    """The heads of the categories that have one. Raises PolicyError."""
    probes = {}
    for category in source.categories:
        if category.method is not Method.PROBE:
            continue
        path = source_path.parent / category.probe
        probe = read_probe(path)
        if probe.model_fingerprint != bundle.fingerprint:
            raise PolicyError(
                f"was learned on the embeddings of another model ({probe.model_fingerprint[:12]}…) "
                f"than {bundle.manifest.name!r} ({bundle.fingerprint[:12]}…)",
                file=str(path),
            )
        probes[category.id] = probe
    return probes


def _known_vectors(out: Path, source: PolicySource, bundle: Bundle) -> Mapping[str, Vectors]:
    """Vectors of the artefact already at ``out``, where they are still right."""
    try:
        earlier = compiled.read(out)
    except PolicyError:
        return {}  # nothing is there, or whatever it was is about to be replaced
    same_model = earlier.policy.model_fingerprint == bundle.fingerprint
    if not same_model or earlier.templates != source.templates:
        return {}
    wanted = set(source.prompt_texts())
    return {text: vector for text, vector in earlier.vectors.items() if text in wanted}
