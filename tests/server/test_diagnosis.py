"""Diagnoses find the weakness where a model has it, and do not where it has not."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from helpers.policies import category, group, policy, unit
from imagesieve_server.commands import main
from imagesieve_server.core.policy import (
    Method,
    Policy,
    Probe,
    PromptGroup,
    Scale,
    Threshold,
    Thresholds,
)
from imagesieve_server.core.views import Embeddings, Pixels, View, ViewKind
from imagesieve_server.demo_data import DEMO_IMAGES
from imagesieve_server.offline.diagnosis import attributes, composition, domain, typography
from imagesieve_server.offline.diagnosis.attributes import Pair, attribute_gaps
from imagesieve_server.offline.diagnosis.deciding import deciding_views, reached
from imagesieve_server.offline.diagnosis.diagnose import Diagnosis
from imagesieve_server.offline.diagnosis.sections import sections
from imagesieve_server.offline.diagnosis.stamping import nonsense, sizes_that_fit, stamp
from imagesieve_server.offline.diagnosis.statistics import (
    EnergyDistance,
    effect_size,
    energy_test,
    holm,
    paired_test,
)
from imagesieve_server.offline.diagnosis.typography import Direction, Target
from imagesieve_server.offline.labelled.labelled_set import LabelledSet
from imagesieve_server.offline.measures.bootstrap import Resampling
from imagesieve_server.offline.measures.figures import Figure

WIDTH = 64
FEW = Resampling(count=100, seed=1)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def rows(count: int, *, centre: np.ndarray, spread: float, seed: int) -> Embeddings:
    points = centre + spread * rng(seed).standard_normal((count, len(centre)))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def labelled(embeddings: Embeddings, **labels: Sequence[int]) -> LabelledSet:
    """One view a picture."""
    count = len(embeddings)
    return LabelledSet(
        files=tuple(f"{number}.png" for number in range(count)),
        sha256=tuple("0" * 64 for _ in range(count)),
        labels={name: np.array(answers, dtype=np.int8) for name, answers in labels.items()},
        columns={},
        embeddings=embeddings,
        image_of=np.arange(count),
        views=tuple(View(kind=ViewKind.STILL, box=(0, 0, 8, 8)) for _ in range(count)),
        coverage=np.ones(count),
        model_fingerprint="m" * 64,
    )


# --- statistics ------------------------------------------------------------------------------


def test_effect_size_is_the_difference_in_standard_deviations() -> None:
    first, second = np.array([2.0, 3.0, 4.0]), np.array([0.0, 1.0, 2.0])
    spread = np.std([2, 3, 4, 0, 1, 2], ddof=1)
    assert effect_size(first, second) == pytest.approx(2 / spread)
    assert effect_size(np.ones(3), np.ones(3)) == 0.0


def test_the_paired_test_counts_flipped_signs() -> None:
    """Five equal differences: 2 of 32 sign patterns are as far, so p is about 1/16."""
    found = paired_test(np.ones(5), count=20_000, generator=rng())
    assert found == pytest.approx(2 / 32, abs=0.01)
    assert paired_test(np.array([1.0, -1.0]), count=1000, generator=rng()) == 1.0


def test_a_paired_test_keeps_its_level() -> None:
    """Without an effect p is below 0.1 in about a tenth of the trials."""
    generator = rng(4)
    found = [
        paired_test(generator.standard_normal(12), count=200, generator=generator)
        for _ in range(400)
    ]
    assert 0.06 < np.mean(np.array(found) <= 0.1) < 0.14


def test_holm_is_worked_out_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


def test_the_energy_distance_is_its_definition() -> None:
    first, second = rng(1).standard_normal((5, 3)), rng(2).standard_normal((4, 3))

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.linalg.norm(a[:, None] - b[None], axis=2).mean())

    expected = 2 * mean(first, second) - mean(first, first) - mean(second, second)
    found = energy_test(first, second, count=50, generator=rng())
    assert found.value == pytest.approx(expected)


def test_the_energy_test_finds_a_shift_and_not_its_absence() -> None:
    same = energy_test(
        rng(1).standard_normal((60, 8)), rng(2).standard_normal((50, 8)), count=300, generator=rng()
    )
    assert same.p > 0.05
    assert same.value <= 1.5 * same.null_high
    other = energy_test(
        rng(1).standard_normal((60, 8)),
        rng(2).standard_normal((50, 8)) + 0.6,
        count=300,
        generator=rng(),
    )
    assert other.p == pytest.approx(1 / 301)
    assert other.value > 2 * other.null_high


def test_the_energy_test_keeps_its_level() -> None:
    generator = rng(8)
    low = [
        energy_test(
            generator.standard_normal((12, 3)),
            generator.standard_normal((15, 3)),
            count=60,
            generator=generator,
        ).p
        <= 0.1
        for _ in range(300)
    ]
    assert 0.05 < np.mean(low) < 0.16


# --- text models that do, and do not, read ------------------------------------------------------


def _word(word: str) -> np.ndarray:
    return rng(sum(ord(c) * 31**i for i, c in enumerate(word)) % 2**32).standard_normal(WIDTH)


def bag_of_words(text: str) -> np.ndarray:
    """Order and "no" mean nothing to it."""
    return unit(*sum(_word(word) for word in text.split() if word not in ("a", "no")))


def reader(text: str) -> np.ndarray:
    """Words mean something else in another place, and after a "no"."""
    words = text.split()
    sign = "not-" if words[0] == "no" else ""
    return unit(*sum(_word(f"{sign}{place}-{word}") for place, word in enumerate(words)))


def prompts(*texts: str, model: Callable[[str], np.ndarray]) -> PromptGroup:
    return PromptGroup(texts=texts, vectors=np.stack([model(text) for text in texts]))


TEXTS = ("a gun on a table", "a knife", "a man pointing a gun", "a bomb in a bag")


@pytest.mark.parametrize(("model", "read"), [(bag_of_words, False), (reader, True)])
def test_composition_tells_a_reader_from_a_bag_of_words(
    model: Callable[[str], np.ndarray], read: bool
) -> None:
    rules = policy([category(prompts(*TEXTS, model=model))], prompts("a dog", "a cat", model=model))
    texts = np.stack([model(text) for text in TEXTS])
    seen = np.concatenate([texts, rows(12, centre=np.zeros(WIDTH), spread=1.0, seed=3)])
    answers = [1] * len(TEXTS) + [0] * 12
    found = composition.composition(
        rules,
        lambda wanted: {text: model(text) for text in wanted},
        labelled=labelled(seen, weapons=answers),
        resampling=FEW,
    )
    by_kind = {one.kind: one for one in found}
    assert set(by_kind) == {"negated", "reversed", "swapped"}
    for one in found:
        assert one.is_not_read is not read, one.kind
        assert one.reach == pytest.approx(100 * one.distance * _typical(texts), rel=1e-6)
    (pictures,) = by_kind["negated"].pictures
    assert (abs(pictures.difference.value) < 0.02) is not read
    assert pictures.auc.value == 1.0


def _typical(vectors: np.ndarray) -> float:
    distances = [
        float(np.linalg.norm(vectors[a] - vectors[b]))
        for a in range(len(vectors))
        for b in range(a)
    ]
    return float(np.median(distances))


@pytest.mark.parametrize(
    ("prompt", "negated", "reversed_", "swapped"),
    [
        ("a knife", "no knife", None, None),
        ("the old gun", "no old gun", "gun old the", None),
        ("a person with a knife", "no person with a knife", "knife a with person a",
         "a knife with a person"),
        ("a person without a knife", "no person without a knife", "knife a without person a",
         "a knife without a person"),
    ],
)  # fmt: skip
def test_changes_of_a_prompt(
    prompt: str, negated: str, reversed_: str | None, swapped: str | None
) -> None:
    assert composition.negated(prompt) == negated
    assert composition.reversed_words(prompt) == reversed_
    assert composition.swapped(prompt) == swapped


def test_only_prompts_that_can_be_changed_are_compared() -> None:
    """The other ones would hold the changed ranking up."""
    rules = policy([category(prompts("a knife", TEXTS[0], model=reader))], group(reader("x")))
    seen = np.stack([reader("a knife"), reader(TEXTS[0]), reader("y"), reader("z")])
    found = composition.composition(
        rules,
        lambda wanted: {text: reader(text) for text in wanted},
        labelled=labelled(seen, weapons=[1, 1, 0, 0]),
        resampling=FEW,
    )
    by_kind = {one.kind: one for one in found}
    assert by_kind["swapped"].prompts == 1
    assert by_kind["swapped"].pictures[0].auc.value < 1.0


# --- attributes ------------------------------------------------------------------------------


def test_an_attribute_that_leans_towards_a_category_stands_out() -> None:
    """In a model that hears "red" as a little of the category, "red" people lie nearer to it."""
    towards = _word("weapon")

    def leaning(texts: Sequence[str]) -> Embeddings:
        return np.stack(
            [
                unit(*(sum(_word(w) for w in text.split()) + 3.0 * ("red" in text) * towards))
                for text in texts
            ]
        )

    def fair(texts: Sequence[str]) -> Embeddings:
        return np.stack([bag_of_words(text) for text in texts])

    rules = policy([category(group(unit(*towards)))], group(_unit_word("dog")))
    pairs = [Pair(id="colour", first="a red person", second="a blue person")]
    (found,) = attribute_gaps(rules, leaning, pairs=pairs)
    assert found.stands_out
    assert found.effect > 1
    assert found.log_odds > 0
    turned = [Pair(id="colour", first="a blue person", second="a red person")]
    (other,) = attribute_gaps(rules, leaning, pairs=turned)
    assert other.effect < -1
    (none,) = attribute_gaps(
        rules, fair, pairs=[Pair(id="same", first="a person", second="a person")]
    )
    assert (none.effect, none.p, none.stands_out) == (0.0, 1.0, False)


def _unit_word(word: str) -> np.ndarray:
    return unit(*_word(word))


def test_a_probe_has_no_prompts_to_associate() -> None:
    head = Probe(weights=_unit_word("x"), bias=0.0)
    rules = policy([category(group(), method=Method.PROBE, probe=head)], group(_unit_word("dog")))
    assert attribute_gaps(rules, lambda texts: np.stack([_unit_word(t) for t in texts])) == ()


def test_pairs_differ_in_the_people_and_nothing_else() -> None:
    assert all(sentence.count("{}") == 1 for sentence in attributes.SENTENCES)
    assert len({pair.id for pair in attributes.PAIRS}) == len(attributes.PAIRS)
    assert all(pair.first != pair.second for pair in attributes.PAIRS)


# --- domain ----------------------------------------------------------------------------------

X, Y, Z = unit(1, 0, 0), unit(0, 1, 0), unit(0, 0, 1)


def _rules() -> Policy:
    return policy([category(group(X))], group(Y, Z), logit_scale=20.0)


def test_neutral_prompts_that_describe_nothing_are_named() -> None:
    seen = np.concatenate([rows(6, centre=Y, spread=0.02, seed=1), np.stack([X, unit(1, 1, 1)])])
    found = domain.neutral_fit(_rules(), labelled(seen, weapons=[0] * 6 + [1, 0]))
    assert found is not None
    assert found.pictures == 7
    assert found.unused == ("prompt 1",)
    assert found.nearest[0] == ("prompt 0", 7)
    assert found.farthest[0][0] == "7.png"
    assert found.farthest[0][1] == pytest.approx(1 / math.sqrt(3), abs=1e-6)
    assert domain.neutral_fit(_rules(), labelled(seen, weapons=[1] * 7 + [-1])) is None


def test_a_reference_from_elsewhere_is_apart_and_flags_more() -> None:
    here = labelled(rows(40, centre=Y, spread=0.2, seed=1), weapons=[0] * 40)
    alike = labelled(rows(40, centre=Y, spread=0.2, seed=2))
    elsewhere = labelled(rows(40, centre=X, spread=0.2, seed=3))
    same = domain.domain_gap(_rules(), here, alike)
    assert same.tested.p > 0.05
    assert same.times_chance < 1.5
    other = domain.domain_gap(_rules(), here, elsewhere)
    assert other.tested.p < 0.01
    assert other.times_chance > 3
    (share,) = other.flagged
    assert share.ordinary.value == 0.0
    assert share.reference.value > 0.9


# --- typography ------------------------------------------------------------------------------


def test_every_word_covers_the_same_part_of_the_picture() -> None:
    view = np.empty((64, 64, 3), dtype=np.uint8)
    view[:] = (90, 140, 40)  # no grey, which the edges of letters are
    words = ("gun", "qwxz")
    for size in sizes_that_fit(64, words):
        covered = [
            (stamp(view, word, size=size, words=words) != view).any(axis=2) for word in words
        ]
        assert (covered[0] == covered[1]).all()
        assert 0 < covered[0].mean() < 0.6
        first, second = (stamp(view, word, size=size, words=words) for word in words)
        assert (first != second).any()


def test_sizes_that_do_not_fit_are_not_measured_twice() -> None:
    assert sizes_that_fit(64, ("gun",)) == (0.1, 0.2, 0.35)
    long = sizes_that_fit(64, ("a rather long word",))
    assert len(long) == 1
    assert long[0] <= 0.12


def test_nonsense_has_the_same_length_and_no_vowel() -> None:
    found = nonsense("hand gun", count=4, seed=1)
    assert len(set(found)) == 4
    assert all(len(word) == 8 and word[4] == " " for word in found)
    assert not set("".join(found)) & set("aeiou")
    assert found == nonsense("hand gun", count=4, seed=1)


class Eye:
    """An encoder that sees brightness, and, where it can read, what stands on a label.

    It knows a word by the very pixels that ``stamp`` makes of it on a plain view.
    """

    def __init__(self, *, reads: str, as_if: np.ndarray, words: Sequence[str]) -> None:
        self._as_if = as_if
        blank = np.full((64, 64, 3), 60, dtype=np.uint8)
        sizes = sizes_that_fit(64, words) if reads else ()
        self._read = {_ink(stamp(blank, reads, size=size, words=words)) for size in sizes}

    def __call__(self, pixels: Pixels) -> Embeddings:
        read = [_ink(view) in self._read for view in pixels]
        return np.stack(
            [
                self._as_if if known else self._plain(view)
                for known, view in zip(read, pixels, strict=True)
            ]
        )

    def _plain(self, view: Pixels) -> np.ndarray:
        return unit(0.5, 1.0, view.mean() / 2000)


def _ink(view: Pixels) -> bytes:
    """Black and white of a view, whatever its ground."""
    return np.where((view >= 200) | (view < 50), view, 60).tobytes()


@pytest.mark.parametrize("reads", [True, False])
def test_an_encoder_that_reads_is_found_out(reads: bool) -> None:
    rules = policy(
        [category(PromptGroup(texts=("a gun",), vectors=X[np.newaxis]))], group(Y), logit_scale=20.0
    )
    target = Target(
        category="weapons",
        direction=Direction.TRIGGERS,
        word="gun",
        views=tuple((number, 0) for number in range(10)),
    )
    words = ("gun", *nonsense("gun", count=typography.CONTROLS, seed=0))
    eye = Eye(reads="gun" if reads else "", as_if=X, words=words)
    views = {(number, 0): np.full((64, 64, 3), 60 + number, dtype=np.uint8) for number in range(10)}
    found = typography.steer(rules, target, views, eye)
    assert [round(one.size, 2) for one in found] == [0.1, 0.2, 0.35]
    for one in found:
        assert (one.category, one.word, one.pictures) == ("weapons", "gun", 10)
        assert one.steers is reads
        assert (one.flipped.value == 1.0) is reads
        assert one.control_flipped == 0.0
        assert len(one.control_shifts) == typography.CONTROLS


def test_targets_are_what_the_policy_judges_rightly_now() -> None:
    flagged = rows(20, centre=X, spread=0.05, seed=1)
    clear = rows(30, centre=Y, spread=0.05, seed=2)
    answers = [1] * 18 + [0] * 2 + [0] * 28 + [1] * 2
    found = typography.choose_targets(
        _rules(), labelled(np.concatenate([flagged, clear]), weapons=answers)
    )
    by_direction = {one.direction: one for one in found}
    hidden = {picture for picture, _ in by_direction[Direction.HIDES].views}
    triggered = {picture for picture, _ in by_direction[Direction.TRIGGERS].views}
    assert hidden == set(range(18))
    assert triggered <= set(range(20, 48))
    assert len(triggered) == typography.MOST_PICTURES
    assert by_direction[Direction.TRIGGERS].word == "prompt 0"


def test_too_few_pictures_are_no_target() -> None:
    few = rows(typography.LEAST_PICTURES - 1, centre=X, spread=0.01, seed=1)
    assert typography.choose_targets(_rules(), labelled(few, weapons=[1] * len(few))) == ()


def test_words_are_those_that_help_their_side() -> None:
    one = category(
        PromptGroup(texts=("a machine gun", "the gun"), vectors=np.stack([X, Y])),
        counter_prompts=PromptGroup(texts=("a toy gun",), vectors=Z[np.newaxis]),
    )
    rules = policy([one], group(Y))
    assert typography.word_for(rules, one, Direction.TRIGGERS) == "gun"
    assert typography.word_for(rules, one, Direction.HIDES) == "toy gun"
    bare = dataclasses.replace(one, counter_prompts=group())
    assert typography.word_for(rules, bare, Direction.HIDES) == "prompt 0"


# --- which view decides ------------------------------------------------------------------------


def test_the_deciding_view_is_each_pictures_highest() -> None:
    seen = dataclasses.replace(
        labelled(np.stack([X, Y, Z]), weapons=[0, 1, 0]),
        files=("a", "b"),
        image_of=np.array([0, 0, 1]),
    )
    assert deciding_views(np.array([1.0, 3.0, 2.0]), seen).tolist() == [1, 2]


def test_reached_is_the_categorys_own_threshold() -> None:
    by_logit = Thresholds(review_at=Threshold(value=0.0, scale=Scale.LOGIT))
    one = category(group(X), thresholds=by_logit)
    rules = policy([one], group(Y), logit_scale=10.0)
    seen = np.stack([unit(1, 1, 0), unit(1, 1.1, 0), unit(1.1, 1, 0)])
    assert reached(rules, one, seen).tolist() == [True, False, True]
    none = dataclasses.replace(one, thresholds=Thresholds(review_at=None))
    with pytest.raises(ValueError, match="no review_at"):
        reached(rules, none, seen)


# --- in the report ---------------------------------------------------------------------------


def _diagnosis(word: str) -> Diagnosis:
    half = Figure(value=0.5, low=0.4, high=0.6)
    pictures = composition.OnPictures(
        category="weapons", auc=half, changed_auc=half, difference=half
    )
    changed = composition.Composition(
        kind="negated", prompts=3, example=(word, f"no {word}"), distance=0.1, reach=2.0,
        pictures=(pictures,),
    )  # fmt: skip
    printed = typography.Steered(
        category="weapons", direction=Direction.HIDES, word=word, size=0.2, pictures=9,
        shift=half, control_shifts=(0.1, 0.2), flipped=half, control_flipped=0.25,
    )  # fmt: skip
    gap = attributes.AttributeGap(
        category="weapons", pair=Pair(id="x", first=word, second="others"), effect=-0.9,
        log_odds=-1.5, p=0.0004,
    )  # fmt: skip
    return Diagnosis(
        composition=(changed,),
        printed=(printed,),
        attributes=(gap,),
        neutral=domain.NeutralFit(
            pictures=4, nearest=((word, 4), ("never", 0)), farthest=((f"{word}.png", 0.1),)
        ),
        gap=domain.DomainGap(
            pictures=4,
            references=5,
            tested=EnergyDistance(value=0.4, p=0.001, null_high=0.1),
            flagged=(domain.FlaggedShare(category="weapons", ordinary=half, reference=half),),
        ),
    )


def test_every_diagnosis_is_a_section_in_words_numbers_and_html() -> None:
    found = {one.id: one for one in sections(_diagnosis("gun"))}
    assert list(found) == [
        "diagnosis_composition",
        "diagnosis_printed_words",
        "diagnosis_attributes",
        "diagnosis_domain",
    ]
    assert "the change is hardly read" in found["diagnosis_composition"].text
    assert "Covering alone hides" in found["diagnosis_printed_words"].text
    assert "weapons   others" in found["diagnosis_attributes"].text  # the nearer side first
    assert "<0.001" in found["diagnosis_attributes"].text
    assert "different collections" in found["diagnosis_domain"].text
    assert "“never”" in found["diagnosis_domain"].text
    for one in found.values():
        assert json.loads(json.dumps(one.data, allow_nan=False))
        assert one.html().count("<table>") == 1
        assert one.html().count('<div class="scroll">') == 1
    assert '<td class="text">weapons</td>' in found["diagnosis_printed_words"].html()
    assert found["diagnosis_composition"].data[0]["is_not_read"] is True
    assert found["diagnosis_domain"].data["neutral"]["unused"] == ["never"]


def test_words_from_outside_are_escaped_in_html() -> None:
    for one in sections(_diagnosis("<script>alert(1)</script>")):
        assert "<script" not in one.html()


def test_a_shared_lean_is_blamed_on_the_neutral_prompts() -> None:
    pair = Pair(id="x", first="these", second="those")
    gaps = tuple(
        attributes.AttributeGap(category=name, pair=pair, effect=1.0, log_odds=2.0, p=0.01)
        for name in ("weapons", "drugs")
    )
    apart = (gaps[0], dataclasses.replace(gaps[1], effect=-1.0))
    for found, shared in ((gaps, True), (apart, False)):
        told = sections(dataclasses.replace(_diagnosis("a"), attributes=found))[2].text
        assert ("Every category leans towards “these”" in told) is shared


def test_reading_is_claimed_only_beyond_chance() -> None:
    (one,) = _diagnosis("gun").printed
    reads = dataclasses.replace(one, shift=Figure(value=-2.0, low=-3, high=-1))
    for rows, told in (([one] * 10, "no sign of reading"), ([reads] * 10, "seems to read")):
        text = sections(dataclasses.replace(_diagnosis("gun"), printed=tuple(rows)))[1].text
        assert told in " ".join(text.split())


def test_the_command_adds_the_diagnoses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the demo's pictures: through the real decoder and encoder, a reference folder included."""
    reference = tmp_path / "uploads"
    (reference / "deep").mkdir(parents=True)
    for name in ("photo_cat.jpg", "weapons_bomb.png"):
        shutil.copy(DEMO_IMAGES / name, reference / "deep" / name)
    (reference / "notes.txt").write_text("no picture")
    out = tmp_path / "e.json"
    given = ["--labels", str(DEMO_IMAGES / "labels.csv"), "--images", str(DEMO_IMAGES)]
    run = [*given, "--no-cache", "--bootstrap", "100", "--diagnose"]
    assert main(["evaluate", *run, "--reference", str(reference), "--json", str(out)]) == 0
    told = capsys.readouterr().out
    assert "Does the model read prompts as sentences?" in told
    assert "Do printed words steer the scores?" in told
    data = json.loads(out.read_text())
    assert data["diagnosis_domain"]["reference"]["references"] == 2
    assert {one["pictures"] for one in data["diagnosis_printed_words"]} <= set(range(1, 25))
    assert len(data["diagnosis_printed_words"]) >= 6
    assert len(data["diagnosis_attributes"]) == 36


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--reference", "{tmp}"], "--reference needs --diagnose"),
        (["--diagnose", "--reference", "{tmp}/no"], "--reference: there is no folder"),
        (["--diagnose", "--reference", "{tmp}"], "holds no picture"),
    ],
)
def test_a_reference_that_is_none_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("file,category\nphoto_cat.jpg,\n")
    given = ["--labels", str(labels), "--images", str(DEMO_IMAGES), "--no-cache"]
    asked = [part.format(tmp=tmp_path) for part in arguments]
    assert main(["evaluate", *given, "--bootstrap", "100", *asked]) == 1
    assert told in capsys.readouterr().err
