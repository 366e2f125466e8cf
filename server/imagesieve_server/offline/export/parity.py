"""How far an exported encoder is from open_clip's own transform and torch model.

Knows arithmetic over embeddings and how open_clip computes them; refuses to know bundles and
files. All distances are in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagesieve_server.core.errors import BundleError
from imagesieve_server.core.views import Embeddings
from imagesieve_server.encoders.manifest import ParityReport, Precision, Storage
from imagesieve_server.extras import need

LOGIT_SCALE = 100.0
"""λ of the reports: a trained CLIP's, whatever the model's own (an untrained one's is 14)."""

PROMPTS = (
    "a photo of a cat",
    "a photo of a dog on a beach",
    "a plate of food",
    "a handgun on a table",
    "a knife held as a weapon",
    "a bottle of wine",
    "people at a party",
    "a street at night",
    "a screenshot of a web page",
    "a scanned document",
    "a drawing of a flower",
    "a medical photograph of skin",
    "a group of soldiers",
    "a child with a toy",
    "stars in the sky",
    "a red car",
)
"""Texts whose vectors the logits are taken over."""

Doubles = npt.NDArray[np.float64]


def reference_embeddings(model: Any, transform: Any, pictures: Sequence[Image.Image]) -> Embeddings:
    """Unit float32 [N, D] by open_clip's inference transform and torch model, one at a time."""
    torch = need("torch")
    rows = []
    with torch.no_grad():
        for picture in pictures:
            batch = transform(picture).unsqueeze(0)
            rows.append(model.encode_image(batch, normalize=True)[0].numpy())
    return np.asarray(rows, dtype=np.float32)


def compare(*, reference: Embeddings, found: Embeddings, prompts: Embeddings) -> ParityReport:
    """Compare unit embeddings [N, D] of the same N ≥ 2 pictures, over prompt vectors [P, D]."""
    a, b, texts = (array.astype(np.float64) for array in (reference, found, prompts))
    change = np.abs(LOGIT_SCALE * ((b - a) @ texts.T))
    error = np.linalg.norm(b - a, axis=1)
    cosine = np.einsum("nd,nd->n", a, b)
    return ParityReport(
        pictures=len(a),
        prompts=len(texts),
        logit_scale=LOGIT_SCALE,
        delta_logit_median=float(np.median(change)),
        delta_logit_p99=float(np.quantile(change, 0.99)),
        relative_error=float(error.max() / median_distance(a)),
        cosine_min=float(cosine.min()),
        cosine_median=float(np.median(cosine)),
    )


def median_distance(embeddings: Doubles) -> float:
    """Median Euclidean distance between the embeddings of two different pictures."""
    first, second = np.triu_indices(len(embeddings), k=1)
    distances = np.linalg.norm(embeddings[first] - embeddings[second], axis=1)
    return float(np.median(distances))


def relative_error_limit(precision: Precision, storage: Storage) -> float:
    """Largest ``relative_error`` an export may have.

    For fp32 the design's 1e-3. The others only catch an encoder that is broken (public reports
    of int8 CLIP embeddings that mean nothing); whether a precision is good enough for a policy is
    told by the verdicts that it flips.
    """
    if precision is Precision.INT8:
        return 0.5
    if precision is Precision.FP16 or storage is Storage.FP16:
        return 0.05
    return 1e-3


def gate(report: ParityReport, *, precision: Precision, storage: Storage) -> None:
    """Raise BundleError where the export is further from the torch model than it may be."""
    limit = relative_error_limit(precision, storage)
    if not report.relative_error <= limit:
        raise BundleError(
            f"the exported encoder differs from the torch model: error ÷ distance between "
            f"pictures is {report.relative_error:.2g}, the limit for {precision} is {limit:g}"
        )
