"""Probes: the highest view is trained, folds do not leak, the file says what was measured."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.made_sets import made_set
from helpers.picture_pairs import draw_picture
from imagesieve_server.commands import main
from imagesieve_server.core.policy import Method
from imagesieve_server.offline.measures.bootstrap import Resampling
from imagesieve_server.offline.measures.quality import auc
from imagesieve_server.offline.probes.examples import examples_of
from imagesieve_server.offline.probes.folds import (
    STRENGTHS,
    Examples,
    choose_strength,
    held_out_log_odds,
    learn,
)
from imagesieve_server.offline.probes.head import Bags, balanced_loss, fit
from imagesieve_server.offline.probes.learn import learn_probe
from imagesieve_server.policy_files import compiled
from imagesieve_server.policy_files.probe_file import read_probe, write_probe
from imagesieve_server.policy_files.source import CategorySource, parse_policy

pytestmark = pytest.mark.evaluate

QUICK = Resampling(count=100)


def answers(yes: int, no: int) -> np.ndarray:
    found = np.array([1] * yes + [0] * no)
    np.random.default_rng(9).shuffle(found)
    return found


def bags_of(positive: np.ndarray, **how: Any) -> Bags:
    labelled = made_set(positive, **how)
    return Bags(
        vectors=labelled.embeddings.astype(np.float64),
        picture_of=labelled.image_of,
        positive=positive == 1,
    )


def auc_of(log_odds: np.ndarray, positive: np.ndarray) -> float:
    return auc(log_odds[positive], log_odds[~positive])


def category_of(review_at: str = "0.6") -> CategorySource:
    text = (
        "name: p\nneutral: [a room]\ncategories:\n"
        f"  - {{id: weapons, severity: 1, prompts: [a gun], review_at: {review_at}}}\n"
    )
    return parse_policy(text, file="p.yaml").categories[0]


def test_the_highest_view_is_what_is_trained() -> None:
    """One of five views of a positive shows it; a head for all views alike would not know which."""
    trained = bags_of(answers(100, 300), views=5, signal=6.0, seed=1)
    fresh = bags_of(answers(200, 600), views=5, signal=6.0, seed=2)
    head = fit(trained, strength=0.1)
    right = auc_of(head.of_pictures(fresh), fresh.positive)
    labels = np.repeat(trained.positive, 5)
    alike = Bags(vectors=trained.vectors, picture_of=np.arange(len(labels)), positive=labels)
    wrong = auc_of(fit(alike, strength=0.1).of_pictures(fresh), fresh.positive)
    assert right > 0.97
    assert right > wrong + 0.01
    shown = fresh.vectors[:, 0].reshape(-1, 5).argmax(axis=1)[fresh.positive]
    found = head.of_views(fresh).reshape(-1, 5).argmax(axis=1)[fresh.positive]
    assert np.mean(shown == found) > 0.9


def test_a_picture_more_of_one_kind_does_not_move_the_odds() -> None:
    """Each kind weighs the same in sum: every negative twice gives the same head."""
    bags = bags_of(answers(80, 160))
    twice = np.concatenate([np.arange(240), np.flatnonzero(~bags.positive)])
    more = Bags(
        vectors=bags.vectors[twice],
        picture_of=np.arange(len(twice)),
        positive=bags.positive[twice],
    )
    # The penalty is per picture: 400 of them instead of 240.
    first, second = fit(bags, strength=0.1), fit(more, strength=0.1 * 400 / 240)
    assert np.allclose(first.weights, second.weights, atol=1e-2)
    assert first.bias == pytest.approx(second.bias, abs=1e-2)


def test_a_stronger_penalty_gives_a_shorter_head() -> None:
    bags = bags_of(answers(60, 120))
    lengths = [float(np.linalg.norm(fit(bags, strength=s).weights)) for s in STRENGTHS]
    assert lengths == sorted(lengths)


def test_the_strength_with_the_least_loss_is_chosen() -> None:
    """Without a signal the strongest; with a plain one a weaker."""
    noise = bags_of(answers(60, 120), signal=0.0)
    plain = bags_of(answers(200, 400), signal=8.0)
    strengths = [
        choose_strength(Examples(bags=b, groups=np.arange(len(b))), seed=1) for b in (noise, plain)
    ]
    assert strengths[0] == STRENGTHS[0]
    assert strengths[1] < strengths[0]


def test_nothing_is_found_in_noise_even_where_pictures_stand_twice() -> None:
    """Copies in two folds would be known by heart; as one group they are not."""
    once = bags_of(answers(60, 120), signal=0.0, seed=4)
    twice = Bags(
        vectors=np.tile(once.vectors, (2, 1)),
        picture_of=np.arange(360),
        positive=np.tile(once.positive, 2),
    )
    together = Examples(bags=twice, groups=np.tile(np.arange(180), 2))
    apart = Examples(bags=twice, groups=np.arange(360))
    found = {
        name: auc_of(held_out_log_odds(one, folds=5, seed=1), twice.positive)
        for name, one in (("together", together), ("apart", apart))
    }
    assert 0.3 < found["together"] < 0.65
    assert found["apart"] > found["together"] + 0.1


def test_the_balanced_loss_by_hand() -> None:
    positive = np.array([True, False, False, False])
    assert balanced_loss(np.zeros(4), positive) == pytest.approx(np.log(2))
    sure = np.array([50.0, -50.0, -50.0, 50.0])
    assert balanced_loss(sure, positive) == pytest.approx(50 / 3 / 2)


def test_what_is_measured_travels_with_the_probe(tmp_path: Path) -> None:
    chosen = examples_of(made_set(answers(80, 200), views=2, signal=6.0), "weapons")
    useless = np.random.default_rng(3).normal(size=280)
    learned = learn_probe(chosen, category_of(), useless, resampling=QUICK)
    assert learned.gain is not None
    assert learned.prompts is not None
    assert learned.probe["auc"].value > 0.9
    assert learned.prompts["auc"].value < 0.7
    assert learned.gain["auc"].low > 0.1
    path = tmp_path / "w.probe.json"
    write_probe(path, learned.file(model_fingerprint="f" * 64, facts={"category": "weapons"}))
    found = read_probe(path)
    assert np.array_equal(found.probe.weights, learned.head.weights)
    assert found.probe.bias == learned.head.bias
    assert found.evaluation["held_out"]["auc"][0] == round(learned.probe["auc"].value, 4)
    assert (found.evaluation["positives"], found.evaluation["negatives"]) == (80, 200)
    again = learn_probe(chosen, category_of(), useless, resampling=QUICK)
    assert json.dumps(again.as_json()) == json.dumps(learned.as_json())
    assert np.array_equal(again.head.weights, learned.head.weights)


def test_the_head_is_of_all_pictures_and_its_log_odds_are_the_servers() -> None:
    chosen = examples_of(made_set(answers(80, 200), signal=6.0), "weapons")
    learned = learn_probe(chosen, category_of(), None, resampling=QUICK)
    head, strength = learn(chosen.examples, seed=1)
    assert learned.strength == strength
    assert (learned.prompts, learned.gain) == (None, None)
    vectors = chosen.examples.bags.vectors
    served = vectors @ learned.head.weights.astype(np.float64) + learned.head.bias
    assert np.allclose(served, head.of_views(chosen.examples.bags), atol=1e-5)


@pytest.mark.parametrize(
    ("review_at", "theirs", "flagged"),
    [("{logit: 1.5}", 10, 2), ("{logit: 1.5}", 1, 1), ("{logit: 99}", 10, 2), ("0.88", 1, 1)],
)
def test_the_threshold_flags_no_more_ordinary_pictures_than_the_prompts_or_one_in_a_hundred(
    review_at: str, theirs: int, flagged: int
) -> None:
    chosen = examples_of(made_set(answers(80, 200), signal=6.0), "weapons")
    prompts = np.zeros(280)
    prompts[np.flatnonzero(~chosen.examples.bags.positive)[:theirs]] = 2.0  # a score of .881
    learned = learn_probe(chosen, category_of(review_at), prompts, resampling=QUICK)
    assert learned.false_alarms * 200 == pytest.approx(flagged)
    assert learned.recall > 0.5


# --- the command, over real pictures ----------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 red things and 120 others with labels.csv; and a policy that calls them weapons."""
    folder = tmp_path_factory.mktemp("pictures")
    chance = random.Random(7)
    rows = []
    for number in range(180):
        color = "red" if number % 3 == 0 else chance.choice(["green", "blue", "yellow"])
        draw_picture(color, chance.choice(["square", "disc", "bar"]), chance).save(
            folder / f"{number}.png"
        )
        rows.append((f"{number}.png", "weapons" if color == "red" else ""))
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "categories"), *rows])
    return folder


