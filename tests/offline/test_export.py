"""From open_clip to a bundle: every family, every precision, every way to bring weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagesieve_server.core.errors import BundleError
from imagesieve_server.encoders.bundle import Bundle, load_bundle
from imagesieve_server.encoders.manifest import (
    Activation,
    Precision,
    Storage,
    TokenizerKind,
    WeightSource,
)
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.offline.export.export_model import ExportRequest, export_bundle
from imagesieve_server.offline.export.load import ModelSource, load_model
from imagesieve_server.offline.export.measure import Plan
from imagesieve_server.offline.export.verify import Outcome, verify_bundle

pytestmark = [pytest.mark.torch, pytest.mark.timeout(600)]

FAMILIES = ("vit", "vit-quickgelu", "resnet", "siglip")
NAMED = "vit-quickgelu"  # exported with everything that only its manifest tells
QUICK = Plan(buckets=(1, 2), invariance_pictures=2, threads=1)
CPU = RuntimeOptions(provider=Provider.CPU, threads=1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A local folder of each family."""
    from helpers import small_models

    root = tmp_path_factory.mktemp("checkpoints")
    return {family: small_models.write_folder(family, root / family) for family in FAMILIES}


@pytest.fixture(scope="module")
def bundles(
    folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Bundle]:
    """Each family exported in fp32, once for all tests that only look at what came of it; siglip,
    being the largest, with the quick plan."""
    root = tmp_path_factory.mktemp("bundles")
    full = Plan(buckets=(1, 2, 4, 8), threads=1)
    said: dict[str, Any] = {
        "extra_files": {"MODEL_CARD.md": b"# A model\n"},
        "licence": "Apache-2.0",
        "attribution": ("someone",),
    }
    return {
        family: export_bundle(
            ExportRequest(
                source=from_folder(folder),
                out=root / family,
                plan=QUICK if family == "siglip" else full,
                **(said if family == NAMED else {}),
            )
        )
        for family, folder in folders.items()
    }


def from_folder(folder: Path) -> ModelSource:
    return ModelSource(architecture=str(folder), pretrained=str(folder))


@pytest.mark.parametrize("family", FAMILIES)
def test_fp32_is_the_torch_model(bundles: dict[str, Bundle], family: str) -> None:
    parity = bundles[family].manifest.parity
    assert parity is not None
    assert parity.pictures >= 12
    assert parity.relative_error <= 1e-3
    assert parity.delta_logit_p99 <= 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_do_not_depend_on_their_batch(bundles: dict[str, Bundle], family: str) -> None:
    invariance = bundles[family].manifest.invariance
    assert invariance is not None
    assert invariance.same_bits_within_bucket
    assert invariance.delta_logit_across_buckets <= 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_operators(bundles: dict[str, Bundle], family: str) -> None:
    """One fused attention node a block, no patch convolution, no shape arithmetic."""
    from helpers import small_models

    operators = bundles[family].manifest.operators
    assert operators["Attention"] == small_models.ATTENTION[family]
    assert operators["Shape"] == operators["Expand"] == operators["QuantizeLinear"] == 0
    assert (operators["Conv"] > 0) == (family == "resnet")


@pytest.mark.parametrize("family", FAMILIES)
def test_verify_passes_what_was_exported(bundles: dict[str, Bundle], family: str) -> None:
    checks = list(verify_bundle(bundles[family].folder, options=CPU, buckets=(1, 2)))
    assert [check.outcome for check in checks] == [Outcome.PASSED] * 4, checks


def test_what_the_manifest_says(bundles: dict[str, Bundle]) -> None:
    clip, siglip = bundles["vit"].manifest, bundles["siglip"].manifest
    assert clip.activation is Activation.SOFTMAX
    assert clip.logit_scale == pytest.approx(1 / 0.07)  # open_clip's start value, exponentiated
    assert (clip.logit_bias, clip.text.context_length) == (0.0, 24)
    assert clip.pretrained.source is WeightSource.CHECKPOINT
    assert clip.pretrained.sha256 is not None
    assert siglip.activation is Activation.SIGMOID
    assert (siglip.logit_bias, siglip.preprocessing.resize) == (-10.0, "squash")
    assert siglip.preprocessing.mean == (0.5, 0.5, 0.5)
    assert siglip.text.tokenizer is TokenizerKind.HUGGINGFACE


def test_no_path_of_this_machine_is_in_a_bundle(
    bundles: dict[str, Bundle], folders: dict[str, Path]
) -> None:
    import open_clip

    places = [str(folders["vit"].parent), str(Path(open_clip.__file__).parent.parent)]
    for bundle in bundles.values():
        for name in ("bundle.json", "image_encoder.onnx", "text_encoder.onnx", "tokenizer.json"):
            content = (bundle.folder / name).read_bytes()
            assert not [place for place in places if place.encode() in content]


