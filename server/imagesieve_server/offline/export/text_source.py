"""Which tokenizer belongs to a loaded model, and its ``tokenizer.json``.

Knows open_clip's configuration of tokenizers and where their files may lie; refuses to know
graphs. open_clip's own ``get_tokenizer`` is used where it can find the files.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from imagesieve_server.core.errors import BundleError
from imagesieve_server.encoders.manifest import TextSpec
from imagesieve_server.extras import need
from imagesieve_server.offline.export.load import LoadedModel
from imagesieve_server.offline.export.tokenizer_file import (
    write_clip_tokenizer,
    write_folder_tokenizer,
)

_BPE_FILES = "*.txt.gz"


def write_tokenizer(loaded: LoadedModel, *, folder: Path | None, path: Path) -> TextSpec:
    """Write the model's ``tokenizer.json`` to ``path`` and describe it.

    ``folder`` holds tokenizer files given by the user: ``tokenizer.json`` for models with a
    Hugging Face tokenizer, a BPE file (``*.txt.gz``) for CLIP's. Raises BundleError where the
    tokenizer cannot be found or does not fit the model's table.
    """
    if loaded.text_config.get("hf_tokenizer_name"):
        spec = _hugging_face(loaded, folder, path)
    else:
        tokenizer = clip_tokenizer(loaded, folder)
        rows = int(loaded.model.vocab_size)
        if tokenizer.vocab_size != rows:
            raise BundleError(
                f"the tokenizer has {tokenizer.vocab_size} tokens, the model's table {rows}: "
                "give the tokenizer's folder with --tokenizer"
            )
        spec = write_clip_tokenizer(tokenizer, context_length=loaded.context_length, path=path)
    return spec


def clip_tokenizer(loaded: LoadedModel, folder: Path | None) -> Any:
    """open_clip's SimpleTokenizer for the model: with a local BPE file where there is one."""
    settings = dict(loaded.text_config.get("tokenizer_kwargs", {}))
    settings.pop("bpe_path", None)
    bpe = local_bpe_file(loaded, folder)
    if bpe is not None:
        settings["bpe_path"] = str(bpe)
    return need("open_clip").SimpleTokenizer(context_length=loaded.context_length, **settings)


def local_bpe_file(loaded: LoadedModel, folder: Path | None) -> Path | None:
    """The BPE file in the user's folder or beside the model; None where open_clip's own is meant.

    Raises BundleError where the model's configuration names one that is not there.
    """
    named = loaded.text_config.get("tokenizer_kwargs", {}).get("bpe_path")
    return _bpe_file(named, [folder, loaded.folder])


def _bpe_file(name: str | None, folders: list[Path | None]) -> Path | None:
    for folder in folders:
        found = [] if folder is None else sorted(folder.glob(name or _BPE_FILES))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise BundleError(f"several BPE files in the tokenizer folder: {names}")
        if found:
            return found[0]
    if name is not None:
        raise BundleError(f"the model's configuration names a BPE file {name!r}; it is not there")
    return None


def _hugging_face(loaded: LoadedModel, folder: Path | None, path: Path) -> TextSpec:
    settings = loaded.text_config.get("tokenizer_kwargs", {})
    cleaning = settings.get("clean", "whitespace")  # open_clip's HFTokenizer default
    if folder is None and loaded.folder and (loaded.folder / "tokenizer.json").is_file():
        folder = loaded.folder
    if folder is not None:
        return write_folder_tokenizer(
            folder, cleaning=cleaning, context_length=loaded.context_length, path=path
        )
    with tempfile.TemporaryDirectory(prefix="imagesieve-tokenizer-") as downloaded:
        _download(loaded, downloaded)
        return write_folder_tokenizer(
            Path(downloaded), cleaning=cleaning, context_length=loaded.context_length, path=path
        )


def _download(loaded: LoadedModel, target: str) -> None:
    """Let open_clip fetch the tokenizer from its hub and write it as files."""
    name = loaded.text_config["hf_tokenizer_name"]
    try:
        need("open_clip").get_tokenizer(loaded.architecture).save_pretrained(target)
    except Exception as problem:  # the hub's client raises many unrelated classes
        raise BundleError(
            f"the tokenizer {name!r} could not be fetched (no reachable hub, or the package "
            "'transformers' is missing): give a local folder that has its tokenizer.json and "
            "tokenizer_config.json with --tokenizer FOLDER"
        ) from problem
