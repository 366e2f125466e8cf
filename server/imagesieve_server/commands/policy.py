"""``imagesieve-server policy``: check a policy, compile it for a model, show what was compiled,
explain a verdict, compare two policies."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagesieve_server.commands import (
    policy_diff,
    policy_explain,
    policy_probe,
    policy_starters,
)
from imagesieve_server.core.calibration import Calibration, Platt
from imagesieve_server.core.policy import AuditRates, Category, Mode, Policy, Threshold
from imagesieve_server.demo_data import DEMO_BUNDLE
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.offline.compile_policy import compile_policy, read_source
from imagesieve_server.policy_files import compiled
from imagesieve_server.policy_files.source import CategorySource


def add_parser(subparsers: Any) -> None:
    policy = subparsers.add_parser("policy", help="check, compile, show and explain policies")
    commands = policy.add_subparsers(title="commands", metavar="COMMAND", required=True)

    check = commands.add_parser("check", help="read a policy's YAML and report the first mistake")
    check.add_argument("source", type=Path, help="the policy's YAML")
    check.set_defaults(run=_check)

    make = commands.add_parser(
        "compile",
        help="turn a policy's YAML into the artefact that servers load",
        description="Prompts whose vectors the file at --out already holds are not encoded "
        "again, so an edit of thresholds alone takes a moment. The file is replaced atomically: "
        "a running server picks it up.",
    )
    make.add_argument("source", type=Path, help="the policy's YAML")
    make.add_argument(
        "--model", type=Path, default=DEMO_BUNDLE, metavar="DIR", help="bundle (default: demo)"
    )
    make.add_argument(
        "--out", type=Path, metavar="FILE", help="default: the source's name with .policy.npz"
    )
    make.set_defaults(run=_compile)

    show = commands.add_parser("show", help="show a compiled artefact")
    show.add_argument("artefact", type=Path, help="a .policy.npz file")
    show.add_argument("--source", action="store_true", help="print the YAML it was made of")
    show.set_defaults(run=_show)

    policy_explain.add_parser(commands)
    policy_probe.add_parser(commands)
    policy_starters.add_parser(commands)
    policy_diff.add_parser(commands)


def _check(args: argparse.Namespace) -> int:
    source = read_source(args.source)
    for warning in source.warnings:
        print(f"warning: {warning}")
    if source.audit:
        print("note: audit samples need server.secret_file, the same on all servers and starts")
    _say_if_nothing_acts(source.categories)
    print(
        f"{args.source}: policy {source.name!r}, {len(source.categories)} categories, "
        f"{len(source.prompt_texts())} prompts, no mistakes found"
    )
    return 0


def _compile(args: argparse.Namespace) -> int:
    out = args.out or args.source.with_name(args.source.stem + compiled.SUFFIX)
    bundle = load_bundle(args.model)
    encoder = OnnxTextEncoder(bundle=bundle)
    result = compile_policy(
        source_path=args.source, bundle=bundle, encode_texts=encoder.encode, out=out
    )
    for warning in result.warnings:
        print(f"warning: {warning}")
    _say_if_nothing_acts(result.policy.categories)
    print(
        f"{out}: policy {result.policy.name!r} version {result.policy.version[:12]} for model "
        f"{bundle.manifest.name} {bundle.fingerprint[:12]}; "
        f"{result.encoded} prompts encoded, {result.reused} reused"
    )
    return 0


def _say_if_nothing_acts(categories: Sequence[Category | CategorySource]) -> None:
    if all(category.mode is Mode.OBSERVE for category in categories):
        print(
            "note: every category is in mode observe: scored and counted, and nothing is flagged "
            "for its content"
        )


def _show(args: argparse.Namespace) -> int:
    artefact = compiled.read(args.artefact)
    policy = artefact.policy
    if args.source:
        print(policy.source, end="")
        return 0
    print(f"policy   {policy.name}\nversion  {policy.version}\nmodel    {policy.model_fingerprint}")
    print(
        f"coverage {policy.coverage}, undecodable: {policy.on_undecodable}, "
        f"partial: {policy.on_partial_coverage}, unavailable: {policy.on_unavailable}"
    )
    print(f"audit    {_audit(policy.audit)}")
    for line in _rows(policy):
        print(line)
    for warning in artefact.warnings:
        print(f"warning: {warning}")
    return 0


def _audit(rates: AuditRates | None) -> str:
    if rates is None:
        return "off"
    near = [
        f"{band.rate:g} within {band.within:g} log-odds below a threshold, " for band in rates.near
    ]
    return f"{''.join(near)}{rates.rate:g} of {'other' if near else 'all'} allowed pictures"


def _rows(policy: Policy) -> list[str]:
    columns = ("category", "severity", "mode", "method", "review at", "block at")
    rows = [(*columns, "probability", "prompts")]
    for c in policy.categories:
        rows.append(
            (
                c.id,
                str(c.severity),
                c.mode.value,
                c.method.value,
                _limit(c.thresholds.review_at),
                _limit(c.thresholds.block_at),
                _mapping(c.calibration),
                f"{len(c.prompts)} + {len(c.counter_prompts)} counter",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _mapping(calibration: Calibration | None) -> str:
    if calibration is None:
        return "-"
    if isinstance(calibration, Platt):
        return f"platt {calibration.slope:g}, {calibration.intercept:+g}"
    return f"isotonic, {len(calibration.log_odds)} knots"


def _limit(threshold: Threshold | None) -> str:
    if threshold is None:
        return "-"
    return f"{threshold.value:g}" + (" logit" if threshold.scale == "logit" else "")
