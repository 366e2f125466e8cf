"""All diagnoses of one model and policy on one set of labelled pictures."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagesieve_server.core.errors import LabelsError
from imagesieve_server.core.policy import Vectors
from imagesieve_server.core.views import Pixels, ViewPlan
from imagesieve_server.encoders.bucketed import BucketedEncoder
from imagesieve_server.offline.compile_policy import ensemble
from imagesieve_server.offline.diagnosis.attributes import AttributeGap, attribute_gaps
from imagesieve_server.offline.diagnosis.composition import Composition, composition
from imagesieve_server.offline.diagnosis.domain import (
    DomainGap,
    NeutralFit,
    domain_gap,
    neutral_fit,
)
from imagesieve_server.offline.diagnosis.typography import (
    Steered,
    Target,
    choose_targets,
    steer,
)
from imagesieve_server.offline.labelled.encoding import decode_picture, decoder_pool
from imagesieve_server.offline.labelled.label_file import LabelFile
from imagesieve_server.offline.labelled.labelled_set import LabelledSet
from imagesieve_server.offline.labelled.pictures import Picture, find_pictures
from imagesieve_server.offline.measures.bootstrap import Resampling
from imagesieve_server.policy_files.compiled import CompiledPolicy

Views = Mapping[tuple[int, int], Pixels]
"""(picture, number of its view) → uint8 [S, S, 3]."""

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found."""

    composition: tuple[Composition, ...]
    printed: tuple[Steered, ...]
    attributes: tuple[AttributeGap, ...]
    neutral: NeutralFit | None  # None where no picture is labelled as ordinary
    gap: DomainGap | None  # None without a reference


def diagnose(
    found: CompiledPolicy,
    labelled: LabelledSet,
    *,
    images: Path,
    encoder: BucketedEncoder,
    encode_texts: Callable[[Sequence[str]], Vectors],
    reference: LabelledSet | None,
    resampling: Resampling,
    say: Callable[[str], None],
) -> Diagnosis:
    """Run every diagnosis; ``say`` hears what is under way. Raises LabelsError."""
    policy, seed = found.policy, resampling.seed
    say("changed prompts")
    changed = composition(
        policy,
        lambda texts: ensemble(texts, found.templates, encode_texts),
        labelled=labelled,
        resampling=resampling,
    )
    say("words for people")
    attributes = attribute_gaps(policy, encode_texts, seed=seed)
    say("where the pictures come from")
    neutral = neutral_fit(policy, labelled)
    gap = domain_gap(policy, labelled, reference, seed=seed) if reference else None
    say("printed words")
    targets = choose_targets(policy, labelled, seed=seed)
    plan = ViewPlan(coverage=policy.coverage, max_views=policy.max_views)
    views = _look_again(targets, labelled, images, encoder, plan)
    printed: list[Steered] = []
    for target in targets:
        say(f"“{target.word}” printed on pictures")
        printed.extend(steer(policy, target, views, encoder.run, seed=seed))
    return Diagnosis(
        composition=changed,
        printed=tuple(printed),
        attributes=attributes,
        neutral=neutral,
        gap=gap,
    )


def write_reference(folder: Path, into: Path) -> Path:
    """A label file, written to the folder ``into``, that names every picture below ``folder``.

    Nobody says what they show. Raises LabelsError where there is none.
    """
    if not folder.is_dir():
        raise LabelsError("is no folder; --reference names one with pictures", file=str(folder))
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES and path.is_file()
    )
    if not names:
        raise LabelsError("holds no picture", file=str(folder))
    path = into / "reference.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "categories"))
        rows.writerows((name, "?") for name in names)
    return path


def _look_again(
    targets: Sequence[Target],
    labelled: LabelledSet,
    images: Path,
    encoder: BucketedEncoder,
    plan: ViewPlan,
) -> Views:
    """The pixels of the targets' views, decoded once more; embeddings alone were kept."""
    wanted: dict[int, set[int]] = {}
    for target in targets:
        for picture, view in target.views:
            wanted.setdefault(picture, set()).add(view)
    if not wanted:
        return {}
    chosen = sorted(wanted)
    file = LabelFile(
        path="",
        files=tuple(labelled.files[number] for number in chosen),
        lines=tuple(0 for _ in chosen),
        labels={},
        columns={},
    )
    pictures = dict(zip(chosen, find_pictures(file, images), strict=True))
    return asyncio.run(_decode(pictures, wanted, encoder, plan))


async def _decode(
    pictures: Mapping[int, Picture],
    wanted: Mapping[int, set[int]],
    encoder: BucketedEncoder,
    plan: ViewPlan,
) -> Views:
    pool = decoder_pool(encoder.spec.preprocessing, plan)
    await pool.start()
    found: dict[tuple[int, int], Pixels] = {}
    try:
        for number, picture in pictures.items():
            image = await decode_picture(picture, decoder=pool, plan=plan)
            if isinstance(image, str):
                continue  # it was seen before; whatever happened to it, others are left
            found |= {
                (number, view): image.pixels[view].copy()
                for view in wanted[number]
                if view < len(image.views)
            }
    finally:
        await pool.close()
    return found
