"""Two policies over kept images: what is counted, forecast, said and refused."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.judged import DAY_S, NOON, judged, unit
from helpers.policies import category, group, policy
from helpers.random_policies import random_images, random_policy
from imagesieve_server.commands import main
from imagesieve_server.core.errors import ConfigError, EmbeddingsDamaged, NotComparable
from imagesieve_server.core.kept import KeptImage, kept_image
from imagesieve_server.core.policy import (
    AuditRates,
    Mode,
    NearBand,
    OnPartialCoverage,
    Policy,
    Scale,
    Threshold,
    Thresholds,
)
from imagesieve_server.core.scoring import score_image
from imagesieve_server.core.verdict import Verdict, decide
from imagesieve_server.core.views import Coverage
from imagesieve_server.embedding_store.files import StoreFiles
from imagesieve_server.embedding_store.layout import day_of
from imagesieve_server.offline.backtest import changes, forecast, text
from imagesieve_server.offline.backtest.ahead import worked
from imagesieve_server.offline.backtest.as_json import as_json
from imagesieve_server.offline.backtest.diff import ANY, Asked, Result, back_test
from imagesieve_server.offline.backtest.report import Report, report_of
from imagesieve_server.policy_files import compiled
from imagesieve_server.policy_files.source import parse_policy

DIMENSIONS = 16
TODAY = day_of(NOON)
Printed = pytest.CaptureFixture[str]


def keep(root: Path, images: Sequence[KeptImage], *, file_of: int = 25) -> None:
    """Write images as a server does: a file has one tenant and one day."""
    files = StoreFiles(root=root)
    key: Callable[[KeptImage], Any] = lambda i: (i.tenant, day_of(i.at))  # noqa: E731
    for _, found in itertools.groupby(sorted(images, key=key), key):
        part = list(found)
        for begin in range(0, len(part), file_of):
            files.add(part[begin : begin + file_of])


def compared(a: Policy, b: Policy, store: Path, **asked: Any) -> Report:
    fields: dict[str, Any] = {"tenants": (), "store": store, **asked}
    return report_of(back_test(a, b, Asked(**fields)), uploads_per_day=None)


def strength(of: Policy, image: KeptImage) -> int:
    with np.errstate(invalid="ignore"):
        scored = score_image(
            policy=of,
            categories=[
                c for c in of.categories if not image.categories or c.id in image.categories
            ],
            embeddings=image.embeddings.astype(np.float32),
            views=image.views,
        )
    judgement = decide(
        policy=of, scores=scored.scores, scores_valid=scored.valid, coverage=image.coverage
    )
    return judgement.verdict.strength


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def simple(rng: np.random.Generator, at: float = 0.0, **changes: Any) -> Policy:
    """One category with its threshold in log-odds; the same prompts for the same generator."""
    limit = Thresholds(review_at=Threshold(value=at, scale=Scale.LOGIT))
    prompts, neutral = unit(rng, 2, DIMENSIONS), unit(rng, 3, DIMENSIONS)
    return policy([category(group(*prompts), thresholds=limit)], group(*neutral), **changes)


def at(of: Policy, value: float, **changes: Any) -> Policy:
    """The policy with another threshold, as another version of it."""
    limit = Thresholds(review_at=Threshold(value=value, scale=Scale.LOGIT))
    one = dataclasses.replace(of.categories[0], thresholds=limit)
    return dataclasses.replace(of, categories=(one,), version="w" * 64, **changes)


# --- counting -----------------------------------------------------------------------------


@pytest.mark.embeddings
@pytest.mark.parametrize("seed", range(4))
def test_the_tables_are_those_of_the_core(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (random_policy(rng, DIMENSIONS, version=v * 64) for v in "ab")
    images = random_images(rng, a, 150, DIMENSIONS)
    images = [dataclasses.replace(image, at=NOON + n % 3 * DAY_S) for n, image in enumerate(images)]
    keep(tmp_path, images)
    report = compared(a, b, tmp_path)
    wanted = np.zeros((3, 3), dtype=int)
    for image in images:
        wanted[strength(a, image), strength(b, image)] += 1
    assert np.array_equal(report.tally.verdicts, wanted)
    assert report.tally.images == 150
    assert report.tally.views == sum(len(image.views) for image in images)
    assert sum(day.images for day in report.tally.days.values()) == 150
    assert len(report.tally.days) == 3
    for one in report.categories:
        assert one.bands.sum() == 150
    assert report.tally.given == 150
    otherwise = sum(i.verdict.strength != strength(a, i) for i in images)
    assert report.tally.given_otherwise == otherwise


@pytest.mark.embeddings
def test_the_largest_changes_are_listed_first(tmp_path: Path, rng: np.random.Generator) -> None:
    a = simple(rng, 5.0)
    b = at(a, -5.0)
    images = random_images(rng, a, 200, DIMENSIONS)
    keep(tmp_path, images)
    report = compared(a, b, tmp_path, examples=4)
    changed = {i.sha256 for i in images if strength(a, i) < strength(b, i)}
    listed = report.tally.stricter
    assert len(listed) == 4
    assert {one.sha256 for one in listed} <= changed
    assert report.tally.laxer == []
    for one in listed:
        assert (one.verdict_a, one.verdict_b) == (Verdict.ALLOW, Verdict.REVIEW)
        assert one.margin_b - one.margin_a == pytest.approx(10)
        assert one.categories == ("weapons",)


@pytest.mark.embeddings
def test_tenants_days_and_surfaces_are_chosen_and_counted_apart(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    a = simple(rng)
    images = random_images(rng, a, 60, DIMENSIONS)
    images = [
        dataclasses.replace(
            image,
            tenant=("t", "u", "../t")[n % 3],
            surface=f"surface {n % 2}",
            at=NOON + n // 30 * DAY_S,
        )
        for n, image in enumerate(images)
    ]
    keep(tmp_path, images)
    with pytest.raises(NotComparable, match="several tenants"):
        compared(a, a, tmp_path)
    everyone = compared(a, a, tmp_path, all_tenants=True).tally
    assert {name: group.images for name, group in everyone.tenants.items()} == {
        "t": 20, "u": 20, "../t": 20,
    }  # fmt: skip
    assert {name: group.images for name, group in everyone.surfaces.items()} == {
        "surface 0": 30, "surface 1": 30,
    }  # fmt: skip
    assert compared(a, a, tmp_path, tenants=("t",)).tally.images == 20
    assert compared(a, a, tmp_path, tenants=("../t",), until=TODAY).tally.images == 10
    tomorrow = date.fromordinal(TODAY.toordinal() + 1)
    assert compared(a, a, tmp_path, tenants=("t", "u"), since=tomorrow).tally.images == 20
    with pytest.raises(NotComparable, match="nothing is kept"):
        compared(a, a, tmp_path, tenants=("v",))


@pytest.mark.embeddings
def test_surfaces_without_end_are_counted_as_others(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagesieve_server.offline.backtest.tally.NAMED_SURFACES", 3)
    a = simple(rng)
    images = random_images(rng, a, 20, DIMENSIONS)
    keep(tmp_path, [dataclasses.replace(i, surface=f"{n}") for n, i in enumerate(images)])
    surfaces = compared(a, a, tmp_path).tally.surfaces
    assert len(surfaces) == 4
    assert surfaces["(others)"].images == 17


@pytest.mark.embeddings
def test_only_what_the_policy_judged_is_compared(tmp_path: Path, rng: np.random.Generator) -> None:
    a = simple(rng)
    images = random_images(rng, a, 20, DIMENSIONS)
    keep(tmp_path, [dataclasses.replace(i, policy="test" if n else "other") for n, i in
                    enumerate(images)])  # fmt: skip
    found = compared(a, a, tmp_path).tally
    assert (found.images, found.other_policy) == (19, {"other": 1})
    assert compared(a, a, tmp_path, judged_under="other").tally.images == 1
    assert compared(a, a, tmp_path, judged_under=ANY).tally.images == 20
    with pytest.raises(NotComparable, match="only under other, test"):
        compared(a, a, tmp_path, judged_under="nobody")


# --- what cannot be compared -----------------------------------------------------------------


@pytest.mark.embeddings
def test_policies_of_two_models_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    a = simple(rng)
    keep(tmp_path, random_images(rng, a, 3, DIMENSIONS))
    other = dataclasses.replace(a, model_fingerprint="n" * 64)
    with pytest.raises(NotComparable, match=r"model mmmmmmmmmmmm.*nnnnnnnnnnnn"):
        compared(a, other, tmp_path)
    with pytest.raises(NotComparable, match=r"nnnnnnnnnnnn, but the store .* mmmmmmmmmmmm"):
        compared(other, other, tmp_path)


@pytest.mark.embeddings
def test_other_views_are_left_out_and_said(tmp_path: Path, rng: np.random.Generator) -> None:
    a = simple(rng)
    squashed = dataclasses.replace(a, coverage=Coverage.SQUASH)
    images = random_images(rng, a, 10, DIMENSIONS)
    before = random_images(rng, squashed, 4, DIMENSIONS)
    keep(tmp_path, [*images, *before])
    report = compared(a, a, tmp_path)
    assert report.tally.images == 10
    assert report.tally.other_plan == {"squash 32": 4}
    assert any("4 images seen by another plan" in line for line in text.lines(report, examples=1))
    with pytest.raises(NotComparable, match=r"'tiles 32', B by 'squash 32'"):
        compared(a, squashed, tmp_path)
    few = dataclasses.replace(a, max_views=8)
    with pytest.raises(NotComparable, match=r"'tiles 8', but .* by 'squash 32', 'tiles 32'"):
        compared(few, few, tmp_path)


@pytest.mark.embeddings
def test_a_damaged_file_is_named_or_left_out(tmp_path: Path, rng: np.random.Generator) -> None:
    a = simple(rng)
    keep(tmp_path, random_images(rng, a, 30, DIMENSIONS), file_of=10)
    bad = sorted(tmp_path.rglob("*.parquet"))[1]
    bad.write_bytes(b"PAR1")
    with pytest.raises(EmbeddingsDamaged, match=r"--skip-damaged") as caught:
        compared(a, a, tmp_path)
    assert str(bad) in caught.value.message
    report = compared(a, a, tmp_path, skip_damaged=True)
    assert report.tally.images == 20
    assert any(str(bad) in line for line in text.lines(report, examples=0))
    for path in tmp_path.rglob("*.parquet"):
        path.write_bytes(b"PAR1")
    with pytest.raises(NotComparable, match="no file could be read"):
        compared(a, a, tmp_path, skip_damaged=True)


def test_a_folder_that_is_none_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    a = simple(rng)
    with pytest.raises(ConfigError, match="no such folder"):
        compared(a, a, tmp_path / "none")
    with pytest.raises(NotComparable, match="nothing is kept"):
        compared(a, a, tmp_path)


# --- forecast --------------------------------------------------------------------------------


def test_an_interval_of_few_days_is_wilsons() -> None:
    """Wilson's interval of 10 of 100, as published tables have it: .0552 to .1744."""
    found = forecast.share([10], [100])
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.0552, 0.1744), abs=1e-4)
    assert forecast.share([0], [50]).low == 0.0
    assert forecast.share([50], [50]).high == 1.0


