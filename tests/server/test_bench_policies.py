"""What the servers that are measured compare pictures with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagesieve_server.commands.bench.policies import measured, write_policies
from imagesieve_server.core.policy import Method, Mode
from imagesieve_server.core.views import Coverage
from imagesieve_server.demo_data import DEMO_BUNDLE
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.manifest import Activation
from imagesieve_server.policy_files import compiled
from imagesieve_server.policy_files.source import parse_policy
from imagesieve_server.starter_policies import STARTERS

METHODS = {Activation.SOFTMAX: Method.CONTRAST, Activation.SIGMOID: Method.SIGMOID}


@pytest.mark.parametrize("activation", Activation)
def test_the_policy_is_the_starter_of_the_models_kind(activation: Activation) -> None:
    """Else a model of the other kind could not be measured at all."""
    found = parse_policy(json.dumps(measured(activation, Coverage.TILES)), file="measured")
    starters = [parse_policy(path.read_text(), file=path.name) for path in STARTERS]
    (starter,) = (s for s in starters if s.categories[0].method is METHODS[activation])
    assert found.prompt_texts() == starter.prompt_texts()
    assert {one.mode for one in found.categories} == {Mode.OBSERVE}  # so nothing is flagged


def test_there_is_one_for_each_coverage_with_all_prompts(tmp_path: Path) -> None:
    bundle = load_bundle(DEMO_BUNDLE)
    folder = write_policies(tmp_path, bundle)
    policies = {path.name: compiled.read(path).policy for path in folder.iterdir()}
    assert set(policies) == {f"{one.value}.policy.npz" for one in Coverage}
    for policy in policies.values():
        assert sum(len(family.vectors) for family in policy.families) > 200
    assert write_policies(tmp_path, bundle) == folder
