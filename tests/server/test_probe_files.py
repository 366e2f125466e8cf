"""Probes: a linear head comes from a file into the artefact, or is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagesieve_server.core.errors import PolicyError
from imagesieve_server.core.policy import Probe
from imagesieve_server.core.scoring import score_image
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.offline.compile_policy import compile_policy
from imagesieve_server.policy_files import compiled
from imagesieve_server.policy_files.probe_file import ProbeFile, read_probe, write_probe
from imagesieve_server.policy_files.source import parse_policy
from tests.helpers.policies import still
from tests.helpers.tiny_bundle import write_tiny_bundle

YAML = """\
name: demo
neutral: [a cat]
categories:
  - {id: hats, severity: 1, method: probe, probe: hats.probe.json, review_at: 0.5}
"""
FINGERPRINT = "f" * 64


def probe_file(*weights: float, bias: float = 0.0, model: str = FINGERPRINT) -> ProbeFile:
    probe = Probe(weights=np.asarray(weights, dtype=np.float32), bias=bias)
    return ProbeFile(model_fingerprint=model, probe=probe, evaluation={"auc": 0.9})


def artefact(probe: ProbeFile | None, text: str = YAML) -> bytes:
    return compiled.build(
        source=parse_policy(text, file="demo.yaml"),
        file="demo.yaml",
        model_fingerprint=FINGERPRINT,
        logit_scale=100.0,
        logit_bias=0.0,
        vectors={"a cat": np.eye(3, dtype=np.float32)[0]},
        probes={} if probe is None else {"hats": probe},
    )


def test_a_file_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "hats.probe.json"
    wrote = probe_file(0.1, -3.25, 1e-30, bias=-0.3)
    write_probe(path, wrote)
    read = read_probe(path)
    assert np.array_equal(read.probe.weights, wrote.probe.weights)
    assert (read.probe.bias, read.model_fingerprint) == (-0.3, FINGERPRINT)
    assert read.evaluation == {"auc": 0.9}


def test_the_artefact_scores_with_the_probe_and_its_version_covers_it() -> None:
    policy = compiled.parse(artefact(probe_file(0.0, 2.0, 0.0, bias=-1.0)), file="x").policy
    row = np.asarray([[0.0, 1.0, 0.0]], dtype=np.float32)
    scored = score_image(policy=policy, categories=policy.categories, embeddings=row, views=still())
    assert scored.scores[0].log_odds == 1.0
    assert scored.scores[0].score == pytest.approx(1 / (1 + np.exp(-1.0)))
    other = compiled.parse(artefact(probe_file(0.0, 2.0, 0.0, bias=-2.0)), file="x").policy
    assert other.version != policy.version


def test_an_artefact_without_the_probe_or_with_one_of_another_size_is_refused() -> None:
    with pytest.raises(PolicyError, match="no probe for category 'hats'"):
        artefact(None)
    with pytest.raises(PolicyError, match="2 weights, but the model's embeddings have 3"):
        artefact(probe_file(1.0, 2.0))


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        ({"weights": []}, "weights", "list of finite"),
        ({"weights": [1.0, "2"]}, "weights", "finite number"),
        ({"weights": [True]}, "weights", "finite number"),
        ({"weights": [float("nan")]}, "weights", "finite number"),
        ({"weights": [1e39]}, "weights", "finite number"),
        ({"bias": None}, "bias", "not a finite number"),
        ({"evaluation": "good"}, "evaluation", "a mapping"),
        ({"model_fingerprint": 7}, "model_fingerprint", "must be text"),
        ({"wieghts": [1.0]}, "wieghts", "unknown key"),
        ({"format": 2}, "", "of format 1"),
    ],
)
def test_a_bad_file_names_the_field(
    tmp_path: Path, change: dict[str, Any], field: str, problem: str
) -> None:
    path = tmp_path / "hats.probe.json"
    write_probe(path, probe_file(1.0, 2.0, 3.0))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(PolicyError, match=problem) as raised:
        read_probe(path)
    assert (raised.value.file, raised.value.field or "") == (str(path), field)


@pytest.mark.parametrize(("content", "problem"), [("{", "not JSON"), ("[1]", "of format 1")])
def test_what_is_no_probe_is_refused(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "hats.probe.json"
    path.write_text(content)
    with pytest.raises(PolicyError, match=problem):
        read_probe(path)
    with pytest.raises(PolicyError, match="cannot be read"):
        read_probe(tmp_path / "missing.json")
    with pytest.raises(PolicyError, match="larger than"):
        _read_huge(path)


def _read_huge(path: Path) -> None:
    with path.open("wb") as out:
        out.truncate((4 << 20) + 1)
    read_probe(path)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_tiny_bundle(tmp_path / "bundle")


def test_compile_takes_the_file_beside_the_policy(tmp_path: Path, bundle: Bundle) -> None:
    source = tmp_path / "demo.yaml"
    source.write_text(YAML)
    size = bundle.manifest.embedding_size
    right = probe_file(*np.ones(size), model=bundle.fingerprint)
    write_probe(tmp_path / "hats.probe.json", right)
    row = np.zeros((1, size), dtype=np.float32)
    row[0, 0] = 1.0
    made = compile_policy(
        source_path=source,
        bundle=bundle,
        encode_texts=lambda texts: np.repeat(row, len(texts), axis=0),
        out=tmp_path / "demo.policy.npz",
    )
    probe = made.policy.categories[0].probe
    assert probe is not None
    assert np.array_equal(probe.weights, np.ones(size, dtype=np.float32))
    write_probe(tmp_path / "hats.probe.json", probe_file(*np.ones(size), model="0" * 64))
    before = made.path.read_bytes()
    with pytest.raises(PolicyError, match="embeddings of another model"):
        compile_policy(
            source_path=source,
            bundle=bundle,
            encode_texts=lambda texts: np.repeat(row, len(texts), axis=0),
            out=made.path,
        )
    assert made.path.read_bytes() == before