def test_days_that_differ_widen_it() -> None:
    alike = forecast.share([100] * 10, [1000] * 10)
    apart = forecast.share([0, 200] * 5, [1000] * 10)
    assert alike.high - alike.low < 0.02
    assert apart.high - apart.low == pytest.approx(2 * 2.262 * 0.1 / 3, rel=0.01)
    assert apart.value == alike.value


def test_intervals_keep_their_promise(rng: np.random.Generator) -> None:
    """Shares that differ by day, drawn again and again: about 95 in 100 intervals hold the true
    one; the binomial one alone would hold far fewer."""
    held = 0
    for _ in range(400):
        shares = rng.beta(5, 95, size=14)
        images = rng.integers(500, 1500, size=14)
        flagged = rng.binomial(images, shares)
        found = forecast.share(list(map(int, flagged)), list(map(int, images)))
        held += found.low <= 0.05 <= found.high
    assert 0.90 <= held / 400 <= 0.99


def test_a_difference_is_paired() -> None:
    same = forecast.difference([0], [0], [1000])
    assert (same.value, same.low, same.high) == (0, 0, 0)
    more = forecast.difference([30], [10], [1000])
    assert more.value == pytest.approx(0.02)
    half = 1.96 * math.sqrt((0.04 - 0.0004) / 1000)
    assert more.high - more.value == pytest.approx(half, rel=1e-3)