def test_text_vectors_are_torchs(bundles: dict[str, Bundle], folders: dict[str, Path]) -> None:
    """Through open_clip's own tokenizer and model on one side, the bundle on the other."""
    import open_clip
    import torch

    folder = folders["resnet"]
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    tokenizer = open_clip.SimpleTokenizer(bpe_path=str(folder / "bpe.txt.gz"), context_length=24)
    texts = ["a photo of a cat", "A Handgun &amp; a knife", "", "very long " * 40]
    with torch.no_grad():
        expected = model.encode_text(tokenizer(texts), normalize=True).numpy()
    found = OnnxTextEncoder(bundle=bundles["resnet"], threads=1).encode(texts)
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_hugging_face_tokenizer_is_token_for_token(
    bundles: dict[str, Bundle], folders: dict[str, Path]
) -> None:
    """What open_clip's HFTokenizer asks of the fast tokenizer of the same folder."""
    from open_clip.tokenizer import get_clean_fn
    from tokenizers import Tokenizer

    theirs = Tokenizer.from_file(str(folders["siglip"] / "tokenizer.json"))
    end = theirs.token_to_id("</s>")
    theirs.enable_truncation(max_length=16)
    theirs.enable_padding(length=16, pad_id=end, pad_token="</s>")
    cleaned = get_clean_fn("canonicalize")
    texts = ["A photo, of a CAT!", "", "people " * 30, "a_plate of food &amp; more", "日本"]
    expected = [theirs.encode(cleaned(text)).ids for text in texts]
    found = OnnxTextEncoder(bundle=bundles["siglip"], threads=1).tokenizer(texts)
    assert found.tolist() == expected


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8])
def test_lower_precision_stays_near_and_independent(
    folders: dict[str, Path], tmp_path: Path, bundles: dict[str, Bundle], precision: Precision
) -> None:
    request = ExportRequest(
        source=from_folder(folders["vit"]),
        out=tmp_path / "lower",
        precision=precision,
        plan=Plan(buckets=(1, 2, 4, 8), threads=1),
    )
    bundle = export_bundle(request)
    manifest = bundle.manifest
    assert manifest.parity is not None
    assert manifest.invariance is not None
    assert manifest.parity.relative_error <= (0.05 if precision is Precision.FP16 else 0.2)
    assert manifest.invariance.delta_logit_across_buckets <= 0.1
    assert (manifest.operators["QuantizeLinear"] > 0) == (precision is Precision.INT8)
    assert (manifest.calibration_set is not None) == (precision is Precision.INT8)
    full = bundles["vit"].manifest.files["image_encoder.onnx"].bytes
    assert manifest.files["image_encoder.onnx"].bytes < 0.6 * full
    outcomes = [c.outcome for c in verify_bundle(bundle.folder, options=CPU, buckets=(1, 4))]
    assert outcomes == [Outcome.PASSED] * 4


def test_storage_in_half_precision_halves_the_files(
    folders: dict[str, Path], tmp_path: Path, bundles: dict[str, Bundle]
) -> None:
    source = from_folder(folders["vit"])
    small = export_bundle(
        ExportRequest(source=source, out=tmp_path / "small", storage=Storage.FP16, plan=QUICK)
    )
    for name in ("image_encoder.onnx", "text_encoder.onnx"):
        full = bundles["vit"].manifest.files[name].bytes
        assert small.manifest.files[name].bytes < 0.6 * full
    assert small.manifest.precision is Precision.FP32


