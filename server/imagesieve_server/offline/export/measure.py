"""What an export must show before it becomes a bundle: parity, batch invariance, canaries.

Knows how the exported files are run on this machine's CPU and compared with torch; refuses to
know where they came from and where they go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from imagesieve_server.core.errors import BundleError
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.encoders import manifest as manifests
from imagesieve_server.encoders.bundle import Canary
from imagesieve_server.encoders.manifest import (
    InvarianceReport,
    ParityReport,
    Precision,
    Storage,
    TextSpec,
)
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions, open_session
from imagesieve_server.encoders.text import TextTokenizer
from imagesieve_server.extras import need
from imagesieve_server.images.preprocess import bundle_view
from imagesieve_server.images.resample import by_pillow
from imagesieve_server.offline.export import invariance, parity
from imagesieve_server.offline.export.invariance import Embed
from imagesieve_server.offline.export.load import LoadedModel
from imagesieve_server.offline.export.photographs import parity_photographs

_CANARIES = 4
_TEXT_TOLERANCE = {Storage.FP32: 1e-4, Storage.FP16: 2e-2}
"""Largest Euclidean distance of a prompt's vector to torch's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Figures of an export that passed."""

    parity: ParityReport
    invariance: InvarianceReport | None
    canary: Canary


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure."""

    buckets: tuple[int, ...]  # of the batch invariance test; empty: not measured
    invariance_pictures: int = 16
    threads: int = 0  # of ONNX Runtime; 0 takes every core


def measure(
    loaded: LoadedModel,
    *,
    folder: Path,
    text: TextSpec,
    precision: Precision,
    storage: Storage,
    plan: Plan,
) -> Measured:
    """Measure the graphs in ``folder``. Raises BundleError where one does not pass its gate."""
    options = RuntimeOptions(provider=Provider.CPU, threads=plan.threads)
    embed = open_image_graph(folder / manifests.IMAGE_ENCODER, options)
    prompts = _prompt_vectors(loaded, folder, text, options, storage)
    pictures = parity_photographs()
    pixels = prepare(pictures, loaded)
    found = np.concatenate([embed(row[np.newaxis]) for row in pixels])
    reference = parity.reference_embeddings(loaded.model, loaded.transform, pictures)
    report = parity.compare(reference=reference, found=found, prompts=prompts)
    parity.gate(report, precision=precision, storage=storage)
    batches = None
    if plan.buckets:
        batches = invariance.measure_invariance(
            embed,
            pictures=pixels[: plan.invariance_pictures],
            prompts=prompts,
            buckets=plan.buckets,
        )
        invariance.gate(batches, precision=precision)
    canary = Canary(pixels=pixels[:_CANARIES], embeddings=found[:_CANARIES])
    return Measured(parity=report, invariance=batches, canary=canary)


def open_image_graph(path: Path, options: RuntimeOptions) -> Embed:
    """A function that runs the image graph on exactly the rows it is given."""
    session = open_session(path, options=options).session

    def embed(pixels: Pixels) -> Embeddings:
        return np.asarray(session.run(["embeddings"], {"pixels": pixels})[0], dtype=np.float32)

    return embed


def prepare(pictures: Sequence[Image.Image], loaded: LoadedModel) -> Pixels:
    """Pictures through the server's own preprocessing, its reference: uint8 [N, S, S, 3]."""
    return np.stack(
        [bundle_view(picture, loaded.preprocessing, resample=by_pillow) for picture in pictures]
    )


def _prompt_vectors(
    loaded: LoadedModel, folder: Path, text: TextSpec, options: RuntimeOptions, storage: Storage
) -> Embeddings:
    """Prompt vectors [P, D] of the exported text encoder, checked against torch's."""
    torch = need("torch")
    tokens = TextTokenizer(file=folder / manifests.TOKENIZER, spec=text)(parity.PROMPTS)
    session = open_session(folder / manifests.TEXT_ENCODER, options=options).session
    rows = [session.run(["embeddings"], {"tokens": row[np.newaxis]})[0] for row in tokens]
    found: Embeddings = np.concatenate(rows)
    with torch.no_grad():
        expected = loaded.model.encode_text(torch.from_numpy(tokens), normalize=True).numpy()
    distance = float(np.linalg.norm(found - expected, axis=1).max())
    if not distance <= _TEXT_TOLERANCE[storage]:
        raise BundleError(f"the exported text encoder is {distance:.2g} away from the torch model")
    return found
