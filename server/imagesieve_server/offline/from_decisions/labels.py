"""What reviewers decided, as the label file that ``evaluate``, ``calibrate`` and ``probe`` read.

Knows what a decision says about which category, and no more than it says: an APPROVE says of every
category the picture was judged by that it is not there; a REJECT says that the categories which
its labels name are there, without labels the one that the reviewer was shown, and nothing of the
others. A legal deletion says nothing. A contested decision waits for the next one. What closed a
group of look-alikes is one decision, so it labels one picture: a flood must not outweigh all else.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from imagesieve_server.core.review import OPEN, Cause, Outcome
from imagesieve_server.core.tenant_folders import folder_name
from imagesieve_server.offline.from_decisions.past import SAID_BY_PEOPLE
from imagesieve_server.review_queue.inspection import Upload, Whole
from imagesieve_server.review_queue.rows import DecisionRow

SUFFIXES: Mapping[str, str] = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/avif": "avif",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One picture and what people said of it."""

    tenant: str
    sha256: str
    file: str  # as the label file names it
    decided_at: float  # seconds since the epoch
    said: Mapping[str, bool]  # category → whether it is there; without those nobody spoke of
    slices: Mapping[str, str]  # column → text


@dataclass(slots=True)
class Left:
    """What was not taken, by reason, for the reader of the label file."""

    counts: Counter[str] = field(default_factory=Counter)
    names: Counter[str] = field(default_factory=Counter)  # labels that name no category


def labelled(
    items: Iterable[Whole], *, policy: str, aliases: Mapping[str, str], left: Left
) -> list[Labelled]:
    """The pictures of decided items, each once, with the last decision on it, and of those that
    were closed with their group by the same word the first. ``items`` come by tenant and arrival;
    ``policy`` "" is all; ``aliases`` maps reviewers' labels to categories."""
    last: dict[tuple[str, str], Labelled] = {}
    closed: set[tuple[str, str | None, Outcome, tuple[str, ...]]] = set()
    for whole in items:
        uploads = [u for u in whole.uploads if policy in ("", u.submission.policy)]
        if not uploads:
            continue
        decision = _in_effect(whole)
        reason = _why_not(whole, decision)
        if reason or decision is None:
            left.counts[reason] += 1
            continue
        found = _labelled(whole, uploads, decision, aliases, left)
        if not found.said:
            left.counts["decision names no category"] += 1
            continue
        if decision.cause is Cause.GROUP_CLOSE:
            group = (found.tenant, whole.item.group_id, decision.outcome, decision.labels)
            if group in closed:
                left.counts["look-alike of another, closed with it"] += 1
                continue
            closed.add(group)
        key = (found.tenant, found.sha256)
        if key not in last or found.decided_at > last[key].decided_at:
            last[key] = found
    return [last[key] for key in sorted(last)]


def write_labels(path: Path, pictures: Sequence[Labelled]) -> None:
    """A column per category, 1, 0 or empty, and a column per slice whose name is free."""
    categories = sorted({category for picture in pictures for category in picture.said})
    slices = [
        name for name in ("policy", "policy_version", "drawn_as", "decided", "group")
        if name not in categories
    ]  # fmt: skip
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", *categories, *slices])
        for picture in pictures:
            said = [_word(picture.said.get(category)) for category in categories]
            writer.writerow([picture.file, *said, *(picture.slices[name] for name in slices)])


def write_pictures(
    folder: Path,
    pictures: Sequence[Labelled],
    get: Callable[[str, str], bytes],
    progress: Callable[[int, int], None],
) -> None:
    """The original bytes, as ``get(tenant, sha256)`` gives them, under the names that the label
    file has; files and folders made here are for their owner alone. Raises OSError, and what
    ``get`` raises."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number, picture in enumerate(pictures, start=1):
        path = folder / picture.file
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.unlink(missing_ok=True)  # neither written through a link nor with others' rights
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(get(picture.tenant, picture.sha256))
        progress(number, len(pictures))


def _in_effect(whole: Whole) -> DecisionRow | None:
    effective = [row for row in whole.decisions if row.effective]
    return effective[-1] if effective else None


def _why_not(whole: Whole, decision: DecisionRow | None) -> str:
    """Why the item says nothing, "" where it does."""
    if whole.item.state in OPEN or whole.item.attached_to is not None:
        return "not decided"
    if decision is None or decision.cause not in SAID_BY_PEOPLE:
        return "deleted by law"
    if whole.evidence is None or whole.evidence.removed_at is not None:
        return "picture removed"
    return ""


def _labelled(
    whole: Whole,
    uploads: Sequence[Upload],
    decision: DecisionRow,
    aliases: Mapping[str, str],
    left: Left,
) -> Labelled:
    asked = {category for upload in uploads for category in _asked(upload)}
    if decision.outcome is Outcome.APPROVE:
        said = dict.fromkeys(asked, False)
    else:
        named = {aliases.get(label, label) for label in decision.labels}
        left.names.update(sorted(named - asked))
        named = named & asked if decision.labels else {whole.item.category} & asked
        said = dict.fromkeys(named, True)
    shown = uploads[-1].submission
    media_type = whole.evidence.media_type if whole.evidence else ""
    suffix = SUFFIXES.get(media_type, "bin")
    return Labelled(
        tenant=whole.item.tenant,
        sha256=whole.item.sha256,
        file=f"{folder_name(whole.item.tenant)}/{whole.item.sha256}.{suffix}",
        decided_at=decision.decided_at,
        said=said,
        slices={
            "policy": shown.policy,
            "policy_version": shown.policy_version,
            "drawn_as": "sample" if whole.item.audit else "flag",
            "decided": datetime.fromtimestamp(decision.decided_at, UTC).date().isoformat(),
            "group": whole.item.group_id or "",
        },
    )


def _asked(upload: Upload) -> list[str]:
    """The categories that the upload was judged by; none where its answer was removed."""
    try:
        scores = json.loads(upload.payload.answer)["judgement"]["scores"]
        return [str(score["category"]) for score in scores]
    except (ValueError, KeyError, TypeError):
        return []


def _word(said: bool | None) -> str:
    return "" if said is None else str(int(said))
