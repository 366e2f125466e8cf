"""``imagesieve-server policy probe``: learn a head for one category from labelled pictures."""

from __future__ import annotations

import argparse
import difflib
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imagesieve_server.commands.labelled_pictures import add_picture_arguments, load_pictures
from imagesieve_server.commands.progress import Progress
from imagesieve_server.core.errors import PolicyError
from imagesieve_server.core.policy import Scale, Threshold
from imagesieve_server.core.views import ViewPlan
from imagesieve_server.encoders.bundle import Bundle, load_bundle
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.extras import need
from imagesieve_server.offline.calibration import policy_file
from imagesieve_server.offline.labelled.labelled_set import LabelledSet
from imagesieve_server.offline.measures.figures import Figure
from imagesieve_server.offline.probes.edit_policy import with_probe
from imagesieve_server.offline.probes.examples import examples_of
from imagesieve_server.offline.probes.learn import Learned, learn_probe
from imagesieve_server.offline.probes.zero_shot import prompt_log_odds
from imagesieve_server.policy_files.probe_file import write_probe
from imagesieve_server.policy_files.source import CategorySource, PolicySource, parse_policy

_TITLES = {
    "auc": "AUC",
    "average_precision": "average precision",
    "recall_at_fpr_01": "recall at 1 % false alarms",
}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "probe",
        help="learn a linear head for one category from labelled pictures (extra 'evaluate')",
        description="Fits a logistic regression on the model's embeddings, measures it on "
        "held-out folds beside the category's prompts, and writes it as a file that "
        "`method: probe` takes.",
    )
    add = parser.add_argument
    add("--policy", type=Path, required=True, metavar="FILE", help="the policy's YAML")
    add("--category", required=True, metavar="ID", help="of that policy")
    add_picture_arguments(parser)
    add(
        "--out", type=Path, metavar="FILE",
        help="the probe (default: ID.probe.json beside the policy)",
    )  # fmt: skip
    add(
        "--group", default="", metavar="COLUMN",
        help="label column of what belongs together, such as near-duplicates: a group stays in "
        "one fold and counts once",
    )  # fmt: skip
    add("--folds", type=_folds, default=5, metavar="K", help="default: 5")
    add("--seed", type=int, default=1, metavar="S", help="of the folds (default: 1)")
    add("--write", action="store_true", help="put the probe into the policy's YAML")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    text = policy_file.read(args.policy)
    source = parse_policy(text, file=str(args.policy))
    category = _category(source, args)
    out = args.out or args.policy.with_name(f"{args.category}.probe.json")
    bundle = load_bundle(args.model)
    need("sklearn.linear_model")  # said before any picture is looked at, as is the next

    def edited(review_at: Threshold) -> str:
        name = _relative(out, args.policy.parent)
        where = {"category": category.id, "probe": name, "file": str(args.policy)}
        return with_probe(text, review_at=review_at, **where)

    if args.write:
        edited(Threshold(value=0.0, scale=Scale.LOGIT))
    learned = _learned(args, source, category, bundle, Progress(sys.stderr, what="pictures"))
    for line in _lines(learned, category):
        print(line)
    facts = _facts(args, source, bundle)
    write_probe(out, learned.file(model_fingerprint=bundle.fingerprint, facts=facts))
    print(f"{out}: written")
    if args.write:
        _change(args, text, edited(learned.review_at))
    else:
        print(f"{args.policy}: not changed (--write puts the probe in)")
    return 0


def _learned(
    args: argparse.Namespace,
    source: PolicySource,
    category: CategorySource,
    bundle: Bundle,
    progress: Progress,
) -> Learned:
    try:
        labelled = load_pictures(
            args,
            bundle=bundle,
            plan=ViewPlan(coverage=source.coverage, max_views=source.max_views),
            categories=[one.id for one in source.categories],
            progress=progress,
        )
        chosen = examples_of(labelled, category.id, group=args.group)
        prompts = prompt_log_odds(
            source,
            category,
            chosen.examples.bags,
            bundle=bundle,
            encode_texts=OnnxTextEncoder(bundle=bundle).encode,
        )
        learned = learn_probe(
            chosen, category, prompts, folds=args.folds, seed=args.seed, say=progress.say
        )
    finally:
        progress.end()
    _tell(labelled)
    return learned


def _category(source: PolicySource, args: argparse.Namespace) -> CategorySource:
    found = next((one for one in source.categories if one.id == args.category), None)
    if found is None:
        known = ", ".join(one.id for one in source.categories)
        raise PolicyError(
            f"has no category {args.category!r}; it has {known}", file=str(args.policy)
        )
    return found


def _facts(args: argparse.Namespace, source: PolicySource, bundle: Bundle) -> Mapping[str, Any]:
    """What the probe was learned from."""
    return {
        "policy": source.name,
        "category": args.category,
        "model": bundle.manifest.name,
        "coverage": source.coverage.value,
        "max_views": source.max_views,
        "labels_sha256": hashlib.sha256(args.labels.read_bytes()).hexdigest(),
    }


def _relative(out: Path, folder: Path) -> str:
    """The probe as the policy names it."""
    return Path(os.path.relpath(out.resolve(), folder.resolve())).as_posix()


def _lines(learned: Learned, category: CategorySource) -> Iterator[str]:
    for warning in learned.warnings:
        yield f"warning: {warning}"
    yield (
        f"{category.id}: {learned.positives} pictures show it, {learned.negatives} do not, of "
        f"{learned.unsaid} nobody said"
    )
    yield from _table(learned)
    yield _advice(learned)
    yield (
        f"at log-odds {learned.review_at.value:g} it flags {learned.recall:.0%} of its pictures "
        f"and {learned.false_alarms:.2%} of the others"
    )


def _table(learned: Learned) -> Iterator[str]:
    gain, prompts = learned.gain, learned.prompts
    heads = ("on held-out folds", "probe", *(("its prompts", "gain") if gain else ()))
    yield "  " + "".join(f"{head:<28}" for head in heads).rstrip()
    for key, title in _TITLES.items():
        cells = [title, _text(learned.probe[key])]
        if prompts is not None and gain is not None:
            cells += [_text(prompts[key]), _text(gain[key], sign="+")]
        yield "  " + "".join(f"{cell:<28}" for cell in cells).rstrip()


def _text(figure: Figure, sign: str = "") -> str:
    return f"{figure.value:{sign}.3f} ({figure.low:{sign}.3f} to {figure.high:{sign}.3f})"


def _advice(learned: Learned) -> str:
    if learned.gain is None:
        return "the category has no prompts to compare with"
    gain = learned.gain["average_precision"]
    if gain.low > 0.0:
        return "the probe is better than the prompts beyond chance"
    if gain.high < 0.0:
        return "the prompts are better than the probe beyond chance: keep them"
    return "these pictures do not show which is better: keep the prompts, or label more"


def _change(args: argparse.Namespace, old: str, new: str) -> None:
    name = str(args.policy)
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), name, f"{name} (new)", n=1
    )
    print("".join(lines), end="")
    policy_file.write(args.policy, new)
    print(f"{name}: written; choose its thresholds (imagesieve-server calibrate), then compile it")


def _tell(labelled: LabelledSet) -> None:
    for note in labelled.notes:
        print(f"note: {note}")
    for left_out in labelled.left_out:
        print(f"left out: {left_out.file} ({left_out.reason})")


def _folds(text: str) -> int:
    value = int(text)
    if not 2 <= value <= 20:
        raise argparse.ArgumentTypeError("must be 2 to 20")
    return value
