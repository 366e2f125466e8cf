"""The small ViT that flips are measured on: its texts are the demo's, its pictures as uploaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imagesieve_server.demo_data import DEMO_BUNDLE
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.manifest import TEXT_ENCODER

TEXTS = ["a weapon", "a picture of a wine glass", "skull and crossbones"]


@pytest.mark.torch
def test_its_text_tower_gives_the_vectors_of_the_demo_bundle(tmp_path: Path) -> None:
    import onnxruntime
    import torch
    from benchmarks.small_vit import towers

    model = towers.build_model(1, DEMO_BUNDLE / TEXT_ENCODER).eval()
    tokens = towers.tokenizer(tmp_path)(TEXTS)
    with torch.no_grad():
        found = model.encode_text(tokens, normalize=True).numpy()
    session = onnxruntime.InferenceSession(
        DEMO_BUNDLE / TEXT_ENCODER, providers=["CPUExecutionProvider"]
    )
    (expected,) = session.run(None, {session.get_inputs()[0].name: tokens.numpy()})
    assert found.shape == (len(TEXTS), load_bundle(DEMO_BUNDLE).manifest.embedding_size)
    assert np.abs(found - expected).max() < 1e-4
    trained = [name for name, one in model.named_parameters() if one.requires_grad]
    assert {name.partition(".")[0] for name in trained} == {"visual", "logit_scale"}


def test_an_upload_changes_pictures_a_little_and_the_same_way_for_one_seed() -> None:
    from benchmarks.small_vit.deployed import as_uploaded

    across = np.linspace(20, 230, 64, dtype=np.float32)
    picture = np.broadcast_to(across[:, None], (64, 64, 3)).astype(np.uint8)
    pictures = np.broadcast_to(picture, (40, 64, 64, 3))
    changed = as_uploaded(pictures, 3)
    assert changed.shape == pictures.shape
    assert changed.dtype == np.uint8
    assert np.array_equal(changed, as_uploaded(pictures, 3))
    assert not np.array_equal(changed, as_uploaded(pictures, 4))
    apart = np.abs(changed.astype(int) - pictures).mean(axis=(1, 2, 3))
    assert 0 < apart.max() < 12
    assert len(np.unique(apart.round(3))) > 20  # each by a way of its own
