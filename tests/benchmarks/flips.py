"""Verdicts that change where decoding is scaled or the encoder is not fp32, at the policy's own
thresholds, and how far λ·c moved.

    python tests/benchmarks/flips.py --labels scenes/fresh/labels.csv [--n 2000] [--seed 1]
        [--candidate BUNDLE ...] [--model BUNDLE --policy FILE.policy.npz] [--json FILE]

The reference is the fp32 bundle behind the plain transform: every pixel decoded, resized, cropped.
Against it: the same bundle behind our decoder, then each candidate (another precision of the same
model) behind the plain transform, then each behind our decoder. The pictures of the label file
are written as JPEGs whose short side is ten times the model's, as uploads are.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagesieve_server.core.policy import Policy
from imagesieve_server.core.scoring import score_image
from imagesieve_server.core.verdict import Verdict, decide
from imagesieve_server.core.views import (
    Coverage,
    Embeddings,
    Pixels,
    Preprocessing,
    View,
    ViewKind,
    ViewPlan,
)
from imagesieve_server.demo_data import DEMO_BUNDLE, DEMO_POLICIES
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import RuntimeOptions
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.preprocess import bundle_view
from imagesieve_server.images.resample import by_pillow
from imagesieve_server.policy_files import compiled

ENLARGED = 10  # short side ÷ the model's side
QUALITY = 90
ROWS = 64  # pictures in memory at once
AIMS = {"scaled": 0.001, "fp16": 0.0005, "int8": 0.003}  # flipped ÷ pictures
Transform = Callable[[bytes, Preprocessing], Pixels]


def plain(data: bytes, preprocessing: Preprocessing) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return bundle_view(image.convert("RGB"), preprocessing, resample=by_pillow)


def scaled(data: bytes, preprocessing: Preprocessing) -> Pixels:
    plan = ViewPlan(coverage=Coverage.CENTRE)
    return decode_image(data, plan=plan, preprocessing=preprocessing, limits=Limits()).pixels[0]


def uploads(labels: Path, *, n: int, seed: int, side: int) -> Iterator[bytes]:
    """``n`` pictures of the label file, drawn at random, as JPEGs."""
    with labels.open(newline="", encoding="utf-8") as rows:
        files = [row["file"] for row in csv.DictReader(rows)]
    for name in random.Random(seed).sample(files, min(n, len(files))):
        with Image.open(labels.parent / name) as image:
            rgba = image.convert("RGBA")
        flat = Image.new("RGBA", rgba.size, "white")
        flat.alpha_composite(rgba)
        factor = ENLARGED * side / min(rgba.size)
        size = (round(rgba.width * factor), round(rgba.height * factor))
        out = io.BytesIO()
        flat.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(
            out, "JPEG", quality=QUALITY
        )
        yield out.getvalue()


def verdicts(policy: Policy, embeddings: Embeddings) -> list[Verdict]:
    """What the policy says of each picture, one view each."""
    view = (View(kind=ViewKind.STILL, box=(0, 0, 1, 1)),)
    found = []
    for row in embeddings:
        scored = score_image(
            policy=policy, categories=policy.subset(()), embeddings=row[np.newaxis], views=view
        )
        judged = decide(
            policy=policy, scores=scored.scores, scores_valid=scored.valid, coverage=1.0
        )
        found.append(judged.verdict)
    return found


def prompt_vectors(policy: Policy) -> Embeddings:
    groups = [policy.neutral]
    for category in policy.categories:
        groups += [category.prompts, category.counter_prompts]
    return np.concatenate([group.vectors for group in groups if len(group.texts)])


def compare(
    name: str, policy: Policy, reference: Embeddings, found: Embeddings, aim: float | None
) -> dict[str, Any]:
    """One row of the report."""
    before, after = verdicts(policy, reference), verdicts(policy, found)
    flipped = sum(a is not b for a, b in zip(before, after, strict=True))
    missed = sum(
        a is not Verdict.ALLOW and b is Verdict.ALLOW for a, b in zip(before, after, strict=True)
    )
    change = (found.astype(np.float64) - reference) @ prompt_vectors(policy).T.astype(np.float64)
    moved = np.abs(policy.logit_scale * change)
    return {
        "what": name,
        "pictures": len(reference),
        "flagged by the reference": sum(v is not Verdict.ALLOW for v in before),
        "flipped": flipped,
        "flipped, share": flipped / len(reference),
        "of these to ALLOW": missed,
        "aim": aim,
        "|Δ(λ·c)| median": float(np.median(moved)),
        "|Δ(λ·c)| p99": float(np.percentile(moved, 99)),
    }


def embed_all(
    encoders: Sequence[OnnxImageEncoder], pictures: Iterator[bytes], preprocessing: Preprocessing
) -> dict[tuple[int, str], Embeddings]:
    """Embeddings by (number of the encoder, transform), all of the same pictures."""
    transforms: dict[str, Transform] = {"plain": plain, "scaled": scaled}
    found: dict[tuple[int, str], list[Embeddings]] = {}
    while batch := [data for data, _ in zip(pictures, range(ROWS), strict=False)]:
        for name, transform in transforms.items():
            pixels = np.stack([transform(data, preprocessing) for data in batch])
            for number, encoder in enumerate(encoders):
                found.setdefault((number, name), []).append(encoder.run(pixels))
    return {key: np.concatenate(parts) for key, parts in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path, default=DEMO_BUNDLE)
    parser.add_argument("--policy", type=Path, default=DEMO_POLICIES / "demo.policy.npz")
    parser.add_argument("--candidate", type=Path, action="append", default=[])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    policy = compiled.read(args.policy).policy
    bundles = [load_bundle(path) for path in (args.model, *args.candidate)]
    encoders = [OnnxImageEncoder(bundle=bundle, options=RuntimeOptions()) for bundle in bundles]
    preprocessing = bundles[0].manifest.preprocessing
    pictures = uploads(args.labels, n=args.n, seed=args.seed, side=preprocessing.size)
    found = embed_all(encoders, pictures, preprocessing)
    reference = found[0, "plain"]
    rows = [
        compare("scaled decoding", policy, reference, found[0, "scaled"], AIMS["scaled"]),
        *(
            compare(
                f"{bundle.manifest.precision.value}, {transform} decoding",
                policy,
                reference,
                found[number, transform],
                AIMS.get(bundle.manifest.precision.value) if transform == "plain" else None,
            )
            for number, bundle in enumerate(bundles[1:], start=1)
            for transform in ("plain", "scaled")
        ),
    ]
    for row in rows:
        aim = f"; aim ≤ {row['aim']:.2%}" if row["aim"] else ""
        print(
            f"{row['what']}: {row['flipped']} of {row['pictures']} verdicts flipped "
            f"({row['flipped, share']:.2%}{aim}), {row['of these to ALLOW']} to ALLOW; "
            f"|Δ(λ·c)| median {row['|Δ(λ·c)| median']:.4f}, p99 {row['|Δ(λ·c)| p99']:.4f}"
        )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