@pytest.mark.parametrize(("freedom", "wanted"), [(4, 2.776), (9, 2.262), (29, 2.045)])
def test_students_deviate(freedom: int, wanted: float) -> None:
    assert forecast._student(freedom) == pytest.approx(wanted, abs=0.008)


@pytest.mark.embeddings
def test_reviews_a_day_follow_the_uploads(tmp_path: Path, rng: np.random.Generator) -> None:
    a = simple(rng)
    b = at(a, 10.0, audit=AuditRates(rate=0.1, near=(NearBand(within=5.0, rate=0.5),)))
    images = random_images(rng, a, 100, DIMENSIONS)
    keep(tmp_path, [dataclasses.replace(i, at=NOON + n % 2 * DAY_S) for n, i in enumerate(images)])
    result = back_test(a, b, Asked(store=tmp_path, tenants=()))
    assert report_of(result, uploads_per_day=None).uploads_per_day == 50
    report = report_of(result, uploads_per_day=1000)
    flagged = sum(strength(a, image) > 0 for image in images)
    assert report.per_day(report.share_a).value == pytest.approx(10 * flagged)
    allowed = [n for n in range(100) if strength(b, images[n]) == 0]
    before, after = report.audit_per_day()
    assert before == 0
    assert len(allowed) * 10 * 0.1 <= after <= len(allowed) * 10 * 0.5