def test_dynamic_int8_is_refused_by_verify(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    """By its operators; and by its rows, which differ with their neighbours."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from imagesieve_server.encoders import manifest as manifests
    from imagesieve_server.encoders.bundle import describe_file, read_manifest

    folder = tmp_path / "dynamic"
    shutil.copytree(bundles["vit"].folder, folder)
    graph = folder / manifests.IMAGE_ENCODER
    quantize_dynamic(
        graph,
        graph,
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
    value = json.loads((folder / manifests.MANIFEST_NAME).read_text())
    entry = describe_file(graph)
    value["files"][graph.name] = {"sha256": entry.sha256, "bytes": entry.bytes}
    value.update(precision="int8", calibration_set="claimed")
    (folder / manifests.MANIFEST_NAME).write_text(json.dumps(value))
    assert read_manifest(folder).precision is Precision.INT8
    checks = {c.name: c for c in verify_bundle(folder, options=CPU, buckets=(1, 2, 4))}
    assert checks["files"].outcome is Outcome.PASSED
    assert checks["operators"].outcome is Outcome.FAILED
    assert "quantised dynamically" in checks["operators"].detail
    assert checks["batch invariance"].outcome is Outcome.FAILED
    assert "depends on what else is in the batch" in checks["batch invariance"].detail


def test_the_same_export_twice_is_the_same_bundle(
    folders: dict[str, Path], tmp_path: Path, bundles: dict[str, Bundle]
) -> None:
    again = export_bundle(
        ExportRequest(
            source=from_folder(folders["vit"]),
            out=tmp_path / "again",
            plan=Plan(buckets=(1, 2, 4, 8), threads=1),
        )
    )
    assert again.manifest.files == bundles["vit"].manifest.files
    assert again.fingerprint == bundles["vit"].fingerprint


# --- where weights come from ----------------------------------------------------------------


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_checkpoint_file_for_a_folders_architecture(
    folders: dict[str, Path], tmp_path: Path, ending: str
) -> None:
    """The same weights from a file are the same model."""
    import torch
    from safetensors.torch import save_file

    weights = torch.load(folders["vit"] / "open_clip_pytorch_model.bin", weights_only=True)
    path = tmp_path / f"weights.{ending}"
    if ending == "pt":
        # As a training run saves it.
        torch.save({"state_dict": {f"module.{k}": v for k, v in weights.items()}}, path)
    else:
        save_file({k: v.contiguous() for k, v in weights.items()}, path)
    loaded = load_model(ModelSource(architecture=str(folders["vit"]), pretrained=str(path)))
    assert loaded.pretrained.name == path.name
    found = loaded.model.state_dict()
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_random_weights_follow_the_seed(folders: dict[str, Path]) -> None:
    def weights(seed: int) -> np.ndarray:
        loaded = load_model(ModelSource(architecture=str(folders["vit"]), seed=seed))
        assert loaded.pretrained.name == f"seed {seed}"
        return np.concatenate([value.ravel() for value in loaded.model.state_dict().values()])

    first = weights(1)
    assert np.array_equal(first, weights(1))
    assert not np.allclose(first, weights(2), atol=0.01)


REFUSED = [
    (ModelSource(architecture="ViT-Z-99"), "no architecture 'ViT-Z-99'"),
    (
        ModelSource(architecture="ViT-B-32", pretrained="no-such-tag"),
        "--pretrained FILE.safetensors",
    ),
    # OpenAI's weights were trained with QuickGELU: the plain architecture would load and be wrong.
    (ModelSource(architecture="ViT-B-32", pretrained="openai"), "'-quickgelu'"),
]


@pytest.mark.parametrize(("source", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_a_source_that_cannot_be_used(source: ModelSource, words: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        export_bundle(ExportRequest(source=source, out=tmp_path / "out", plan=QUICK))
    assert words in caught.value.message
    assert list(tmp_path.iterdir()) == []  # nothing half-made


def test_a_hub_that_cannot_be_reached_names_the_local_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = ModelSource(architecture="RN50-quickgelu", pretrained="cc12m")
    with pytest.raises(BundleError) as caught:
        export_bundle(ExportRequest(source=source, out=tmp_path / "out", plan=QUICK))
    assert "--arch FOLDER" in caught.value.message


def test_a_folder_without_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    source = ModelSource(architecture=str(tmp_path / "empty"))
    with pytest.raises(BundleError, match=r"no open_clip_config\.json"):
        export_bundle(ExportRequest(source=source, out=tmp_path / "out", plan=QUICK))


def test_weights_of_another_shape(folders: dict[str, Path], tmp_path: Path) -> None:
    weights = folders["resnet"] / "open_clip_pytorch_model.bin"
    source = ModelSource(architecture=str(folders["vit"]), pretrained=str(weights))
    with pytest.raises(BundleError, match="could not load"):
        export_bundle(ExportRequest(source=source, out=tmp_path / "out", plan=QUICK))


def test_a_tokenizer_that_does_not_fit_the_table(folders: dict[str, Path], tmp_path: Path) -> None:
    from open_clip.tokenizer import default_bpe

    other = tmp_path / "tokenizer"
    other.mkdir()
    (other / "bpe.txt.gz").write_bytes(Path(default_bpe()).read_bytes())
    request = ExportRequest(
        source=from_folder(folders["vit"]), out=tmp_path / "out", tokenizer=other, plan=QUICK
    )
    with pytest.raises(BundleError, match="49408 tokens, the model's table 1014"):
        export_bundle(request)


def test_a_tokenizer_on_a_hub_that_cannot_be_reached(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (folders["siglip"] / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    try:
        source = ModelSource(architecture=str(folders["siglip"]))
        with pytest.raises(BundleError, match="--tokenizer FOLDER"):
            export_bundle(ExportRequest(source=source, out=tmp_path / "out", plan=QUICK))
    finally:
        (tmp_path / "tokenizer.json").rename(folders["siglip"] / "tokenizer.json")


def test_a_bundle_is_never_overwritten(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    request = ExportRequest(source=from_folder(folders["vit"]), out=tmp_path / "out", plan=QUICK)
    with pytest.raises(BundleError, match="exists already"):
        export_bundle(request)


def test_a_bundle_that_cannot_be_written_is_named(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "bundle"
    request = ExportRequest(source=from_folder(folders["vit"]), out=out, plan=QUICK)
    with pytest.raises(BundleError, match="file/bundle: cannot be written: Not a directory"):
        export_bundle(request)


def test_extra_files_are_listed_and_hashed(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    bundle = bundles[NAMED]
    assert "MODEL_CARD.md" in bundle.manifest.files
    assert bundle.manifest.licence == "Apache-2.0"
    assert bundle.manifest.attribution == ("someone",)
    copy = Path(shutil.copytree(bundle.folder, tmp_path / "copy"))
    load_bundle(copy)
    (copy / "MODEL_CARD.md").write_bytes(b"# Another\n")
    with pytest.raises(BundleError, match=r"MODEL_CARD\.md: altered"):
        load_bundle(copy)
