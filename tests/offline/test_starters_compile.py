"""The starter policies compile for the families that they are made for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagesieve_server.commands import main
from imagesieve_server.core.errors import PolicyError
from imagesieve_server.core.scoring import score_image
from imagesieve_server.core.views import View, ViewKind
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.offline.compile_policy import compile_policy, read_source
from imagesieve_server.offline.export.export_model import ExportRequest, export_bundle
from imagesieve_server.offline.export.load import RANDOM, ModelSource
from imagesieve_server.offline.export.measure import Plan
from imagesieve_server.starter_policies import STARTERS

pytestmark = [pytest.mark.torch, pytest.mark.timeout(600)]

CLIP, SIGLIP = STARTERS
QUICK = Plan(buckets=(1, 2), invariance_pictures=2, threads=1)

# ViT-B-32 with its own tokenizer and context length, but one narrow layer of each tower.
NARROW_CLIP: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": 32, "patch_size": 16, "width": 64, "head_width": 32, "layers": 1,
    },
    "text_cfg": {
        "context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("clip")
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": NARROW_CLIP, "preprocess_cfg": {}})
    )
    source = ModelSource(architecture=str(folder), pretrained=RANDOM, seed=1)
    return export_bundle(ExportRequest(source=source, out=folder / "bundle", plan=QUICK))


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """SigLIP's towers with its context length; its tokenizer is not to be had here."""
    from helpers import small_models

    folder = tmp_path_factory.mktemp("siglip") / "model"
    model = small_models.CONFIGS["siglip"]
    longer = {**model, "text_cfg": {**model["text_cfg"], "context_length": 64}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(small_models.CONFIGS, "siglip", longer)
        small_models.write_folder("siglip", folder)
    source = ModelSource(architecture=str(folder), pretrained=str(folder))
    return export_bundle(ExportRequest(source=source, out=folder / "bundle", plan=QUICK))


def test_clips_own_tokenizer_cuts_no_prompt_off(clip: Bundle) -> None:
    """Token for token what open_clip gives ViT-B-32, and the end token before the last place."""
    import open_clip

    source = read_source(CLIP)
    texts = [t.replace("{}", p) for t in source.templates for p in source.prompt_texts()]
    tokens = OnnxTextEncoder(bundle=clip, threads=1).tokenizer(texts)
    assert (tokens == open_clip.get_tokenizer("ViT-B-32")(texts).numpy()).all()
    assert tokens.shape[1] == 77
    assert (tokens[:, -1] == 0).all()
    assert (tokens != 0).sum(axis=1).max() < 40


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_a_starter_compiles_and_scores(
    family: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bundle: Bundle = request.getfixturevalue(family)
    path = CLIP if family == "clip" else SIGLIP
    encode = OnnxTextEncoder(bundle=bundle, threads=1).encode
    result = compile_policy(
        source_path=path, bundle=bundle, encode_texts=encode, out=tmp_path / "p.policy.npz"
    )
    assert result.warnings == ()
    view = View(kind=ViewKind.STILL, box=(0, 0, 8, 8))
    scored = score_image(
        policy=result.policy,
        categories=result.policy.categories,
        embeddings=bundle.canary.embeddings[:1],
        views=[view],
    )
    assert scored.valid
    assert len(scored.scores) == 7
    assert np.isfinite([score.margin for score in scored.scores]).all()


def test_the_wrong_family_is_refused_by_name(
    clip: Bundle, siglip: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, bundle, wants in ((CLIP, siglip, "softmax"), (SIGLIP, clip, "sigmoid")):
        encode = OnnxTextEncoder(bundle=bundle, threads=1).encode
        with pytest.raises(PolicyError, match=f"needs a {wants} model"):
            compile_policy(
                source_path=path, bundle=bundle, encode_texts=encode, out=tmp_path / "x.policy.npz"
            )
    out = str(tmp_path / "y.policy.npz")
    assert main(["policy", "compile", str(CLIP), "--model", str(clip.folder), "--out", out]) == 0
    assert "nothing is flagged for its content" in capsys.readouterr().out
