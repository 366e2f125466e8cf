"""Verdicts that change where decoding is scaled or the encoder is not fp32, at the policy's own
thresholds, and how far λ·c moved.

    python tests/benchmarks/flips.py --labels scenes/fresh/labels.csv [--n 10000] [--seed 1]
        [--candidate BUNDLE ...] [--model BUNDLE --policy FILE.policy.npz] [--json FILE]

The reference is the fp32 bundle behind the plain transform: every pixel decoded, resized, cropped.
Against it: the same bundle behind our decoder, then each candidate (another precision of the same
model) behind the plain transform, then each behind our decoder. How the pictures of the label file
become uploads: ``scene_uploads``. As a control, the fp32 bundle sees the plain transform's values
one level up, down or as they are, at random: what flips there is near a threshold for any encoder
and any decoder but the reference itself. Ends with 1 where an aim is missed.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from scene_uploads import Upload, uploads

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

ROWS = 64  # pictures in memory at once
AIMS = {"scaled": 0.001, "fp16": 0.0005, "int8": 0.003}  # flipped ÷ pictures
Transform = Callable[[bytes, Preprocessing], Pixels]
Found = Mapping[tuple[int, str], Embeddings]
"""Embeddings by number of the encoder and transform."""


def plain(data: bytes, preprocessing: Preprocessing) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return bundle_view(image.convert("RGB"), preprocessing, resample=by_pillow)


def scaled(data: bytes, preprocessing: Preprocessing) -> Pixels:
    plan = ViewPlan(coverage=Coverage.CENTRE)
    return decode_image(data, plan=plan, preprocessing=preprocessing, limits=Limits()).pixels[0]


def jittered(pixels: Pixels, *, number: int) -> Pixels:
    """Every value one level of 255 up or down or the same; seeded by the batch's ``number``."""
    steps = np.random.default_rng(number).integers(-1, 2, pixels.shape, dtype=np.int16)
    return np.clip(pixels + steps, 0, 255).astype(np.uint8)


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
    name: str,
    policy: Policy,
    reference: Embeddings,
    found: Embeddings,
    sent: Sequence[Upload],
    aim: float | None,
) -> dict[str, Any]:
    """One row of the report."""
    before, after = verdicts(policy, reference), verdicts(policy, found)
    flipped = [number for number in range(len(sent)) if before[number] is not after[number]]
    change = (found.astype(np.float64) - reference) @ prompt_vectors(policy).T.astype(np.float64)
    moved = np.abs(policy.logit_scale * change)
    return {
        "what": name,
        "pictures": len(sent),
        "flagged by the reference": sum(v is not Verdict.ALLOW for v in before),
        "flipped": len(flipped),
        "flipped, share": len(flipped) / len(sent),
        "of these to ALLOW": sum(after[number] is Verdict.ALLOW for number in flipped),
        "flipped by short side ÷ the model's": _counted(sent[n].enlarged for n in flipped),
        "flipped by quality": _counted(sent[n].quality for n in flipped),
        "aim": aim,
        "|Δ(λ·c)| median": float(np.median(moved)),
        "|Δ(λ·c)| p99": float(np.percentile(moved, 99)),
        "|Δ(λ·c)| greatest": float(moved.max()),
    }


def _counted(values: Iterable[int]) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(values).items())}


def embed_all(
    encoders: Sequence[OnnxImageEncoder], pictures: Iterator[Upload], preprocessing: Preprocessing
) -> tuple[list[Upload], dict[tuple[int, str], Embeddings]]:
    """What was sent, without its bytes, and embeddings by (number of the encoder, transform)."""
    transforms: dict[str, Transform] = {"plain": plain, "scaled": scaled}
    found: dict[tuple[int, str], list[Embeddings]] = {}
    sent: list[Upload] = []
    while batch := list(islice(pictures, ROWS)):
        sent += [replace(upload, data=b"") for upload in batch]
        seen = {
            name: np.stack([transform(upload.data, preprocessing) for upload in batch])
            for name, transform in transforms.items()
        }
        for (name, pixels), (number, encoder) in product(seen.items(), enumerate(encoders)):
            found.setdefault((number, name), []).append(encoder.run(pixels))
        control = encoders[0].run(jittered(seen["plain"], number=len(sent)))
        found.setdefault((0, "jittered"), []).append(control)
        print(f"{len(sent)} pictures", file=sys.stderr, flush=True)
    return sent, {key: np.concatenate(parts) for key, parts in found.items()}


def rows_of(
    policy: Policy, precisions: Sequence[str], sent: Sequence[Upload], found: Found
) -> Iterator[dict[str, Any]]:
    """The control, scaled decoding, then each candidate behind either transform."""
    reference = found[0, "plain"]
    name = "control: fp32, values jittered by one level"
    yield compare(name, policy, reference, found[0, "jittered"], sent, None)
    for number, precision in enumerate(precisions):
        if number:
            aim = AIMS.get(precision)
            name = f"{precision}, every pixel decoded"
            yield compare(name, policy, reference, found[number, "plain"], sent, aim)
        name = f"{precision}, scaled decoding"
        aim = None if number else AIMS["scaled"]
        yield compare(name, policy, reference, found[number, "scaled"], sent, aim)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--n", type=int, default=10_000)
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
    sent, found = embed_all(encoders, pictures, preprocessing)
    precisions = [bundle.manifest.precision.value for bundle in bundles]
    rows = list(rows_of(policy, precisions, sent, found))
    for row in rows:
        print(_line(row))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    missed = [row for row in rows if row["aim"] is not None and row["flipped, share"] > row["aim"]]
    return 1 if missed else 0


def _line(row: dict[str, Any]) -> str:
    aim = f"; aim ≤ {row['aim']:.2%}" if row["aim"] else ""
    return (
        f"{row['what']}: {row['flipped']} of {row['pictures']} verdicts flipped "
        f"({row['flipped, share']:.2%}{aim}), {row['of these to ALLOW']} to ALLOW; |Δ(λ·c)| median "
        f"{row['|Δ(λ·c)| median']:.4f}, p99 {row['|Δ(λ·c)| p99']:.4f}, "
        f"greatest {row['|Δ(λ·c)| greatest']:.4f}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
