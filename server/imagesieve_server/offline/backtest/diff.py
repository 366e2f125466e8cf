"""Two policies over the kept images of a store: what would change.

The images' embeddings are what the server judged by, rounded to float16. A policy that looks at
other views of a picture, or was made for another model, cannot be judged by them and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from imagesieve_server.core.errors import EmbeddingsDamaged, NotComparable
from imagesieve_server.core.kept import KeptBlock, plan_text
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.views import ViewPlan
from imagesieve_server.embedding_store.layout import DayFolder
from imagesieve_server.embedding_store.reader import Damage, Part, StoreReader
from imagesieve_server.offline.backtest.ahead import worked
from imagesieve_server.offline.backtest.judge import BlockJudge, Flags, Verdicts
from imagesieve_server.offline.backtest.tally import Tally
from imagesieve_server.usable_cores import usable_cores

ANY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which images are compared."""

    store: Path
    tenants: tuple[str, ...]  # () is the only one there
    all_tenants: bool = False
    since: date | None = None  # first UTC day
    until: date | None = None  # last UTC day
    judged_under: str = ""  # a policy's name; "" is A's, ANY is every one
    examples: int = 10
    skip_damaged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was counted, and the files that were passed over."""

    tally: Tally
    damage: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """One block with its verdicts."""

    day: date
    block: KeptBlock
    chosen: Flags  # judged under the policy that is asked about
    same_plan: Flags  # seen as A and B would see them
    verdicts: tuple[Verdicts, ...]  # under A and B; () where no image is compared


def back_test(a: Policy, b: Policy, asked: Asked) -> Result:
    """Judge every image under both policies.

    Raises NotComparable, EmbeddingsDamaged, ConfigError.
    """
    plan = _common_plan(a, b)
    reader = StoreReader(root=asked.store)
    folders = _folders(reader, a, asked)
    damage = Damage()
    blocks = reader.blocks(folders, damage=damage if asked.skip_damaged else None)
    tally = Tally(a=a, b=b, keep_examples=asked.examples)
    judge = BlockJudge([a, b])
    name = asked.judged_under or a.name

    def judge_one(found: tuple[DayFolder, KeptBlock]) -> _Judged:
        folder, block = found
        _refuse_other_size(a, block)
        chosen = _is(block.policy.texts, block.policy.codes, None if name == ANY else name)
        same_plan = _is(block.plan.texts, block.plan.codes, plan)
        compared = bool((chosen & same_plan).any())
        return _Judged(
            day=folder.day,
            block=block,
            chosen=chosen,
            same_plan=same_plan,
            verdicts=judge.judge(block) if compared else (),
        )

    try:
        for one in worked(judge_one, blocks, threads=usable_cores()):
            tally.left_out(one.block, one.chosen, one.same_plan)
            if one.verdicts:
                of_a, of_b = one.verdicts
                tally.add(one.block, one.day, of_a, of_b, one.chosen & one.same_plan)
    except EmbeddingsDamaged as problem:
        raise EmbeddingsDamaged(
            f"{problem.problem}; move it out of the store, or leave it out with --skip-damaged",
            file=problem.file,
        ) from problem
    if not tally.images:
        raise NotComparable(_nothing(tally, damage, name, plan))
    return Result(tally=tally, damage=tuple(damage.problems))


def _common_plan(a: Policy, b: Policy) -> str:
    if a.model_fingerprint != b.model_fingerprint:
        raise NotComparable(
            f"A ({a.name}) was compiled for model {a.model_fingerprint[:12]}, B ({b.name}) for "
            f"{b.model_fingerprint[:12]}: compile both for the same model"
        )
    one, other = (plan_text(ViewPlan(coverage=p.coverage, max_views=p.max_views)) for p in (a, b))
    if one != other:
        raise NotComparable(
            f"A looks at pictures by coverage and max_views {one!r}, B by {other!r}: kept "
            "embeddings show one of the two at most. Compare by labelled pictures, or in shadow"
        )
    return one


def _folders(reader: StoreReader, a: Policy, asked: Asked) -> Sequence[DayFolder]:
    """The days to read. One tenant is chosen by itself where there is no other."""
    part = Part(tenants=asked.tenants, since=asked.since, until=asked.until)
    found = reader.folders(part)
    if not found:
        raise NotComparable(
            f"{asked.store}: nothing is kept of these tenants and days (a server writes what it "
            "keeps after embeddings.flush_seconds, and when it stops)"
        )
    models = sorted({folder.model for folder in found})
    found = [folder for folder in found if folder.model == a.model_fingerprint]
    if not found:
        raise NotComparable(
            f"the policies were compiled for model {a.model_fingerprint[:12]}, but the store has "
            f"embeddings of {', '.join(model[:12] for model in models)}"
        )
    tenants = sorted({folder.tenant for folder in found})
    if len(tenants) > 1 and not asked.tenants and not asked.all_tenants:
        raise NotComparable(
            f"the store has several tenants ({', '.join(map(repr, tenants[:10]))}): name one with "
            "--tenant, or say --all-tenants"
        )
    return found


def _refuse_other_size(a: Policy, block: KeptBlock) -> None:
    wanted = [g.vectors.shape[1] for g in (a.neutral, *(c.prompts for c in a.categories)) if len(g)]
    wanted += [len(c.probe.weights) for c in a.categories if c.probe]
    if wanted and wanted[0] != block.embeddings.shape[1]:
        raise NotComparable(
            f"the policies' vectors have {wanted[0]} numbers, the kept embeddings "
            f"{block.embeddings.shape[1]}, though both name the same model"
        )


def _is(texts: Sequence[str], codes: np.ndarray[tuple[int], np.dtype[np.int32]],
        wanted: str | None) -> Flags:  # fmt: skip
    same = np.array([wanted is None or text == wanted for text in texts], dtype=np.bool_)
    return np.asarray(same[codes], dtype=np.bool_)


def _nothing(tally: Tally, damage: Damage, name: str, plan: str) -> str:
    if tally.other_plan:
        plans = ", ".join(repr(text) for text in sorted(tally.other_plan))
        return (
            f"the policies look at pictures by coverage and max_views {plan!r}, but the kept "
            f"images were seen by {plans}: they cannot be compared by what is kept"
        )
    if tally.other_policy:
        names = ", ".join(sorted(tally.other_policy))
        return (
            f"no kept image was judged under policy {name!r}, only under {names}: name one with "
            "--judged-under, or * for all"
        )
    if damage.problems:
        return f"no file could be read: {damage.problems[0]}"
    return "nothing is kept there"
