"""``imagesieve-server evaluate``: measure a policy on labelled pictures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from imagesieve_server.commands import diagnosing, evaluate_decisions
from imagesieve_server.commands.labelled_pictures import add_picture_arguments, load_pictures
from imagesieve_server.commands.progress import Progress
from imagesieve_server.core.errors import ConfigError
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.views import Coverage, ViewPlan
from imagesieve_server.demo_data import DEMO_POLICY
from imagesieve_server.encoders.bundle import Bundle, load_bundle
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.offline.evaluation import as_html, as_json, wording
from imagesieve_server.offline.evaluation.evaluate import compare_choices, evaluate
from imagesieve_server.offline.evaluation.results import Comparison, Evaluation
from imagesieve_server.offline.evaluation.sections import sections
from imagesieve_server.offline.evaluation.templates import single_templates
from imagesieve_server.offline.labelled.labelled_set import LabelledSet
from imagesieve_server.offline.measures.bootstrap import Resampling
from imagesieve_server.offline.read_policy import read_policy
from imagesieve_server.offline.report import section
from imagesieve_server.offline.report.page import page
from imagesieve_server.offline.report.section import Section
from imagesieve_server.offline.report.thumbnails import Thumbnail, Thumbnails, thumbnails
from imagesieve_server.policy_files.compiled import CompiledPolicy


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a policy on labelled pictures",
        description="Look at labelled pictures as the server would and say how well the policy "
        "tells them apart, what its thresholds do, where it is wrong, and where it treats some "
        "pictures otherwise than others. Embeddings are kept, so that a second policy over the "
        "same pictures takes seconds.",
    )
    add = parser.add_argument
    add(
        "--policy", type=Path, default=DEMO_POLICY, metavar="FILE",
        help="a .policy.npz file, or a policy's YAML (default: the demo's)",
    )  # fmt: skip
    add_picture_arguments(parser, required=False)
    add("--html", type=Path, metavar="FILE", help="also write a report as one HTML page")
    add(
        "--thumbnails", type=Thumbnails, choices=list(Thumbnails), default=Thumbnails.BLURRED,
        help="of mistakes in that page: blurred before they get into the file, sharp behind a "
        "blur that a click takes away, or none (default: %(default)s)",
    )  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="also write every figure as JSON")
    add(
        "--slices", type=_names, metavar="COLUMN,…",
        help="columns of the label file to slice by (default: each with 2 to 20 values)",
    )  # fmt: skip
    add(
        "--compare", action="store_true",
        help="also measure what the policy's choices are worth: lists of prompts, templates, "
        "counter-prompts, pooling, coverage (looks at the pictures two more times)",
    )  # fmt: skip
    diagnosing.add_arguments(parser)
    add(
        "--bootstrap", type=_resamples, default=1000, metavar="N",
        help="resamples behind each interval (default: %(default)s)",
    )  # fmt: skip
    add("--seed", type=int, default=0, help="of the resamples (default: %(default)s)")
    evaluate_decisions.add_arguments(parser)
    parser.set_defaults(run=_run)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """Labelled pictures of one run of a command, seen in one way or another."""

    args: argparse.Namespace
    bundle: Bundle
    policy: Policy
    progress: Progress

    def load(self, coverage: Coverage) -> LabelledSet:
        """The pictures under one coverage. Raises LabelsError and more."""
        try:
            return load_pictures(
                self.args,
                bundle=self.bundle,
                plan=ViewPlan(coverage=coverage, max_views=self.policy.max_views),
                categories=[category.id for category in self.policy.categories],
                progress=self.progress,
            )
        finally:
            self.progress.end()


def _run(args: argparse.Namespace) -> int:
    for option, path in (("--html", args.html), ("--json", args.json)):
        check_folder(option, path)
    if args.from_decisions:
        if args.html:
            raise ConfigError("--html: a page is written of --labels, not of --from-decisions")
        named = "" if args.policy == DEMO_POLICY else str(args.policy)
        return evaluate_decisions.run(policy=named, json_to=args.json, args=args)
    if args.labels is None or args.images is None:
        raise ConfigError("give --labels and --images, or --from-decisions")
    diagnosing.check(args)
    bundle = load_bundle(args.model)
    found = read_policy(args.policy, bundle=bundle)
    loader = Loader(
        args=args,
        bundle=bundle,
        policy=found.policy,
        progress=Progress(sys.stderr, what="looking at pictures"),
    )
    labelled = loader.load(found.policy.coverage)
    resampling = Resampling(count=args.bootstrap, seed=args.seed)
    evaluation = evaluate(
        found.policy,
        labelled,
        model=bundle.manifest.name,
        resampling=resampling,
        columns=args.slices,
        compared=_comparisons(loader, labelled, found, resampling) if args.compare else (),
    )
    parts = sections(evaluation, _thumbnails(loader, evaluation) if args.html else {})
    if args.diagnose:
        parts += _diagnoses(loader, labelled, found, resampling)
    print(section.as_text(parts))
    if args.json:
        _write_json(args.json, evaluation, parts)
    if args.html:
        _write_html(args.html, evaluation, parts)
    return 0


def _diagnoses(
    loader: Loader, labelled: LabelledSet, found: CompiledPolicy, resampling: Resampling
) -> list[Section]:
    try:
        return diagnosing.diagnosed(
            loader.args,
            loader.bundle,
            found,
            labelled,
            resampling=resampling,
            progress=loader.progress,
            say=loader.progress.say,
        )
    finally:
        loader.progress.end()


def _comparisons(
    loader: Loader, labelled: LabelledSet, found: CompiledPolicy, resampling: Resampling
) -> tuple[Comparison, ...]:
    own = found.policy.coverage
    sets: Mapping[str, LabelledSet] = {
        one.value: labelled if one is own else loader.load(one) for one in Coverage
    }
    encode = OnnxTextEncoder(bundle=loader.bundle).encode
    try:
        return compare_choices(
            found.policy,
            sets,
            single_templates(found, encode),
            resampling,
            progress=lambda what: loader.progress.say(f"comparing {what}"),
        )
    finally:
        loader.progress.end()


def _thumbnails(loader: Loader, evaluation: Evaluation) -> Mapping[int, Thumbnail]:
    """Of every mistake that the report shows."""
    shown = [m for c in evaluation.categories for m in (*c.false_alarms, *c.misses)]
    policy = loader.policy
    return thumbnails(
        evaluation.labelled,
        [mistake.view for mistake in shown],
        images=loader.args.images,
        preprocessing=loader.bundle.manifest.preprocessing,
        plan=ViewPlan(coverage=policy.coverage, max_views=policy.max_views),
        kind=loader.args.thumbnails,
    )


def _write_html(path: Path, evaluation: Evaluation, parts: list[Section]) -> None:
    aid = Section(
        id="words", title="What the words mean", text="", data=None,
        html=lambda: as_html.reading_aid(evaluation),
    )  # fmt: skip
    text = page(
        title=f"How the policy “{evaluation.policy.name}” does",
        subtitle=f"{date.today().isoformat()}: {wording.head_line(evaluation)}",
        sections=[*parts, aid],
        footer=f"Intervals are of 95 %, from {evaluation.resamples} resamples, seed "
        f"{evaluation.seed}. Policy version {evaluation.policy.version}, model "
        f"{evaluation.labelled.model_fingerprint}.",
    )
    write(path, text, option="--html")


def _write_json(path: Path, evaluation: Evaluation, parts: list[Section]) -> None:
    data = section.as_json(as_json.head(evaluation), parts)
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write(path, text, option="--json")


def write(path: Path, text: str, *, option: str) -> None:
    """Write what a command was asked for. Raises ConfigError."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{option}: {path}: {error.strerror}") from None


def check_folder(option: str, path: Path | None) -> None:
    """Before the work: a report that cannot be written should not cost an hour first."""
    if path is not None and not path.parent.is_dir():
        raise ConfigError(f"{option}: there is no folder {path.parent}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _resamples(text: str) -> int:
    number = int(text)
    if not 100 <= number <= 100_000:
        raise argparse.ArgumentTypeError("must lie between 100 and 100000")
    return number
