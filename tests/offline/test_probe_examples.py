"""What a probe is learned from, and how it is put into a policy: no scikit-learn needed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from helpers.made_sets import made_set
from imagesieve_server.core.errors import BundleError, LabelsError, PolicyError, TooFewLabels
from imagesieve_server.core.policy import Method, Scale, Threshold
from imagesieve_server.demo_data import DEMO_BUNDLE, DEMO_POLICY_SOURCE
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.offline.compile_policy import compile_in_memory
from imagesieve_server.offline.labelled.labelled_set import LabelledSet, image_logits
from imagesieve_server.offline.probes.edit_policy import with_probe
from imagesieve_server.offline.probes.examples import (
    LEAST_NEGATIVE,
    LEAST_POSITIVE,
    examples_of,
)
from imagesieve_server.offline.probes.head import Bags
from imagesieve_server.offline.probes.zero_shot import prompt_log_odds
from imagesieve_server.policy_files.source import parse_policy

AT = Threshold(value=1.25, scale=Scale.LOGIT)


def answers(yes: int, no: int, unsaid: int = 0) -> np.ndarray:
    return np.array([1] * yes + [0] * no + [-1] * unsaid)


def enough(**more: object) -> LabelledSet:
    return dataclasses.replace(made_set(answers(60, 120)), **more)  # type: ignore[arg-type]


def test_only_pictures_of_which_somebody_spoke_are_examples() -> None:
    labelled = made_set(answers(60, 120, 7), views=2)
    chosen = examples_of(labelled, "weapons")
    assert (chosen.positives, chosen.negatives, chosen.unsaid) == (60, 120, 7)
    bags = chosen.examples.bags
    assert bags.vectors.shape == (360, 16)
    assert bags.picture_of.tolist() == np.repeat(np.arange(180), 2).tolist()
    turned = dataclasses.replace(labelled, labels={"weapons": labelled.labels["weapons"][::-1]})
    bags = examples_of(turned, "weapons").examples.bags
    assert np.array_equal(bags.vectors, labelled.embeddings[14:].astype(np.float64))


@pytest.mark.parametrize(
    ("yes", "no"), [(LEAST_POSITIVE - 1, 500), (500, LEAST_NEGATIVE - 1), (200, 0), (0, 200)]
)
def test_too_few_of_either_kind_is_refused_with_the_number_needed(yes: int, no: int) -> None:
    message = (
        rf"{yes or 'no'} different pictures? labelled as with 'weapons' and {no} as without; "
        ".* at least 50 and 100"
    )
    with pytest.raises(TooFewLabels, match=message):
        examples_of(made_set(answers(yes, no)), "weapons")
    examples_of(made_set(answers(LEAST_POSITIVE, LEAST_NEGATIVE)), "weapons")


def test_copies_and_groups_count_once() -> None:
    labelled = enough()
    same = (labelled.sha256[0],) * 20 + labelled.sha256[20:]
    with pytest.raises(TooFewLabels, match="41 different pictures"):
        examples_of(dataclasses.replace(labelled, sha256=same), "weapons")
    burst = enough(columns={"burst": ("b1",) * 30 + ("",) * 150})
    with pytest.raises(TooFewLabels, match="31 different pictures"):
        examples_of(burst, "weapons", group="burst")
    assert examples_of(burst, "weapons").positives == 60
    with pytest.raises(LabelsError, match="not a column to group by"):
        examples_of(burst, "weapons", group="brust")


def test_the_same_bytes_with_two_answers_are_refused_by_name() -> None:
    labelled = enough()
    sha256 = (*labelled.sha256[:100], labelled.sha256[3], *labelled.sha256[101:])
    with pytest.raises(LabelsError, match=r"'3.png' and '100.png' are the same bytes"):
        examples_of(dataclasses.replace(labelled, sha256=sha256), "weapons")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 2.0])
def test_an_embedding_that_is_no_unit_vector_is_refused_by_name(wrong: float) -> None:
    labelled = enough()
    embeddings = labelled.embeddings.copy()
    embeddings[17, 3] = wrong
    with pytest.raises(BundleError, match=r"1 views no finite unit embedding, .*'17.png'"):
        examples_of(dataclasses.replace(labelled, embeddings=embeddings), "weapons")


def test_warnings_where_a_column_gives_the_kind_away() -> None:
    def warned(column: tuple[str, ...]) -> tuple[str, ...]:
        return examples_of(enough(columns={"source": column}), "weapons").warnings

    (apart,) = warned(("web",) * 60 + ("shop",) * 120)
    assert "no value of column 'source' stands both with 'weapons' and without" in apart
    (one,) = warned(("web", "shop") * 30 + ("shop",) * 120)
    assert "every picture without 'weapons' has source 'shop'" in one
    assert warned(("web", "shop") * 90) == ()
    assert warned(tuple(map(str, range(180)))) == ()  # an id
    (nothing,) = examples_of(enough(columns={}), "weapons").warnings
    assert "says nothing of where pictures come from" in nothing


def test_some_pictures_of_bags() -> None:
    bags = Bags(
        vectors=np.arange(6.0)[:, None],
        picture_of=np.array([0, 0, 1, 2, 2, 2]),
        positive=np.array([True, False, True]),
    )
    assert bags.starts.tolist() == [0, 2, 3]
    part = bags.some(np.array([True, False, True]))
    assert part.vectors[:, 0].tolist() == [0, 1, 3, 4, 5]
    assert (part.picture_of.tolist(), part.positive.tolist()) == ([0, 0, 1, 1, 1], [True, True])


def test_the_prompts_say_what_the_compiled_policy_says() -> None:
    bundle = load_bundle(DEMO_BUNDLE)
    encode = OnnxTextEncoder(bundle=bundle, threads=1).encode
    policy = compile_in_memory(
        source_path=DEMO_POLICY_SOURCE, bundle=bundle, encode_texts=encode
    ).policy
    source = parse_policy(policy.source, file="demo.yaml")
    generator = np.random.default_rng(5)
    rows = generator.normal(size=(30, bundle.manifest.embedding_size))
    labelled = dataclasses.replace(
        made_set(answers(10, 5), views=2),
        embeddings=(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32),
        model_fingerprint=bundle.fingerprint,
    )
    bags = Bags(
        vectors=labelled.embeddings.astype(np.float64),
        picture_of=labelled.image_of,
        positive=labelled.labels["weapons"] == 1,
    )
    expected = image_logits(policy, labelled)
    for category in source.categories[:2]:
        found = prompt_log_odds(source, category, bags, bundle=bundle, encode_texts=encode)
        assert np.array_equal(found, expected[category.id])
    probe = dataclasses.replace(source.categories[0], method=Method.PROBE)
    assert prompt_log_odds(source, probe, bags, bundle=bundle, encode_texts=encode) is None


POLICY = """\
# Ours.
name: market
neutral: [a room, a street]
categories:
  - id: weapons   # since spring
    severity: 3
    prompts:
      - a handgun

      # the ones in films
      - a rifle
    counter_prompts: [a toy,
      a drill]
    review_at: 0.60
    block_at: 0.9   # dear
    views: {tile: {review_at: 0.7}}
    calibration: {method: platt, slope: 1.0, intercept: 0.0}
  # The next is Anna's.
  - {id: drugs, severity: 2, prompts: [a pill], review_at: 0.5}
  - prompts: [a cigar]
    id: smoking
    severity: 1
    review_at: 0.5
