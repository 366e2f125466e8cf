"""A Markdown table of architecture × precision: how far each export is from torch, on photographs.

    python -m imagesieve_server.offline.export.parity_table [--arch A …] [--precision P …]

Weights are seeded and random, so the table proves the export, not what a trained model's outliers
do to a precision: every real bundle carries its own report. No gate is applied here.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imagesieve_server.core.views import Embeddings
from imagesieve_server.encoders.manifest import InvarianceReport, ParityReport, Precision
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions
from imagesieve_server.extras import need
from imagesieve_server.offline.export import invariance, parity
from imagesieve_server.offline.export.image_graph import export_image_graph
from imagesieve_server.offline.export.load import LoadedModel, ModelSource, load_model
from imagesieve_server.offline.export.measure import open_image_graph, prepare
from imagesieve_server.offline.export.photographs import (
    calibration_photographs,
    parity_photographs,
)
from imagesieve_server.offline.export.quantise import quantise_int8
from imagesieve_server.offline.export.rewrite import operator_counts
from imagesieve_server.offline.export.text_source import clip_tokenizer

ARCHITECTURES = ("ViT-B-32", "ViT-B-32-quickgelu", "RN50", "ViT-L-14", "ViT-B-16-SigLIP")
_BUCKETS = (1, 4)
_INVARIANCE_PICTURES = 2

_HEADER = (
    "| architecture | precision | Δ(λ·c) median | Δ(λ·c) p99 | error ÷ distance | cosine least "
    "| cosine median | attention nodes | MB | row in a batch | Δ(λ·c) across buckets |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, a row as soon as it is measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arch", action="append", help="may be given several times")
    parser.add_argument("--precision", action="append", type=Precision, choices=list(Precision))
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    parser.add_argument("--threads", type=int, default=0, help="0 is every core")
    args = parser.parse_args(arguments)
    options = RuntimeOptions(provider=Provider.CPU, threads=args.threads)
    print(_versions(), end="\n\n")
    print(_HEADER)
    for architecture in args.arch or ARCHITECTURES:
        source = ModelSource(architecture=architecture, seed=args.seed)
        for row in _rows(source, args.precision or list(Precision), options):
            print(row, flush=True)
    return 0


def _rows(
    source: ModelSource, precisions: Sequence[Precision], options: RuntimeOptions
) -> Iterator[str]:
    loaded = load_model(source)
    pictures = parity_photographs()
    reference = parity.reference_embeddings(loaded.model, loaded.transform, pictures)
    prompts = _prompt_vectors(loaded)
    pixels = prepare(pictures, loaded)
    for precision in precisions:
        proto = _graph(loaded, precision)
        nodes = operator_counts(proto).get("Attention", 0)
        with tempfile.TemporaryDirectory(prefix="imagesieve-parity-") as folder:
            path = Path(folder, "image_encoder.onnx")
            need("onnx").save_model(proto, path)
            del proto
            embed = open_image_graph(path, options)
            found = np.concatenate([embed(row[np.newaxis]) for row in pixels])
            report = parity.compare(reference=reference, found=found, prompts=prompts)
            batches = invariance.measure_invariance(
                embed, pictures=pixels[:_INVARIANCE_PICTURES], prompts=prompts, buckets=_BUCKETS
            )
            megabytes = path.stat().st_size / 1e6
        yield _row(source.architecture, precision, report, batches, nodes, megabytes)


def _graph(loaded: LoadedModel, precision: Precision) -> Any:
    half = precision is Precision.FP16
    proto = export_image_graph(loaded.model, loaded.preprocessing, half=half)
    if precision is Precision.INT8:
        return quantise_int8(proto, calibration=prepare(calibration_photographs(), loaded))
    return proto


def _prompt_vectors(loaded: LoadedModel) -> Embeddings:
    """Torch's vectors [P, D] of the prompts; of seeded tokens where the tokenizer is on a hub."""
    torch = need("torch")
    if loaded.text_config.get("hf_tokenizer_name"):
        shape = (len(parity.PROMPTS), loaded.context_length)
        chance = np.random.default_rng(0)
        tokens = torch.from_numpy(chance.integers(2, int(loaded.model.vocab_size), shape))
    else:
        tokens = clip_tokenizer(loaded, None)(list(parity.PROMPTS))
    with torch.no_grad():
        vectors: Embeddings = loaded.model.encode_text(tokens, normalize=True).numpy()
    return vectors


def _row(
    architecture: str,
    precision: Precision,
    report: ParityReport,
    batches: InvarianceReport,
    nodes: int,
    megabytes: float,
) -> str:
    cells = (
        architecture,
        precision.value,
        f"{report.delta_logit_median:.1e}",
        f"{report.delta_logit_p99:.1e}",
        f"{report.relative_error:.1e}",
        f"{report.cosine_min:.6f}",
        f"{report.cosine_median:.6f}",
        str(nodes),
        f"{megabytes:.0f}",
        "same bits" if batches.same_bits_within_bucket else "DIFFERS",
        f"{batches.delta_logit_across_buckets:.1e}",
    )
    return "| " + " | ".join(cells) + " |"


def _versions() -> str:
    names = ("onnxruntime", "torch", "open_clip_torch", "onnx", "onnxscript")
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return f"Measured {today} with {found}."


if __name__ == "__main__":
    raise SystemExit(main())