# --- what differs --------------------------------------------------------------------------


def test_what_differs_is_said_in_the_words_of_the_policy_file(rng: np.random.Generator) -> None:
    a = simple(rng, 0.5)
    one = a.categories[0]
    changed = dataclasses.replace(
        one,
        mode=Mode.OBSERVE,
        thresholds=Thresholds(review_at=Threshold(value=0.7), block_at=Threshold(value=0.9)),
        prompts=dataclasses.replace(one.prompts, texts=("prompt 0", "a bow")),
        counter_prompts=group(unit(rng, 1, DIMENSIONS)[0]),
    )
    assert changes.of_category(one, changed) == (
        "mode: enforce → observe",
        "review_at: 0.5 logit → 0.7",
        "block_at: none → 0.9",
        "prompt added: a bow",
        "prompt removed: prompt 1",
        "counter-prompt added: prompt 0",
    )
    assert changes.of_category(None, one) == ("only in B",)
    assert changes.of_category(one, None) == ("only in A",)
    again = dataclasses.replace(one, prompts=group(*unit(rng, 2, DIMENSIONS)))
    assert changes.of_category(one, again) == (
        "prompts: other vectors for the same words (templates)",
    )
    b = dataclasses.replace(a, on_partial_coverage=OnPartialCoverage.REPORT)
    assert changes.of_policy(a, b) == ("on_partial_coverage: review → report",)
    assert changes.of_policy(a, a) == ()


def test_threads_keep_the_order_and_pass_errors_on() -> None:
    def source() -> Any:
        yield from range(5)
        raise OSError("gone")

    def slower_first(entry: int) -> int:
        time.sleep(0.01 * max(0, 5 - entry))
        return entry

    entries = worked(slower_first, source(), threads=3)
    assert next(entries) == 0
    with pytest.raises(OSError, match="gone"):
        list(entries)
    assert list(worked(slower_first, iter(range(5)), threads=2)) == list(range(5))
    endless = worked(slower_first, itertools.count(), threads=2)
    assert next(endless) == 0
    endless.close()  # type: ignore[attr-defined]  # ends the threads


# --- the command -----------------------------------------------------------------------------

YAML = """\
name: test
neutral: [a cat, a dog]
categories:
  - {{id: weapons, severity: 3, prompts: [a gun, a sword], review_at: {review_at}}}
  - {{id: spam, severity: 1, mode: observe, prompts: [a banner], review_at: 0.5}}
"""


@pytest.fixture
def artefacts(tmp_path: Path) -> tuple[Path, Path]:
    """Two policies that differ in one threshold, and a store of images beside them."""
    paths = []
    for name, review_at in (("a", "{logit: 10}"), ("b", "{logit: -10}")):
        source = parse_policy(YAML.format(review_at=review_at), file=f"{name}.yaml")
        rows = unit(np.random.default_rng(1), len(source.prompt_texts()), DIMENSIONS)
        data = compiled.build(
            source=source,
            file=f"{name}.yaml",
            model_fingerprint="m" * 64,
            logit_scale=100.0,
            logit_bias=0.0,
            vectors=dict(zip(source.prompt_texts(), rows, strict=True)),
        )
        paths.append(tmp_path / f"{name}.policy.npz")
        compiled.write(paths[-1], data)
    return paths[0], paths[1]