"""


def put(text: str, category: str = "weapons") -> str:
    return with_probe(text, category=category, probe="w.probe.json", review_at=AT, file="m.yaml")


def test_a_probe_is_put_in_and_the_prompts_stay_as_comments() -> None:
    new = put(POLICY)
    expected = """\
  - id: weapons   # since spring
    method: probe
    probe: w.probe.json
    severity: 3
    # prompts:
    #   - a handgun

    #   # the ones in films
    #   - a rifle
    # counter_prompts: [a toy,
    #   a drill]
    review_at: {logit: 1.25}
    # block_at: 0.9   # dear
    # views: {tile: {review_at: 0.7}}
    # calibration: {method: platt, slope: 1.0, intercept: 0.0}
  # The next is Anna's.
"""
    assert expected in new
    assert new.startswith(POLICY[: POLICY.index("  - id: weapons")])
    assert new.endswith(POLICY[POLICY.index("  # The next") :])
    category = parse_policy(new, file="m.yaml").categories[0]
    assert (category.method, category.probe) == (Method.PROBE, "w.probe.json")
    assert category.thresholds.review_at == AT
    assert put(new) == new  # once more changes nothing


def test_line_ends_and_a_missing_last_one_survive() -> None:
    old = POLICY.replace("\n", "\r\n")
    new = put(old)
    assert new.count("\n") == new.count("\r\n") == old.count("\r\n") + 2
    short = POLICY[: POLICY.index("    block_at")].rstrip("\n")
    assert put(short).endswith("    review_at: {logit: 1.25}")


@pytest.mark.parametrize("category", ["drugs", "smoking"])
def test_what_cannot_be_edited_by_lines_is_refused(category: str) -> None:
    with pytest.raises(PolicyError, match=r"m.yaml: category '\w+': cannot be edited .* by hand"):
        put(POLICY, category)


def test_an_anchor_that_others_use_is_refused() -> None:
    shared = POLICY.replace("    prompts:\n", "    prompts: &list\n").replace("[a cigar]", "*list")
    with pytest.raises(PolicyError, match="cannot be edited"):
        put(shared)
