"""Labelled pictures, seen by one model: embeddings of every view beside what people said.

``load_labelled`` makes a set with the server's own decoder and encoder, so that what is
measured on it is what the server would answer. Log-odds come from ``core.scoring``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.errors import LabelsError, PolicyError
from imagesieve_server.core.policy import Category, Policy
from imagesieve_server.core.scoring import Doubles, logits_of
from imagesieve_server.core.views import Embeddings, View, ViewPlan
from imagesieve_server.encoders.bucketed import BucketedEncoder
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.opening import library_of, open_encoder
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions
from imagesieve_server.images.build import decoder_build
from imagesieve_server.offline.labelled.cache import EmbeddingCache, Seeing
from imagesieve_server.offline.labelled.encoding import Encoded, encode_pictures
from imagesieve_server.offline.labelled.label_file import LabelFile, Labels, read_labels
from imagesieve_server.offline.labelled.pictures import Picture, find_pictures

Progress = Callable[[int, int], None]
"""Called with (different pictures done, all of them)."""

_BUCKETS = (1, 2, 4, 8, 16, 32)
_CHUNK = 1 << 14  # views whose embeddings are float64 at once


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A picture that no model could look at."""

    file: str
    reason: str  # an UndecodableDetail, or an error's reason such as IMAGE_TOO_LARGE


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSet:
    """N pictures with V views, V ≥ N ≥ 1."""

    files: tuple[str, ...]  # N pictures, as the label file names them
    sha256: tuple[str, ...]  # N, hex
    labels: Mapping[str, Labels]  # category id → int8 [N]: 1 yes, 0 no, -1 nobody said
    columns: Mapping[str, tuple[str, ...]]  # every other column of the label file → text [N]
    embeddings: Embeddings  # float32 [V, D], unit rows, grouped by picture in order
    image_of: npt.NDArray[np.intp]  # [V]: number of the picture each view belongs to
    views: tuple[View, ...]  # V
    coverage: Doubles  # [N], what was seen ÷ what the plan wanted to see
    model_fingerprint: str
    left_out: tuple[LeftOut, ...] = ()  # rows of the label file that are not among the N
    notes: tuple[str, ...] = ()  # what the caller should be told

    def __len__(self) -> int:
        return len(self.files)

    @property
    def starts(self) -> npt.NDArray[np.intp]:
        """[N]: each picture's first view."""
        return np.searchsorted(self.image_of, np.arange(len(self.files)))

    def only(self, numbers: npt.NDArray[np.intp]) -> LabelledSet:
        """The set of these pictures (ascending numbers) alone."""
        kept = np.isin(self.image_of, numbers)
        return replace(
            self,
            files=tuple(self.files[n] for n in numbers),
            sha256=tuple(self.sha256[n] for n in numbers),
            labels={name: answers[numbers] for name, answers in self.labels.items()},
            columns={
                name: tuple(values[n] for n in numbers) for name, values in self.columns.items()
            },
            embeddings=self.embeddings[kept],
            image_of=np.searchsorted(numbers, self.image_of[kept]),
            views=tuple(self.views[v] for v in np.flatnonzero(kept)),
            coverage=self.coverage[numbers],
        )


def load_labelled(
    *,
    labels: Path,
    images: Path,
    bundle: Bundle,
    plan: ViewPlan,
    cache: Path | None,
    categories: Sequence[str],
    progress: Progress,
    provider: Provider = Provider.AUTO,
) -> LabelledSet:
    """Read a label file and see its pictures through ``bundle`` as ``plan`` says.

    ``categories`` are the ids that the labels may name. Embeddings come from ``cache`` where it
    has them and are kept there as they are made, also where the run is interrupted. A picture
    that cannot be decoded is left out and listed.

    Raises LabelsError, BundleError, MissingExtra, EncoderUnavailable, ConfigError (cache).
    """
    file = read_labels(labels, categories=categories)
    pictures = find_pictures(file, images)
    encoder = open_encoder(bundle, RuntimeOptions(provider=provider), buckets=_BUCKETS)
    seeing = Seeing(
        model=bundle.fingerprint,
        coverage=plan.coverage.value,
        max_views=plan.max_views,
        decoder=decoder_build(),
        runtime=library_of(encoder.spec.provider),
    )
    store = EmbeddingCache(cache, seeing) if cache is not None else None
    seen, notes = _see(pictures, encoder=encoder, plan=plan, store=store, progress=progress)
    return _assemble(file, pictures, seen, bundle.fingerprint, notes)


