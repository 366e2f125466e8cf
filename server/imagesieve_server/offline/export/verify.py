"""`model verify`: is this bundle whole, sound on this machine, and independent of the batch?

Knows which checks there are and runs them in order; refuses to know how results are printed. Needs
no torch; the check of operators needs ``onnx`` and says so where it is missing.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagesieve_server.core.errors import BundleError, ConfigError, EncoderUnavailable, MissingExtra
from imagesieve_server.core.views import Pixels
from imagesieve_server.encoders.bundle import Bundle, load_bundle
from imagesieve_server.encoders.opening import open_encoder
from imagesieve_server.encoders.runtime import RuntimeOptions
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.extras import need
from imagesieve_server.offline.export import invariance, parity
from imagesieve_server.offline.export.rewrite import (
    dynamic_quantisers,
    notable_operators,
    operator_counts,
)


class Outcome(enum.StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "FAILED"
    NOT_DONE = "not done"  # something it needs is not installed; never counts as passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the report."""

    name: str
    outcome: Outcome
    detail: str


def verify_bundle(
    folder: Path, *, options: RuntimeOptions, buckets: tuple[int, ...]
) -> Iterator[Check]:
    """Run the checks; a bundle that is incomplete or altered ends the report at once."""
    try:
        bundle = load_bundle(folder)
    except BundleError as problem:
        yield Check(name="files", outcome=Outcome.FAILED, detail=problem.message)
        return
    count = len(bundle.manifest.files)
    yield Check(name="files", outcome=Outcome.PASSED, detail=f"{count} files, every hash right")
    yield _checked("operators", lambda: _operators(bundle))
    yield _checked("canary", lambda: _canary(bundle, options, buckets))
    yield _checked("batch invariance", lambda: _batches(bundle, options, buckets))


def _checked(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name=name, outcome=Outcome.PASSED, detail=check())
    except MissingExtra as problem:
        return Check(name=name, outcome=Outcome.NOT_DONE, detail=problem.message)
    except (BundleError, ConfigError, EncoderUnavailable) as problem:
        facts = "".join(f", {key} {value}" for key, value in problem.metadata.items())
        return Check(name=name, outcome=Outcome.FAILED, detail=problem.message + facts)


def _operators(bundle: Bundle) -> str:
    for path in (bundle.image_encoder, bundle.text_encoder):
        refuse_dynamic_quantisation(need("onnx").load(path, load_external_data=False), path.name)
    found = notable_operators(need("onnx").load(bundle.image_encoder, load_external_data=False))
    expected = dict(bundle.manifest.operators)
    if found != expected:
        raise BundleError(f"operators are {found}, the manifest says {expected}")
    return ", ".join(f"{count} {name}" for name, count in found.items() if count)


def refuse_dynamic_quantisation(proto: Any, name: str) -> None:
    """Raise BundleError for a graph that takes its ranges from the batch at hand."""
    found = dynamic_quantisers(operator_counts(proto))
    if found:
        raise BundleError(
            f"{name} is quantised dynamically ({found[0]}): a picture's score would depend on "
            "what else is in the batch; export with --precision int8, which is static"
        )


def _canary(bundle: Bundle, options: RuntimeOptions, buckets: tuple[int, ...]) -> str:
    encoder = open_encoder(bundle, options, buckets=buckets)
    encoder.check_canary()
    for bucket in encoder.buckets:
        encoder.check_canary(bucket)
    return f"{len(bundle.canary.pixels)} pictures on {encoder.spec.provider}"


def _batches(bundle: Bundle, options: RuntimeOptions, buckets: tuple[int, ...]) -> str:
    encoder = open_encoder(bundle, options, buckets=buckets)
    report = invariance.measure_invariance(
        encoder.run,
        pictures=_variants(bundle.canary.pixels),
        prompts=OnnxTextEncoder(bundle=bundle, threads=options.threads).encode(parity.PROMPTS),
        buckets=buckets,
    )
    invariance.gate(report, precision=bundle.manifest.precision)
    return (
        f"same bits beside black and beside noise in buckets {', '.join(map(str, buckets))}; "
        f"across buckets a logit moves by {report.delta_logit_across_buckets:.2g} at most"
    )


def _variants(pictures: Pixels) -> Pixels:
    """The canary's pictures, also mirrored, upside down and negative."""
    return np.concatenate([pictures, pictures[:, :, ::-1], pictures[:, ::-1], 255 - pictures])
