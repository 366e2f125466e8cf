"""Fine-tuning the projections: every family, what is refused, resuming, what is written."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.picture_pairs import write_pairs
from imagesieve_server.core.errors import BundleError, ConfigError, LabelsError
from imagesieve_server.encoders.manifest import WeightSource
from imagesieve_server.offline.export.load import ModelSource
from imagesieve_server.offline.finetune.settings import Settings

pytestmark = [pytest.mark.torch, pytest.mark.timeout(600)]

FAMILIES = {
    "vit": ("visual.proj", "text_projection"),
    "resnet": ("visual.attnpool.c_proj", "text_projection"),
    "siglip": ("visual.trunk.attn_pool.mlp.fc2", "text.text_projection"),
}


def silent(_: str) -> None:
    """Hears progress and says nothing."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A local folder of each family."""
    from helpers import small_models

    root = tmp_path_factory.mktemp("checkpoints")
    return {family: small_models.write_folder(family, root / family) for family in FAMILIES}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 pictures with pairs.csv, and 60 others in keep/."""
    folder = tmp_path_factory.mktemp("pictures")
    write_pairs(folder, count=200, seed=1)
    write_pairs(folder / "keep", count=60, seed=2)
    return folder


def settings_of(model: Path, images: Path, out: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "source": ModelSource(architecture=str(model), pretrained=str(model)),
        "pairs": images / "pairs.csv",
        "images": images,
        "out": out,
        "epochs": 20,
        "batch": 64,
        "rate": 3e-3,
        "mix": 1.0,
        "threads": 1,
        **changes,
    }
    return Settings(**values)


@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings_follow_the_last_map_of_each_family(
    models: dict[str, Path], images: Path, family: str
) -> None:
    """Features and map give open_clip's own embedding, whatever the map is."""
    import torch

    from imagesieve_server.offline.export.load import load_model
    from imagesieve_server.offline.finetune.pairs import read_pairs
    from imagesieve_server.offline.finetune.projections import Map
    from imagesieve_server.offline.finetune.towers import Towers

    folder = str(models[family])
    loaded = load_model(ModelSource(architecture=folder, pretrained=folder))
    towers = Towers(loaded, tokenizer=None)
    assert (towers.image.place, towers.text.place) == FAMILIES[family]
    pairs = read_pairs(images / "pairs.csv", images)
    towers.check(pairs.pictures[:3], pairs.captions[:3])
    pixels = towers._pixels(pairs.pictures[:5])
    features, base = towers.image.take_apart(pixels)
    assert (base is not None) == (family == "siglip")
    old = towers.image.map()
    new = Map(weight=torch.flip(old.weight, [0]) * 1.5, bias=old.bias)
    towers.image.put(new)
    with torch.no_grad():
        found = loaded.model.encode_image(pixels, normalize=True)
    assert torch.allclose(found, new.of(features, base), atol=1e-5)
    assert not torch.allclose(found, old.of(features, base), atol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_learns_and_the_exporter_takes_it(
    models: dict[str, Path], images: Path, tmp_path: Path, family: str
) -> None:
    from imagesieve_server.encoders.runtime import Provider, RuntimeOptions
    from imagesieve_server.offline.export.export_model import ExportRequest, export_bundle
    from imagesieve_server.offline.export.measure import Plan
    from imagesieve_server.offline.export.verify import Outcome, verify_bundle
    from imagesieve_server.offline.finetune.finetune import HELD_OUT, KEEP, finetune

    settings = settings_of(
        models[family], images, tmp_path / "tuned", keep=images / "keep" / "pairs.csv",
        keep_images=images / "keep",
    )  # fmt: skip
    result = finetune(settings, silent)
    sets = result.comparison.sets
    assert (sets[HELD_OUT].pictures, sets[KEEP].pictures) == (20, 60)
    # A ResNet of random weights hardly tells one picture from another: nothing to learn from.
    learns = [] if family == "resnet" else sets.values()
    for kept in learns:  # twelve captions: chance is .08
        before, after = kept.by_mix[0.0], kept.by_mix[1.0]
        assert after.picture_to_caption_1 > before.picture_to_caption_1 + 0.2
        assert after.zero_shot is not None
        assert kept.unmoved < 0.999
    out = tmp_path / "bundle"
    source = ModelSource(architecture=str(settings.out), pretrained=str(settings.out))
    quick = Plan(buckets=(1, 2), invariance_pictures=2, threads=1)
    bundle = export_bundle(ExportRequest(source=source, out=out, plan=quick))
    assert bundle.manifest.pretrained.source is WeightSource.CHECKPOINT
    cpu = RuntimeOptions(provider=Provider.CPU, threads=1)
    checks = verify_bundle(out, options=cpu, buckets=(1, 2))
    assert [check.outcome for check in checks] == [Outcome.PASSED] * 4


def weights_of(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    found: dict[str, Any] = load_file(str(folder / "open_clip_model.safetensors"))
    return found


def test_only_the_projections_change(models: dict[str, Path], images: Path, tmp_path: Path) -> None:
    import torch

    from imagesieve_server.offline.finetune.finetune import finetune

    old = torch.load(models["vit"] / "open_clip_pytorch_model.bin", weights_only=True)
    changed = {}
    for image_only in (False, True):
        out = tmp_path / f"tuned-{image_only}"
        finetune(settings_of(models["vit"], images, out, epochs=2, image_only=image_only), silent)
        new = weights_of(out)
        changed[image_only] = {n for n in old if not torch.equal(old[n], new[n])}
    assert changed == {False: {"visual.proj", "text_projection"}, True: {"visual.proj"}}


def test_a_mix_lies_between(models: dict[str, Path], images: Path, tmp_path: Path) -> None:
    import torch

    from imagesieve_server.offline.finetune.finetune import HELD_OUT, finetune

    found, moved = {}, {}
    for mix in (0.0, 0.5, 1.0):
        settings = settings_of(models["vit"], images, tmp_path / f"{mix}", epochs=3, mix=mix)
        comparison = finetune(settings, silent).comparison
        found[mix] = weights_of(settings.out)["visual.proj"]
        moved[mix] = (comparison.moved_image, comparison.sets[HELD_OUT].unmoved)
    assert torch.allclose(found[0.5], (found[0.0] + found[1.0]) / 2, atol=1e-6)
    assert moved[0.0] == (0.0, pytest.approx(1.0))
    assert moved[0.5][0] == pytest.approx(moved[1.0][0] / 2, rel=1e-4)
    assert moved[1.0][1] < moved[0.5][1] < 1.0


def test_another_mix_of_a_finished_training_costs_no_step(
    models: dict[str, Path], images: Path, tmp_path: Path
) -> None:
    import torch

    from imagesieve_server.offline.finetune.finetune import finetune

    settings = settings_of(models["vit"], images, tmp_path / "tuned", epochs=3)
    finetune(settings, silent)
    new = weights_of(settings.out.rename(tmp_path / "first"))["visual.proj"]
    again = dataclasses.replace(settings, mix=0.25, resume=True)
    assert finetune(again, silent).facts["final_loss"] is None
    old = torch.load(models["vit"] / "open_clip_pytorch_model.bin", weights_only=True)
    expected = 0.75 * old["visual.proj"] + 0.25 * new
    assert torch.allclose(weights_of(settings.out)["visual.proj"], expected, atol=1e-6)


def test_an_interrupted_run_goes_on_to_the_same_weights(
    models: dict[str, Path], images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from imagesieve_server.offline.finetune import finetune as module
    from imagesieve_server.offline.finetune.towers import Towers
    from imagesieve_server.offline.training import loop

    whole = settings_of(models["vit"], images, tmp_path / "whole", epochs=6)
    module.finetune(whole, silent)

    class Stopped(Exception):
        pass

    def stop(learner: Any, run: loop.Run, **rest: Any) -> loop.Done:
        loop_train(learner, dataclasses.replace(run, stop_after=5), **rest)
        raise Stopped

    cut = dataclasses.replace(whole, out=tmp_path / "cut")
    loop_train = loop.train
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train", stop)
        with pytest.raises(Stopped):
            module.finetune(cut, silent)
    assert not cut.out.exists()
    with monkeypatch.context() as patch:  # features are not computed again
        patch.setattr(Towers, "of_pictures", None)
        module.finetune(dataclasses.replace(cut, resume=True), silent)
    first, second = weights_of(whole.out), weights_of(cut.out)
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = dataclasses.replace(cut, out=tmp_path / "other", resume=True, rate=1e-4)
    cut.work.rename(other.work)
    with pytest.raises(ConfigError, match="of other pairs or settings"):
        module.finetune(other, silent)


def test_a_model_without_a_projection_is_refused(tmp_path: Path) -> None:
    import open_clip

    from helpers import small_models
    from imagesieve_server.offline.finetune.projections import image_tower, text_tower

    config = small_models.CONFIGS["siglip"]
    text = {**config["text_cfg"], "proj_type": "none", "proj_bias": False, "width": 192, "heads": 3}
    vision = {**config["vision_cfg"], "timm_pool": "avg"}
    model = open_clip.model.CustomTextCLIP(embed_dim=192, vision_cfg=vision, text_cfg=text)
    for tower, name in ((image_tower, "image"), (text_tower, "text")):
        with pytest.raises(BundleError, match=f"the {name} tower of this model ends in no proj"):
            tower(model)


def test_a_tower_that_does_not_follow_its_map_is_refused() -> None:
    """A normalisation behind the map, which the table of places cannot know of."""
    import torch

    from imagesieve_server.offline.finetune.projections import Tower

    linear = torch.nn.Linear(6, 4)
    behind = torch.nn.Sequential(linear, torch.nn.LayerNorm(4))
    batch = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    before = linear.weight.detach().clone()
    with pytest.raises(BundleError, match="do not follow its last linear map"):
        Tower(place="behind.0", module=linear, encode=behind).check(batch)
    Tower(place="linear", module=linear, encode=linear).check(batch)
    assert torch.equal(linear.weight, before)
    with pytest.raises(BundleError, match="do not follow"):  # called once for each of two rows
        Tower(place="twice", module=linear, encode=lambda x: linear(x) + linear(2 * x)).take_apart(
            batch
        )


@pytest.mark.parametrize(
    ("setting", "value"),
    [("mix", 1.5), ("epochs", 0), ("batch", 1), ("rate", 0.0), ("held_out", 0.9), ("threads", -1)],
)
def test_settings_that_cannot_be_meant(tmp_path: Path, setting: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"--{setting.replace('_', '-')} must be"):
        settings_of(tmp_path, tmp_path, tmp_path / "out", **{setting: value})


def test_an_existing_checkpoint_is_not_touched(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exists already"):
        settings_of(tmp_path, tmp_path, tmp_path)


def test_a_checkpoint_that_could_not_be_written_is_refused_before_the_work(
    models: dict[str, Path], images: Path, tmp_path: Path
) -> None:
    from imagesieve_server.offline.finetune.finetune import finetune

    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        finetune(settings_of(models["vit"], images, tmp_path / "file" / "out"), silent)


def test_too_few_pairs_and_nothing_to_tell_apart(models: dict[str, Path], tmp_path: Path) -> None:
    from imagesieve_server.offline.finetune.finetune import finetune

    few = write_pairs(tmp_path / "few", count=30, seed=4)
    with pytest.raises(LabelsError, match="has 30 pairs; fine-tuning needs at least 100"):
        finetune(settings_of(models["vit"], few.parent, tmp_path / "a"), silent)
    same = write_pairs(tmp_path / "same", count=120, seed=5)
    lines = [line.split(",")[0] + ",a thing" for line in same.read_text().splitlines()[1:]]
    same.write_text("\n".join(["file,caption", *lines]))
    with pytest.raises(LabelsError, match="fewer than two different captions"):
        finetune(settings_of(models["vit"], same.parent, tmp_path / "b"), silent)


def test_a_rate_that_blows_up_is_said(
    models: dict[str, Path], images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagesieve_server.offline.finetune import finetune as module
    from imagesieve_server.offline.finetune.learner import ProjectionLearner

    monkeypatch.setattr(ProjectionLearner, "is_finite", lambda _: False)
    settings = settings_of(models["vit"], images, tmp_path / "tuned", epochs=1)
    with pytest.raises(BundleError, match="a tenth of the learning rate"):
        module.finetune(settings, silent)
    assert not settings.out.exists()


def test_pictures_of_the_keep_set_are_never_trained_on(
    models: dict[str, Path], images: Path, tmp_path: Path
) -> None:
    from imagesieve_server.offline.finetune.finetune import finetune

    settings = settings_of(
        models["vit"], images, tmp_path / "tuned", epochs=1, keep=images / "pairs.csv"
    )
    with pytest.raises(LabelsError, match="fewer than two different captions"):
        finetune(settings, silent)


def test_the_report_beside_the_weights(
    models: dict[str, Path], images: Path, tmp_path: Path
) -> None:
    from imagesieve_server.offline.finetune.finetune import finetune

    settings = settings_of(models["vit"], images, tmp_path / "tuned", epochs=1, mix=0.3)
    heard = list[str]()
    finetune(settings, heard.append)
    report = json.loads((settings.out / "finetune.json").read_text())
    assert (report["pairs"], report["trained_on"], report["loss"]) == (200, 180, "InfoNCE")
    assert list(report["comparison"]["sets"]["held out"]["by_mix"]) == [
        "0", "0.25", "0.3", "0.5", "0.75", "1",
    ]  # fmt: skip
    assert [line for line in heard if "Below 50000 a model tends to lose more" in line]
    assert [line for line in heard if "no --keep" in line]
    assert np.isfinite(report["final_loss"])


def test_the_command_prints_what_each_mix_would_give(
    models: dict[str, Path], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from imagesieve_server.commands import main

    model = str(models["vit"])
    arguments = ["--arch", model, "--pretrained", model, "--pairs", str(images / "pairs.csv")]
    arguments += ["--images", str(images), "--out", str(tmp_path / "out"), "--epochs", "1"]
    assert main(["model", "finetune", *arguments, "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "held out: 20 pictures, " in out
    assert "  share of new weights           0    0.25    0.5*    0.75       1\n" in out
    assert "  zero-shot accuracy" in out
    assert (tmp_path / "out" / "open_clip_config.json").is_file()
    assert main(["model", "finetune", *arguments]) == 1
    assert "exists already" in capsys.readouterr().err
