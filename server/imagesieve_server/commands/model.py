"""`imagesieve-server model …`: export, inspect and verify bundles; the demo model and its scenes.

Knows arguments and tables; refuses to know how a bundle is made. Exit codes: 0 done, 1 a check of
`verify` failed. Named failures are raised; the `imagesieve-server` command prints them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesieve_server.commands import finetune
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.manifest import Manifest, Precision, Storage
from imagesieve_server.encoders.onnx import DEFAULT_BUCKETS
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions
from imagesieve_server.offline.demo_model import labelled_scenes, train
from imagesieve_server.offline.export.export_model import (
    UNKNOWN_LICENCE,
    ExportRequest,
    export_bundle,
)
from imagesieve_server.offline.export.load import RANDOM, ModelSource
from imagesieve_server.offline.export.measure import Plan
from imagesieve_server.offline.export.verify import Outcome, verify_bundle

if TYPE_CHECKING:
    # argparse keeps its own class private.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: Subparsers) -> None:
    """Add `model` and its commands; each sets ``run``, a function from arguments to exit code."""
    model = subparsers.add_parser("model", help="export, inspect and verify model bundles")
    commands = model.add_subparsers(dest="model_command", required=True, metavar="COMMAND")
    _add_export(commands)
    _add_inspect(commands)
    _add_verify(commands)
    finetune.add_parser(commands)
    demo = commands.add_parser("train-demo", help="train the demo model from emoji pictures")
    train.add_arguments(demo)
    demo.set_defaults(run=train.run)
    scenes = commands.add_parser(
        "demo-scenes", help="compose labelled pictures that the demo model can be measured on"
    )
    labelled_scenes.add_arguments(scenes)
    scenes.set_defaults(run=labelled_scenes.run)


def _add_export(commands: Subparsers) -> None:
    export = commands.add_parser(
        "export",
        help="export an open_clip model to a bundle (needs the extra 'export')",
        description="Export an open_clip model to a bundle that the server can serve.",
    )
    add = export.add_argument
    add("--arch", required=True, help="open_clip's name, or a folder with open_clip_config.json")
    add(
        "--pretrained",
        default=RANDOM,
        metavar="TAG|PATH|none",
        help="published tag, checkpoint (.pt, .safetensors), open_clip folder, or 'none' for "
        "seeded random weights (default: %(default)s)",
    )
    add("--seed", type=int, default=0, help="of random weights (default: %(default)s)")
    add("--precision", type=Precision, choices=list(Precision), default=Precision.FP32)
    add(
        "--storage",
        type=Storage,
        choices=list(Storage),
        default=Storage.FP32,
        help="how weights lie in the files; fp16 halves them (default: %(default)s)",
    )
    add("--out", type=Path, required=True, help="the bundle's folder; must not exist")
    add("--name", default="", help="shown to people (default: architecture and weights)")
    add(
        "--tokenizer", type=Path, metavar="FOLDER", help="tokenizer files, where not with the model"
    )
    add("--calibration", type=Path, metavar="FOLDER", help="pictures that fix the int8 ranges")
    add("--reduce-range", action="store_true", help="7-bit int8, for x86 without VNNI")
    add("--resize-mode", choices=["shortest", "squash", "longest"], help="override the model's")
    add("--licence", default=UNKNOWN_LICENCE, help="of the weights (default: %(default)s)")
    add("--attribution", action="append", default=[], help="may be given several times")
    add("--threads", type=int, default=0, help="for the measurements; 0 is every core")
    export.set_defaults(run=_export)


def _add_inspect(commands: Subparsers) -> None:
    inspect = commands.add_parser("inspect", help="show what a bundle says about itself")
    inspect.add_argument("bundle", type=Path)
    inspect.set_defaults(run=_inspect)


def _add_verify(commands: Subparsers) -> None:
    verify = commands.add_parser(
        "verify", help="check hashes, operators, canary and batch invariance on this machine"
    )
    verify.add_argument("bundle", type=Path)
    verify.add_argument("--provider", type=Provider, choices=list(Provider), default=Provider.AUTO)
    verify.add_argument("--threads", type=int, default=0, help="0 is every core")
    verify.add_argument(
        "--buckets",
        type=_bucket_list,
        default=DEFAULT_BUCKETS,
        metavar="N,N,…",
        help="batch sizes to try (default: %(default)s)",
    )
    verify.set_defaults(run=_verify)


def _bucket_list(text: str) -> tuple[int, ...]:
    buckets = tuple(int(part) for part in text.split(","))
    if min(buckets) < 1:
        raise argparse.ArgumentTypeError("buckets are positive")
    return buckets


def _export(args: argparse.Namespace) -> int:
    overrides = {"resize_mode": args.resize_mode} if args.resize_mode else {}
    request = ExportRequest(
        source=ModelSource(
            architecture=args.arch,
            pretrained=args.pretrained,
            seed=args.seed,
            preprocessing=overrides,
        ),
        out=args.out,
        precision=args.precision,
        storage=args.storage,
        name=args.name,
        tokenizer=args.tokenizer,
        calibration=args.calibration,
        reduce_range=args.reduce_range,
        licence=args.licence,
        attribution=tuple(args.attribution),
        plan=Plan(buckets=DEFAULT_BUCKETS, threads=args.threads),
    )
    bundle = export_bundle(request, progress=lambda step: print(f"{step} …", file=sys.stderr))
    _print_table(_facts(bundle.manifest, bundle.fingerprint))
    return 0


def _inspect(args: argparse.Namespace) -> int:
    bundle = load_bundle(args.bundle)
    _print_table(_facts(bundle.manifest, bundle.fingerprint))
    return 0


def _verify(args: argparse.Namespace) -> int:
    options = RuntimeOptions(provider=args.provider, threads=args.threads)
    passed = True
    for check in verify_bundle(args.bundle, options=options, buckets=args.buckets):
        _print_table([(check.name, f"{check.outcome.value:<8}", check.detail)])
        passed = passed and check.outcome is not Outcome.FAILED
    return 0 if passed else 1


def _facts(manifest: Manifest, fingerprint: str) -> Iterable[Sequence[Any]]:
    view, text = manifest.preprocessing, manifest.text
    yield "name", manifest.name
    yield "fingerprint", fingerprint
    yield "architecture", manifest.architecture
    yield "weights", f"{manifest.pretrained.source}: {manifest.pretrained.name}"
    yield "embedding size", manifest.embedding_size
    yield "picture", f"{view.size} px, {view.resize}, {view.interpolation}"
    yield "text", f"{text.tokenizer}, {text.cleaning}, {text.context_length} tokens"
    yield "logits", f"{manifest.logit_scale:.4g} · cosine + {manifest.logit_bias:.4g}"
    yield "activation", manifest.activation
    yield "precision", f"{manifest.precision}, stored as {manifest.storage}"
    yield "opset", manifest.opset
    yield "operators", ", ".join(f"{n} {op}" for op, n in manifest.operators.items() if n)
    if manifest.calibration_set:
        yield "calibrated on", manifest.calibration_set
    if manifest.parity:
        yield from _parity_facts(manifest)
    if manifest.invariance:
        yield "batch size moves a logit by", f"{manifest.invariance.delta_logit_across_buckets:.2g}"
    yield "licence", manifest.licence
    for line in manifest.attribution:
        yield "attribution", line
    for name, entry in manifest.files.items():
        yield "file", f"{name}, {entry.bytes / 1e6:.1f} MB, sha256 {entry.sha256[:12]}…"


def _parity_facts(manifest: Manifest) -> Iterable[Sequence[str]]:
    parity = manifest.parity
    assert parity is not None
    yield "parity measured on", f"{parity.pictures} photographs, {parity.prompts} prompts"
    yield (
        f"logit difference, λ = {parity.logit_scale:g}",
        f"median {parity.delta_logit_median:.2g}, p99 {parity.delta_logit_p99:.2g}",
    )
    yield "error ÷ distance of pictures", f"{parity.relative_error:.2g}"
    yield "cosine", f"median {parity.cosine_median:.6f}, least {parity.cosine_min:.6f}"


def _print_table(rows: Iterable[Sequence[Any]]) -> None:
    for first, *rest in rows:
        print(f"{first:<32}" + "  ".join(str(value) for value in rest))
