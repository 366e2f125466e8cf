"""The folder that ``model export`` takes: configuration, weights, tokenizer, and a report.

Appears under its name only when it is complete. Knows open_clip's local folders; refuses to
know how the weights came about.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagesieve_server.extras import need
from imagesieve_server.offline.export.load import CONFIG_NAME, LoadedModel
from imagesieve_server.offline.export.text_source import local_bpe_file, write_tokenizer

WEIGHTS = "open_clip_model.safetensors"
REPORT = "finetune.json"


def write_folder(
    out: Path, loaded: LoadedModel, *, tokenizer: Path | None, report: Mapping[str, Any]
) -> None:
    """Write ``loaded`` with the weights it has now to ``out``, which must not exist."""
    folder = out.with_name(f".{out.name}.partial-{os.getpid()}")
    folder.mkdir(parents=True)
    try:
        config = _config(loaded)
        (folder / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n")
        weights = {n: value.contiguous() for n, value in loaded.model.state_dict().items()}
        need("safetensors.torch").save_file(weights, str(folder / WEIGHTS))
        _write_tokenizer(loaded, tokenizer, folder)
        (folder / REPORT).write_text(json.dumps(report, indent=2) + "\n")
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _config(loaded: LoadedModel) -> dict[str, Any]:
    view = loaded.preprocessing
    return {
        "model_cfg": dict(loaded.config),
        "preprocess_cfg": {
            "mean": list(view.mean),
            "std": list(view.std),
            "interpolation": view.interpolation,
            "resize_mode": view.resize,
            "fill_color": view.fill,
        },
    }


def _write_tokenizer(loaded: LoadedModel, tokenizer: Path | None, folder: Path) -> None:
    """What the exporter looks for beside a model; nothing where open_clip's own file is meant."""
    if loaded.text_config.get("hf_tokenizer_name"):
        path = folder / "tokenizer.json"
        write_tokenizer(loaded, folder=tokenizer, path=path)
        padding = json.loads(path.read_text(encoding="utf-8"))["padding"]
        settings = json.dumps({"pad_token": padding["pad_token"]})
        (folder / "tokenizer_config.json").write_text(settings + "\n")
        return
    bpe = local_bpe_file(loaded, tokenizer)
    if bpe is not None:
        shutil.copyfile(bpe, folder / bpe.name)
