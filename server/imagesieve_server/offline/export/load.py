"""A model as open_clip loads it: published tag, local checkpoint, local folder, random weights.

Knows open_clip's loading code and adds no loading of its own; refuses to know ONNX. What is read
off the loaded model (activation, scale, preprocessing) is read from its structure and its
configuration, never from its name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagesieve_server.core.errors import BundleError
from imagesieve_server.core.views import Preprocessing
from imagesieve_server.encoders.bundle import describe_file
from imagesieve_server.encoders.manifest import Activation, Pretrained, WeightSource
from imagesieve_server.extras import need

CONFIG_NAME = "open_clip_config.json"
RANDOM = "none"
"""The value of ``--pretrained`` that asks for seeded random weights."""

_LOCAL_WAY = (
    "without a reachable hub give a local file or folder: --pretrained FILE.safetensors (or .pt), "
    f"or --arch FOLDER with {CONFIG_NAME} and the weights in it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """What the user asked for."""

    architecture: str  # open_clip's name, or a folder with open_clip_config.json
    pretrained: str = RANDOM  # tag, file, folder, or "none"
    seed: int = 0  # of random weights
    preprocessing: Mapping[str, object] = field(default_factory=dict)  # overrides, open_clip's keys


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A torch model in evaluation mode and what its configuration says."""

    model: Any  # open_clip CLIP or CustomTextCLIP
    transform: Any  # open_clip's own inference transform: PIL image to float [3, S, S]
    architecture: str
    folder: Path | None  # where the architecture came from, if from a folder
    config: Mapping[str, Any]  # open_clip's model_cfg
    text_config: Mapping[str, Any]  # its text_cfg
    pretrained: Pretrained
    preprocessing: Preprocessing
    activation: Activation
    logit_scale: float  # λ = exp of the parameter
    logit_bias: float
    embedding_size: int
    context_length: int


def load_model(source: ModelSource) -> LoadedModel:
    """Load a model with its transform.

    Raises MissingExtra without torch and open_clip, BundleError where the name, the weights or
    the preprocessing cannot be used; a hub that cannot be reached is named with the local way.
    """
    open_clip, torch = need("open_clip"), need("torch")
    folder = _folder_of(source)
    name = f"local-dir:{folder}" if folder else source.architecture
    config = _config(open_clip, name, source)
    torch.manual_seed(source.seed)
    with _hub_errors(source):
        model, _, transform = open_clip.create_model_and_transforms(
            name, **_weights(open_clip, source, folder), **_image_overrides(open_clip, source)
        )
        model = _with_checkpoint(open_clip, model, source, folder).eval().requires_grad_(False)
    bias = model.logit_bias
    return LoadedModel(
        model=model,
        transform=transform,
        architecture=folder.name if folder else source.architecture,
        folder=folder,
        config=config,
        text_config=config["text_cfg"],
        pretrained=_pretrained(open_clip, source, folder),
        preprocessing=_preprocessing(model.visual.preprocess_cfg),
        # A bias is what a model trained with the sigmoid loss has and a CLIP does not.
        activation=Activation.SOFTMAX if bias is None else Activation.SIGMOID,
        logit_scale=float(model.logit_scale.exp()),
        logit_bias=0.0 if bias is None else float(bias),
        embedding_size=int(config["embed_dim"]),
        context_length=int(model.context_length),
    )


def _folder_of(source: ModelSource) -> Path | None:
    for value in (source.pretrained, source.architecture):
        path = Path(value)
        if value != RANDOM and path.is_dir():
            if not (path / CONFIG_NAME).is_file():
                raise BundleError(f"folder {path.name}: no {CONFIG_NAME} in it")
            return path
    return None


def _config(open_clip: Any, name: str, source: ModelSource) -> Mapping[str, Any]:
    config: Mapping[str, Any] | None = open_clip.get_model_config(name)
    if config is None:
        raise BundleError(
            f"open_clip has no architecture {source.architecture!r}; "
            "`python -c 'import open_clip; print(open_clip.list_models())'` lists them"
        )
    tag = open_clip.get_pretrained_cfg(name, source.pretrained)
    if tag and bool(tag.get("quick_gelu")) != bool(config.get("quick_gelu")):
        raise BundleError(
            f"tag {source.pretrained!r} was trained with "
            f"{'QuickGELU' if tag.get('quick_gelu') else 'GELU'}, architecture "
            f"{source.architecture!r} is not: take its twin with or without '-quickgelu'"
        )
    return config


