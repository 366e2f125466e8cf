"""`imagesieve-server model inspect|verify|export` as a user types it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from helpers.tiny_bundle import write_tiny_bundle
from imagesieve_server.commands import main
from imagesieve_server.core.errors import EncoderUnavailable
from imagesieve_server.encoders.bucketed import BucketedEncoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny_bundle(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_inspect_shows_what_the_bundle_says(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "inspect", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = {line[:32].strip(): line[32:] for line in lines}
    assert table["picture"] == "8 px, squash, bicubic"
    assert table["logits"] == "100 · cosine + 0"
    assert table["precision"] == "fp32, stored as fp32"
    assert len(table["fingerprint"]) == 64
    assert sum(line.startswith("file") for line in lines) == 4


def test_verify_passes_a_sound_bundle(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--provider", "cpu", "--threads", "1", "--buckets", "1,3"]
    assert main(["model", "verify", str(folder), *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "files",
        "operators",
        "canary",
        "batch invariance",
    ]
    assert all("passed" in line for line in lines)


def test_verify_computes_the_canary_in_every_batch_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(_: BucketedEncoder, batch_size: int = 0) -> None:
        if batch_size == 3:
            raise EncoderUnavailable("the canary differs", metadata={"batch_size": "3"})

    monkeypatch.setattr(BucketedEncoder, "check_canary", check)
    arguments = ["--provider", "cpu", "--threads", "1", "--buckets", "1,3"]
    assert main(["model", "verify", str(folder), *arguments]) == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "FAILED" in line)
    assert "the canary differs, batch_size 3" in line


@pytest.mark.parametrize("name", ["image_encoder.onnx", "tokenizer.json", "canary.npz"])
def test_verify_fails_an_altered_bundle(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert main(["model", "verify", str(folder)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert "FAILED" in line
    assert f"{name}: altered" in line


def test_inspect_of_no_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "inspect", str(tmp_path)]) == 1
    assert "model export --out" in capsys.readouterr().err


def test_export_without_torch_names_the_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("torch", "open_clip"):  # None in sys.modules: the import fails as if missing
        monkeypatch.setitem(sys.modules, module, None)
    arguments = ["--arch", "ViT-B-32", "--out", str(tmp_path / "out")]
    assert main(["model", "export", *arguments]) == 1
    assert "pip install 'imagesieve[export]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", ["0", "1,-2"])
def test_buckets_are_positive(folder: Path, value: str) -> None:
    with pytest.raises(SystemExit):
        main(["model", "verify", str(folder), "--buckets", value])


@pytest.mark.torch
@pytest.mark.timeout(300)
def test_export_and_verify_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from helpers.small_models import write_folder

    checkpoint = write_folder("vit", tmp_path / "checkpoint")
    out = tmp_path / "bundles" / "vit"
    arguments = ["--arch", str(checkpoint), "--pretrained", str(checkpoint), "--threads", "1"]
    assert main(["model", "export", *arguments, "--out", str(out), "--licence", "MIT"]) == 0
    shown = capsys.readouterr().out
    assert "2 Attention" in shown
    assert "licence                         MIT" in shown
    assert main(["model", "verify", str(out), "--buckets", "1,2"]) == 0
    assert "FAILED" not in capsys.readouterr().out


def test_finetune_without_torch_names_the_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("torch", "open_clip"):
        monkeypatch.setitem(sys.modules, module, None)
    arguments = ["--arch", "ViT-B-32", "--pretrained", "x", "--pairs", str(tmp_path / "pairs.csv")]
    arguments += ["--images", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["model", "finetune", *arguments]) == 1
    assert "pip install 'imagesieve[export]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
