"""Fine-tuning on one page: read, take apart, compute once, learn, compare, write.

Raises LabelsError for the files of pairs, BundleError for the model, ConfigError for settings,
MissingExtra without torch and open_clip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagesieve_server.core.errors import BundleError, LabelsError
from imagesieve_server.encoders.manifest import Activation
from imagesieve_server.extras import need
from imagesieve_server.offline.export.load import LoadedModel, load_model
from imagesieve_server.offline.finetune.checkpoint import write_folder
from imagesieve_server.offline.finetune.compare import Comparison, Maps, compare
from imagesieve_server.offline.finetune.features import Numbers
from imagesieve_server.offline.finetune.learner import Lesson, ProjectionLearner, Scale
from imagesieve_server.offline.finetune.material import Gatherer, Material
from imagesieve_server.offline.finetune.pairs import LEAST, Pairs, held_out, read_pairs
from imagesieve_server.offline.finetune.settings import ENOUGH_PAIRS, Settings
from imagesieve_server.offline.finetune.towers import Towers
from imagesieve_server.offline.folders import make_folder
from imagesieve_server.offline.training import loop
from imagesieve_server.offline.training.schedule import learning_rate
from imagesieve_server.usable_cores import usable_cores

Report = Callable[[str], None]

HELD_OUT, KEEP = "held out", "keep"
"""The sets a comparison may have."""

_CHECKED = 4  # pictures and captions on which the maps are moved, to see that they lead
_WARM_UP = 100  # steps, or a tenth of all


@dataclass(frozen=True, slots=True, kw_only=True)
class Finetuned:
    """What a fine-tuning did."""

    comparison: Comparison
    warnings: tuple[str, ...]
    facts: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The report beside the weights."""
        return {
            **self.facts,
            "warnings": list(self.warnings),
            "comparison": self.comparison.as_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What is trained on and what is not."""

    pairs: Pairs
    keep: Pairs | None
    trained: Numbers  # numbers of pairs
    held_out: Numbers  # numbers of pictures
    left_out: int  # pairs whose pictures are also in the keep set


def finetune(settings: Settings, report: Report) -> Finetuned:
    """Fine-tune, compare and write the checkpoint folder."""
    need("torch").set_num_threads(settings.threads or usable_cores())
    split = _split(settings)
    warnings = _warnings(split)
    for warning in warnings:
        report(f"warning: {warning}")
    loaded = load_model(settings.source)
    towers = Towers(loaded, tokenizer=settings.tokenizer)
    towers.check(split.pairs.pictures[:_CHECKED], split.pairs.captions[:_CHECKED])
    make_folder(settings.work, mode=0o700)  # for its owner alone: it tells of the pictures
    gatherer = Gatherer(loaded=loaded, towers=towers, folder=settings.work, report=report)
    material = gatherer.gather("pairs", split.pairs)
    sets = {HELD_OUT: (material, split.held_out)}
    if split.keep is not None:
        everything = np.arange(len(split.keep.pictures))
        sets[KEEP] = (gatherer.gather("keep", split.keep), everything)
    old = Maps(image=towers.image.map(), text=towers.text.map())
    learner = _learner(settings, loaded, towers, material, split.trained)
    done = _train(settings, learner, report)
    new = Maps(image=learner.image, text=learner.text)
    comparison = compare(old, new, mix=settings.mix, sets=sets)
    written = old.mixed(new, settings.mix)
    towers.image.put(written.image)
    towers.text.put(written.text)
    facts = {**_facts(settings, loaded, split, learner), **done.as_json()}
    result = Finetuned(comparison=comparison, warnings=warnings, facts=facts)
    write_folder(settings.out, loaded, tokenizer=settings.tokenizer, report=result.as_json())
    return result


def _split(settings: Settings) -> Split:
    pairs = read_pairs(settings.pairs, settings.images)
    keep = None
    if settings.keep is not None:
        keep = read_pairs(settings.keep, settings.keep_images or settings.images)
    out = held_out(pairs, share=settings.held_out, seed=settings.seed)
    kept = {picture.sha256 for picture in keep.pictures} if keep else set[str]()
    shared = np.array([picture.sha256 in kept for picture in pairs.pictures])
    trained = np.flatnonzero(~(out | shared)[pairs.picture_of])
    file = str(settings.pairs)
    if len(pairs) < LEAST or not out.any():
        raise LabelsError(
            f"has {len(pairs)} pairs; fine-tuning needs at least {LEAST}, and {ENOUGH_PAIRS} to "
            "gain more than it loses",
            file=file,
        )
    if len(np.unique(pairs.caption_of[trained])) < 2:
        raise LabelsError(
            "leaves fewer than two different captions to train on: there is nothing to tell apart",
            file=file,
        )
    return Split(
        pairs=pairs,
        keep=keep,
        trained=trained,
        held_out=np.flatnonzero(out),
        left_out=int(np.count_nonzero((shared & ~out)[pairs.picture_of])),
    )


def _warnings(split: Split) -> tuple[str, ...]:
    found = []
    if len(split.trained) < ENOUGH_PAIRS:
        found.append(
            f"{len(split.trained)} pairs to train on. Below {ENOUGH_PAIRS} a model tends to lose "
            "more of what it knew than it gains; a probe for one category needs far fewer"
        )
    if split.keep is None:
        found.append(
            "no --keep: what is lost outside these pairs is not measured. Give pairs of what "
            "the model is to go on understanding"
        )
    if split.left_out:
        found.append(
            f"{split.left_out} pairs were left out of training: their pictures are in --keep too"
        )
    return tuple(found)


def _learner(
    settings: Settings, loaded: LoadedModel, towers: Towers, material: Material, trained: Numbers
) -> ProjectionLearner:
    pairs = material.pairs
    return ProjectionLearner(
        Lesson(
            pictures=material.pictures,
            captions=material.captions,
            picture_of=pairs.picture_of[trained],
            caption_of=pairs.caption_of[trained],
        ),
        image=towers.image.map(),
        text=towers.text.map(),
        scale=Scale(
            logit_scale=loaded.logit_scale,
            logit_bias=loaded.logit_bias,
            sigmoid=loaded.activation is Activation.SIGMOID,
        ),
        batch=settings.batch,
        seed=settings.seed,
        image_only=settings.image_only,
        schedule=f"{settings.epochs} epochs at {settings.rate}",
    )


def _train(settings: Settings, learner: ProjectionLearner, report: Report) -> loop.Done:
    steps = settings.epochs * learner.steps_an_epoch
    done = loop.train(
        learner,
        loop.Run(out=settings.work, steps=steps, pictures=learner.batch, resume=settings.resume),
        rate=lambda step: learning_rate(
            step, peak=settings.rate, warm_up=min(_WARM_UP, steps // 10), steps=steps
        ),
        report=report,
    )
    if not learner.is_finite():
        raise BundleError("the weights became infinite; try a tenth of the learning rate")
    return done


def _facts(
    settings: Settings, loaded: LoadedModel, split: Split, learner: ProjectionLearner
) -> dict[str, Any]:
    return {
        "architecture": loaded.architecture,
        "weights": {"name": loaded.pretrained.name, "sha256": loaded.pretrained.sha256},
        "loss": "sigmoid" if loaded.activation is Activation.SIGMOID else "InfoNCE",
        "pairs": len(split.pairs),
        "trained_on": len(split.trained),
        "image_only": settings.image_only,
        "epochs": settings.epochs,
        "batch": learner.batch,
        "rate": settings.rate,
        "seed": settings.seed,
    }