def _weights(open_clip: Any, source: ModelSource, folder: Path | None) -> dict[str, object]:
    """open_clip's arguments that say where weights come from."""
    if source.pretrained == RANDOM:
        return {"load_weights": False, "pretrained_text": False}
    if folder:
        if _is_folder_checkpoint(source):
            return {"pretrained_text": False}
        return {"load_weights": False, "pretrained_text": False}  # see _with_checkpoint
    return {"pretrained": source.pretrained}


def _is_folder_checkpoint(source: ModelSource) -> bool:
    return Path(source.pretrained).is_dir()


def _with_checkpoint(open_clip: Any, model: Any, source: ModelSource, folder: Path | None) -> Any:
    """Load a checkpoint file into an architecture that came from a folder.

    open_clip takes a folder's own weights or, for built-in names, a file; not a file for a
    folder's architecture, except through its ``load_checkpoint``.
    """
    if folder and source.pretrained != RANDOM and not _is_folder_checkpoint(source):
        if not Path(source.pretrained).is_file():
            raise BundleError(f"no checkpoint file {Path(source.pretrained).name!r}")
        open_clip.load_checkpoint(model, source.pretrained)
    return model


def _image_overrides(open_clip: Any, source: ModelSource) -> dict[str, object]:
    """Preprocessing for weights that do not bring their own.

    open_clip gives files and random weights CLIP's mean and shortest-side resize, wrong for
    SigLIP. Where all published tags of an architecture agree, theirs is taken.
    """
    chosen: dict[str, object] = {}
    if not open_clip.get_pretrained_cfg(source.architecture, source.pretrained):
        tags = open_clip.list_pretrained_tags_by_model(source.architecture)
        published = [open_clip.get_pretrained_cfg(source.architecture, tag) for tag in tags]
        for key in ("mean", "std", "interpolation", "resize_mode"):
            values = {cfg.get(key) for cfg in published}
            if len(values) == 1:
                chosen[key] = values.pop()
    chosen.update(source.preprocessing)
    return {f"image_{key}": value for key, value in chosen.items()}


def _pretrained(open_clip: Any, source: ModelSource, folder: Path | None) -> Pretrained:
    if source.pretrained == RANDOM:
        return Pretrained(source=WeightSource.RANDOM, name=f"seed {source.seed}")
    path = Path(source.pretrained)
    if path.is_dir():
        path = Path(need("open_clip.factory")._find_checkpoint_in_dir(path))
    if path.is_file():
        digest = describe_file(path).sha256
        return Pretrained(source=WeightSource.CHECKPOINT, name=path.name, sha256=digest)
    return Pretrained(source=WeightSource.TAG, name=source.pretrained)


def _preprocessing(config: Mapping[str, Any]) -> Preprocessing:
    size = config["size"]
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise BundleError("models with a picture that is not square are not supported")
    mean, std = config["mean"], config["std"]
    bilinear = config["interpolation"] == "bilinear"
    return Preprocessing(
        size=int(sides.pop()),
        resize=config["resize_mode"],
        # open_clip takes bicubic for its third value, "random", outside training.
        interpolation="bilinear" if bilinear else "bicubic",
        fill=int(config["fill_color"]),
        mean=(float(mean[0]), float(mean[1]), float(mean[2])),
        std=(float(std[0]), float(std[1]), float(std[2])),
    )


@contextlib.contextmanager
def _hub_errors(source: ModelSource) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, OSError, ValueError) as problem:
        # open_clip raises RuntimeError for an unknown tag, a download that failed and weights
        # that do not fit alike; its words name which.
        raise BundleError(
            f"open_clip could not load {source.architecture!r} with weights "
            f"{source.pretrained!r} ({_first_line(problem)}); {_LOCAL_WAY}"
        ) from problem


def _first_line(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200]