@pytest.mark.embeddings
def test_the_command_says_what_changes(
    tmp_path: Path, artefacts: tuple[Path, Path], capsys: Printed
) -> None:
    a = compiled.read(artefacts[0]).policy
    images = random_images(np.random.default_rng(2), a, 120, DIMENSIONS)
    bad = "x\x1b[31m\n" + "y" * 100
    keep(tmp_path / "store", [dataclasses.replace(i, surface=bad) for i in images])
    out = tmp_path / "out.json"
    paths = [str(path) for path in artefacts]
    words = ["policy", "diff", *paths, "--store", str(tmp_path / "store"), "--json", str(out)]
    assert main([*words, "--uploads-per-day", "5000", "--list", "2"]) == 0
    told = capsys.readouterr().out
    assert "120 images" in told
    assert "weapons  review_at: 10 logit → -10 logit" in told
    assert "observed under both" in told
    assert "Reviews a day of 5\u202f000 uploads (given)" in told
    assert "\x1b" not in told
    assert told.split("Largest changes")[1].count("REVIEW") == 2
    data = json.loads(out.read_text())
    assert data["verdicts"]["ALLOW"]["REVIEW"] > 0
    assert data["images"] == sum(sum(row.values()) for row in data["verdicts"].values())
    assert data["surfaces"] == {bad: data["tenants"]["t"]}
    assert data["categories"]["weapons"]["why"] == ["review_at: 10 logit → -10 logit"]
    assert len(data["examples"]["stricter"]) == 2


@pytest.mark.embeddings
def test_a_report_that_cannot_be_written_is_named(
    tmp_path: Path, artefacts: tuple[Path, Path], capsys: Printed
) -> None:
    a = compiled.read(artefacts[0]).policy
    keep(tmp_path / "store", random_images(np.random.default_rng(2), a, 3, DIMENSIONS))
    paths = [str(path) for path in artefacts]
    out = tmp_path / "none" / "out.json"
    words = ["policy", "diff", *paths, "--store", str(tmp_path / "store"), "--json", str(out)]
    assert main(words) == 1
    assert f"{out}: cannot be written" in capsys.readouterr().err


@pytest.mark.embeddings
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--since", "yesterday"], "is not a day like"),
        (["--uploads-per-day", "0"], "is not a number above 0"),
        (["--uploads-per-day", "nan"], "is not a number above 0"),
    ],
)
def test_wrong_words_are_refused(
    tmp_path: Path, artefacts: tuple[Path, Path], capsys: Printed, words: list[str], told: str
) -> None:
    paths = [str(path) for path in artefacts]
    with pytest.raises(SystemExit):
        main(["policy", "diff", *paths, "--store", str(tmp_path), *words])
    assert told in re.sub(r"\s+", " ", capsys.readouterr().err)


def test_figures_for_programs_hold_no_infinity(tmp_path: Path, rng: np.random.Generator) -> None:
    """An image without an enforced category has no margin."""
    from helpers.judged import block_of
    from imagesieve_server.offline.backtest.judge import BlockJudge
    from imagesieve_server.offline.backtest.tally import Tally

    a = simple(rng, on_partial_coverage=OnPartialCoverage.REVIEW)
    observed = dataclasses.replace(a.categories[0], mode=Mode.OBSERVE)
    b = dataclasses.replace(a, categories=(observed,), on_partial_coverage=OnPartialCoverage.REPORT)
    embeddings = a.neutral.vectors[:1]
    images = [kept_image(judged("cut", policy=a, embeddings=embeddings, coverage=0.5), at=NOON)]
    block = block_of(images)
    tally = Tally(a=a, b=b, keep_examples=3)
    tally.add(block, TODAY, *BlockJudge([a, b]).judge(block), chosen=np.array([True]))
    report = report_of(Result(tally=tally, damage=()), uploads_per_day=None)
    data = json.loads(json.dumps(as_json(report), allow_nan=False))
    (example,) = data["examples"]["laxer"]
    assert example["margin_b"] is None
    assert "-" in list(text.lines(report, examples=1))[-1]
