"""A calibration belongs to one model and one set of prompts; another is a warning."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from imagesieve_server.core.calibration import Platt
from imagesieve_server.core.policy import Probe
from imagesieve_server.policy_files import compiled
from imagesieve_server.policy_files.fitted_on import fitted_on
from imagesieve_server.policy_files.source import parse_policy

YAML = """\
name: demo
templates: ["{}", "a photo of {}"]
neutral: [a cat, a dog]
categories:
  - id: weapons
    severity: 3
    prompts: [a gun, a sword]
    counter_prompts: [a spoon]
    review_at: 0.6
"""
MODEL = "f" * 64


def digest(text: str = YAML, model: str = MODEL) -> str:
    source = parse_policy(text, file="f")
    return fitted_on(source, source.categories[0], model_fingerprint=model)


def build(text: str, model: str = MODEL) -> compiled.CompiledPolicy:
    source = parse_policy(text, file="f")
    rows = np.eye(9, dtype=np.float32)
    data = compiled.build(
        source=source,
        file="f",
        model_fingerprint=model,
        logit_scale=100.0,
        logit_bias=0.0,
        vectors=dict(zip(source.prompt_texts(), rows, strict=False)),
    )
    return compiled.parse(data, file="f")


def calibrated(fitted: str) -> str:
    return (
        f'{YAML}    calibration: {{method: platt, slope: 1, intercept: 0, fitted_on: "{fitted}"}}\n'
    )


def test_a_calibration_of_these_prompts_and_this_model_is_taken_silently() -> None:
    found = build(calibrated(digest()))
    assert found.warnings == ()
    assert found.policy.categories[0].calibration == Platt(slope=1.0, intercept=0.0)
    assert build(YAML).policy.categories[0].calibration is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a sword", "a knife"),
        ("[a spoon]", "[a spoon, a fork]"),
        ("a dog", "a horse"),
        ("a photo of {}", "a picture of {}"),
        ("severity: 3", "severity: 3\n    pooling: logmeanexp"),
        ("name: demo", "name: demo\ncoverage: centre"),
        ("name: demo", "name: demo\nmax_views: 8"),
    ],
)
def test_whatever_changes_the_scores_makes_it_stale(old: str, new: str) -> None:
    assert YAML.count(old) == 1
    found = build(calibrated(digest()).replace(old, new))
    assert "'weapons': prompts, model or views have changed" in found.warnings[0]
    assert found.policy.categories[0].calibration is not None


def test_another_model_makes_it_stale() -> None:
    assert len(build(calibrated(digest()), model="0" * 64).warnings) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[a gun, a sword]", "[a sword, a gun]"),
        ("[a cat, a dog]", "[a dog, a cat]"),
        ("review_at: 0.6", "review_at: 0.7"),
        ("severity: 3", "severity: 1\n    mode: observe\n    title: W"),
    ],
)
def test_what_changes_no_score_leaves_it_fitting(old: str, new: str) -> None:
    assert build(calibrated(digest()).replace(old, new)).warnings == ()


def test_without_a_digest_nothing_is_checked() -> None:
    text = calibrated("").replace(', fitted_on: ""', "")
    assert build(text, model="0" * 64).warnings == ()


def test_a_probes_weights_are_what_it_was_fitted_on() -> None:
    source = parse_policy(YAML, file="f")
    head = Probe(weights=np.ones(3, dtype=np.float32), bias=0.5)
    heads = (head, head, dataclasses.replace(head, bias=0.25))
    found = [
        fitted_on(source, source.categories[0], model_fingerprint=MODEL, probe=each)
        for each in heads
    ]
    assert found[0] == found[1] != found[2]
