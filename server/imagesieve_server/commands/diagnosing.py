"""The part of ``imagesieve-server evaluate`` that ``--diagnose`` asks for."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from imagesieve_server.core.errors import ConfigError
from imagesieve_server.core.views import ViewPlan
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.opening import open_encoder
from imagesieve_server.encoders.runtime import RuntimeOptions
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.offline.diagnosis.diagnose import diagnose, write_reference
from imagesieve_server.offline.diagnosis.sections import sections
from imagesieve_server.offline.labelled.labelled_set import LabelledSet, load_labelled
from imagesieve_server.offline.measures.bootstrap import Resampling
from imagesieve_server.offline.report.section import Section
from imagesieve_server.policy_files.compiled import CompiledPolicy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--diagnose", action="store_true",
        help="also look for known weaknesses: prompts that are not read as sentences, printed "
        "words, words for people that lean towards a category, pictures from elsewhere",
    )  # fmt: skip
    add(
        "--reference", type=Path, metavar="DIR",
        help="with --diagnose: a folder of real uploads to compare the labelled pictures with",
    )  # fmt: skip


def check(args: argparse.Namespace) -> None:
    """Before the work. Raises ConfigError."""
    if args.reference and not args.diagnose:
        raise ConfigError("--reference needs --diagnose")
    if args.reference and not args.reference.is_dir():
        raise ConfigError(f"--reference: there is no folder {args.reference}")


def diagnosed(
    args: argparse.Namespace,
    bundle: Bundle,
    found: CompiledPolicy,
    labelled: LabelledSet,
    *,
    resampling: Resampling,
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
) -> list[Section]:
    """The diagnoses as sections. Raises LabelsError, EncoderUnavailable and more."""
    encoder = open_encoder(bundle, RuntimeOptions(provider=args.provider))
    reference = _reference(args, bundle, found, progress) if args.reference else None
    diagnosis = diagnose(
        found,
        labelled,
        images=args.images,
        encoder=encoder,
        encode_texts=OnnxTextEncoder(bundle=bundle).encode,
        reference=reference,
        resampling=resampling,
        say=lambda what: say(f"diagnosing {what}"),
    )
    return sections(diagnosis)


def _reference(
    args: argparse.Namespace,
    bundle: Bundle,
    found: CompiledPolicy,
    progress: Callable[[int, int], None],
) -> LabelledSet:
    policy = found.policy
    with tempfile.TemporaryDirectory(prefix="imagesieve-reference-") as folder:
        return load_labelled(
            labels=write_reference(args.reference, Path(folder)),
            images=args.reference,
            bundle=bundle,
            plan=ViewPlan(coverage=policy.coverage, max_views=policy.max_views),
            cache=None if args.no_cache else args.cache,
            categories=[category.id for category in policy.categories],
            progress=progress,
            provider=args.provider,
        )