def _see(
    pictures: Sequence[Picture],
    *,
    encoder: BucketedEncoder,
    plan: ViewPlan,
    store: EmbeddingCache | None,
    progress: Progress,
) -> tuple[dict[str, Encoded | str], tuple[str, ...]]:
    """(embeddings, or the reason why there are none, by sha256; notes)."""
    different = {picture.sha256: picture for picture in pictures if picture.sha256}
    seen: dict[str, Encoded | str] = {}
    notes: tuple[str, ...] = ()
    if store is not None:
        known, notes = store.load(different)
        seen.update(known)
    progress(len(seen), len(different))

    def report(picture: Picture, found: Encoded | str) -> None:
        seen[picture.sha256] = found
        if store is not None and not isinstance(found, str):
            store.add(picture.sha256, found)
        progress(len(seen), len(different))

    todo = [picture for sha256, picture in different.items() if sha256 not in seen]
    if todo:
        encoder.check_canary()
    try:
        encode_pictures(todo, encoder=encoder, plan=plan, report=report)
    finally:
        if store is not None:
            store.flush()
    return seen, notes


def _assemble(
    file: LabelFile,
    pictures: Sequence[Picture],
    seen: Mapping[str, Encoded | str],
    fingerprint: str,
    notes: tuple[str, ...],
) -> LabelledSet:
    found = [seen.get(picture.sha256, "IMAGE_TOO_LARGE") for picture in pictures]
    kept = [number for number, one in enumerate(found) if isinstance(one, Encoded)]
    left_out = tuple(
        LeftOut(file=picture.name, reason=one)
        for picture, one in zip(pictures, found, strict=True)
        if isinstance(one, str)
    )
    if not kept:
        raise LabelsError(
            f"none of its {len(pictures)} pictures can be decoded; the first, "
            f"{left_out[0].file!r}, is {left_out[0].reason}",
            file=file.path,
        )
    encoded = [one for one in found if isinstance(one, Encoded)]
    counts = [len(one.views) for one in encoded]
    return LabelledSet(
        files=tuple(file.files[number] for number in kept),
        sha256=tuple(pictures[number].sha256 for number in kept),
        labels={name: answers[kept] for name, answers in file.labels.items()},
        columns={
            name: tuple(values[number] for number in kept) for name, values in file.columns.items()
        },
        embeddings=np.concatenate([one.embeddings for one in encoded]),
        image_of=np.repeat(np.arange(len(kept)), counts),
        views=tuple(view for one in encoded for view in one.views),
        coverage=np.array([one.coverage for one in encoded]),
        model_fingerprint=fingerprint,
        left_out=left_out,
        notes=notes,
    )


def view_logits(policy: Policy, labelled: LabelledSet) -> dict[str, Doubles]:
    """Category id → log-odds of every view, float64 [V]; the cosine for method cosine.

    Raises PolicyError where the policy was compiled for another model.
    """
    if policy.model_fingerprint != labelled.model_fingerprint:
        raise PolicyError(
            f"policy {policy.name!r} was compiled for another model "
            f"({policy.model_fingerprint[:12]}…) than the pictures were seen by "
            f"({labelled.model_fingerprint[:12]}…); compile it with --model for that bundle"
        )
    return {c.id: category_logits(policy, c, labelled) for c in policy.categories}


def category_logits(policy: Policy, category: Category, labelled: LabelledSet) -> Doubles:
    """One category's log-odds of every view, float64 [V]; ``category`` may be a variant of the
    policy's own. The model is not checked."""
    parts = [
        logits_of(policy, category, labelled.embeddings[start : start + _CHUNK].astype(np.float64))
        for start in range(0, len(labelled.embeddings), _CHUNK)
    ]
    return np.concatenate([logits for _, logits in parts])


def image_logits(policy: Policy, labelled: LabelledSet) -> dict[str, Doubles]:
    """Category id → the maximum over each picture's views, float64 [N]. Raises PolicyError."""
    starts = labelled.starts
    return {
        name: np.asarray(np.maximum.reduceat(logits, starts), dtype=np.float64)
        for name, logits in view_logits(policy, labelled).items()
    }
