"""``imagesieve-server calibrate``: thresholds for a stated goal, and probabilities, from labels."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagesieve_server.commands.evaluate import check_folder
from imagesieve_server.commands.labelled_pictures import add_picture_arguments, load_pictures
from imagesieve_server.commands.progress import Progress
from imagesieve_server.core.errors import ConfigError
from imagesieve_server.core.policy import Category, Mode, Policy
from imagesieve_server.core.views import ViewPlan
from imagesieve_server.encoders.bundle import Bundle, load_bundle
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.offline.calibration import as_html, choosing, policy_file, summary
from imagesieve_server.offline.calibration.outcome import Budget, Outcome
from imagesieve_server.offline.calibration.promise import Aim, Goal
from imagesieve_server.offline.calibration.sample import chosen_categories, sample_of
from imagesieve_server.offline.compile_policy import compile_in_memory
from imagesieve_server.offline.labelled.labelled_set import LabelledSet

_SHOWN = 10  # pictures that could not be looked at, by name


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "calibrate",
        help="choose thresholds for a goal, and calibrate probabilities, from labelled pictures",
        description="Chooses each category's review_at so that the goal holds on fresh pictures "
        "with the confidence asked for, measures it on held-out folds, and fits the mapping from "
        "log-odds to probabilities. Shows what it would change in the policy; --write changes it. "
        "Needs the extra [evaluate].",
    )
    add = parser.add_argument
    add("--policy", type=Path, required=True, metavar="FILE", help="the policy's YAML")
    add_picture_arguments(parser)
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument(
        "--max-fpr", type=_rate, metavar="A", help="flag at most this share of harmless pictures"
    )
    goal.add_argument(
        "--min-recall", type=_rate, metavar="R", help="flag at least this share of each category"
    )
    goal.add_argument(
        "--max-review-per-day", type=_above_0, metavar="N", help="flag at most N pictures a day"
    )
    add("--uploads-per-day", type=_above_0, metavar="M", help="of this many uploads")
    add("--categories", type=_names, default=(), metavar="A,B", help="only these (default: all; "
        "for --max-review-per-day all that act)")  # fmt: skip
    add("--confidence", type=_confidence, default=0.95, metavar="C", help="default: 0.95")
    add("--folds", type=_folds, default=5, metavar="K", help="default: 5")
    add("--seed", type=int, default=1, metavar="S", help="of the folds (default: 1)")
    add("--group", default="", metavar="COLUMN", help="label column of what belongs together, "
        "such as near-duplicates; a group stays in one fold and counts once")  # fmt: skip
    add("--per-view-kind", action="store_true", help="with --max-fpr: own thresholds for tiles "
        "and for later frames, so that the goal holds for animations by themselves")  # fmt: skip
    add("--write", action="store_true", help="change the policy's YAML")
    add("--json", type=Path, metavar="FILE", help="also write every figure as JSON")
    add("--html", type=Path, metavar="FILE", help="also write a page with reliability diagrams")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    goal = _goal(args)
    check_folder("--json", args.json)
    check_folder("--html", args.html)
    text = policy_file.read(args.policy)
    bundle = load_bundle(args.model)
    encode = OnnxTextEncoder(bundle=bundle).encode
    compiled = compile_in_memory(source_path=args.policy, bundle=bundle, encode_texts=encode)
    policy = compiled.policy
    categories = chosen_categories(policy, args.categories)
    if isinstance(goal, Budget) and not args.categories:
        categories = tuple(c for c in categories if c.mode is Mode.ENFORCE)
    outcome = _outcome(args, goal, policy, bundle, categories)
    print("\n".join(summary.lines(outcome)))
    if args.json:
        _save(args.json, json.dumps(summary.as_json(outcome), indent=1) + "\n")
    new = policy_file.changed(text, outcome, args.policy, bundle.fingerprint, policy)
    diff = "".join(_diff(text, new, str(args.policy)))
    if args.html:
        model = f"{bundle.manifest.name} {bundle.fingerprint[:12]}"
        _save(args.html, as_html.report(outcome, policy=policy.name, model=model, diff=diff))
    print(f"\n{diff}", end="")
    _change(args, new, changes=bool(diff))
    return 0


def _outcome(
    args: argparse.Namespace,
    goal: Aim | Budget,
    policy: Policy,
    bundle: Bundle,
    categories: Sequence[Category],
) -> Outcome:
    progress = Progress(sys.stderr, what="pictures")
    labelled = load_pictures(
        args,
        bundle=bundle,
        plan=ViewPlan(coverage=policy.coverage, max_views=policy.max_views),
        categories=[category.id for category in policy.categories],
        progress=progress,
    )
    progress.end()
    _tell(labelled)
    sample = sample_of(policy, labelled, group=args.group, folds=args.folds, seed=args.seed)
    if isinstance(goal, Budget):
        return choosing.choose_for_budget(sample, categories, goal)
    return choosing.choose_for_aim(sample, categories, goal, per_view_kind=args.per_view_kind)


def _goal(args: argparse.Namespace) -> Aim | Budget:
    """Raises ConfigError where options do not go together."""
    if args.per_view_kind and args.max_fpr is None:
        raise ConfigError("--per-view-kind goes with --max-fpr only")
    if (args.max_review_per_day is None) != (args.uploads_per_day is None):
        raise ConfigError("--max-review-per-day and --uploads-per-day go together")
    if args.max_review_per_day is not None:
        if args.max_review_per_day >= args.uploads_per_day:
            raise ConfigError("--max-review-per-day must be below --uploads-per-day")
        return Budget(
            reviews_per_day=args.max_review_per_day,
            uploads_per_day=args.uploads_per_day,
            confidence=args.confidence,
        )
    if args.max_fpr is not None:
        return Aim(goal=Goal.MAX_FPR, rate=args.max_fpr, confidence=args.confidence)
    return Aim(goal=Goal.MIN_RECALL, rate=args.min_recall, confidence=args.confidence)


def _change(args: argparse.Namespace, new: str, *, changes: bool) -> None:
    """With --write, change the policy; say what was done."""
    name = str(args.policy)
    if not changes:
        print(f"{name}: nothing to change")
    elif args.write:
        policy_file.write(args.policy, new)
        print(f"{name}: written; now run: imagesieve-server policy compile {name} --model "
              f"{args.model}")  # fmt: skip
    else:
        print(f"{name}: not changed (--write changes it)")


def _diff(old: str, new: str, name: str) -> list[str]:
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), name, f"{name} (new)", n=1
    )
    return [
        line if line.endswith("\n") else f"{line}\n\\ No newline at the end\n" for line in lines
    ]


def _save(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def _tell(labelled: LabelledSet) -> None:
    for note in labelled.notes:
        print(f"note: {note}")
    for left_out in labelled.left_out[:_SHOWN]:
        print(f"left out: {left_out.file!r} ({left_out.reason})")
    if len(labelled.left_out) > _SHOWN:
        print(f"left out: {len(labelled.left_out) - _SHOWN} more")


def _rate(text: str) -> float:
    return _between(text, 0.0, 1.0)


def _confidence(text: str) -> float:
    return _between(text, 0.5, 1.0)


def _between(text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number between {low:g} and {high:g}; 1 % is written 0.01"
        ) from None
    if not low < value < high:
        raise argparse.ArgumentTypeError(f"must lie between {low:g} and {high:g}")
    return value


def _above_0(text: str) -> float:
    value = float(text)
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def _folds(text: str) -> int:
    value = int(text)
    if not 2 <= value <= 100:
        raise argparse.ArgumentTypeError("must be 2 to 100")
    return value


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