POLICY = """\
name: market
neutral: [a photograph]
categories:
  - id: weapons
    severity: 3
    # Red ones above all.
    prompts: [a dagger]
    review_at: 0.6
  - {id: smoking, severity: 1, prompts: [a cigarette], review_at: 0.5}
"""


def arguments(pictures: Path, policy: Path, *more: str) -> list[str]:
    labels = str(pictures / "labels.csv")
    return [
        "policy", "probe", "--policy", str(policy), "--category", "weapons", "--labels", labels,
        "--images", str(pictures), "--cache", str(pictures / "cache"), *more,
    ]  # fmt: skip


def test_from_labels_to_a_policy_that_compiles(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "market.yaml"
    policy.write_text(POLICY)
    assert main(arguments(pictures, policy)) == 0
    out = capsys.readouterr().out
    assert "weapons: 60 pictures show it, 120 do not" in out
    assert "the probe is better than the prompts beyond chance" in out
    assert "warning: the label file says nothing of where pictures come from" in out
    assert "not changed (--write puts the probe in)" in out
    assert policy.read_text() == POLICY
    first = (tmp_path / "weapons.probe.json").read_bytes()
    assert main(arguments(pictures, policy, "--write")) == 0
    assert (tmp_path / "weapons.probe.json").read_bytes() == first
    assert "    # Red ones above all.\n    # prompts: [a dagger]\n" in policy.read_text()
    assert "probe: weapons.probe.json" in capsys.readouterr().out
    assert main(["policy", "compile", str(policy)]) == 0
    category = compiled.read(tmp_path / "market.policy.npz").policy.categories[0]
    assert category.method is Method.PROBE
    assert category.probe is not None
    expected = read_probe(tmp_path / "weapons.probe.json").probe
    assert np.array_equal(category.probe.weights, expected.weights)
    # Once it is in the policy it can be learned again, without prompts to compare with.
    assert main(arguments(pictures, policy)) == 0
    assert "no prompts to compare with" in capsys.readouterr().out


def test_a_probe_of_another_folder_is_named_relative_to_the_policy(
    pictures: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policies" / "market.yaml"
    policy.parent.mkdir()
    policy.write_text(POLICY)
    out = tmp_path / "heads" / "w.json"
    out.parent.mkdir()
    assert main(arguments(pictures, policy, "--out", str(out), "--write")) == 0
    assert "probe: ../heads/w.json" in policy.read_text()
    assert main(["policy", "compile", str(policy)]) == 0


def test_what_is_wrong_is_said_before_any_picture_is_looked_at(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "market.yaml"
    policy.write_text(POLICY)
    found = arguments(pictures, policy)
    found[found.index("weapons")] = "wepons"
    assert main(found) == 1
    assert "has no category 'wepons'; it has weapons, smoking" in capsys.readouterr().err
    found[found.index("wepons")] = "smoking"  # written in one line, so --write cannot
    assert main([*found, "--write", "--images", str(tmp_path / "nowhere")]) == 1
    assert "cannot be edited" in capsys.readouterr().err
    assert main([*found]) == 1
    assert "at least 50 and 100" in capsys.readouterr().err
    assert main(arguments(pictures, policy, "--out", str(tmp_path / "no" / "w.json"))) == 1
    assert "cannot be written" in capsys.readouterr().err
