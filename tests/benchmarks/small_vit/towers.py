"""open_clip's CLIP with a small ViT, whose text tower is the demo bundle's.

Texts are learned already: the image tower alone is trained, towards vectors that stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from imagesieve_server.extras import need
from imagesieve_server.offline.demo_model import architecture, vocabulary

WIDTH, LAYERS, HEAD, PATCH = 192, 4, 64, 8
_FIRST_SCALE = 20.0
_HALF = "_half"
"""What the exporter appends to the name of a weight that it stores in half."""


def model_config() -> dict[str, Any]:
    """open_clip's ``model_cfg``: the demo's, with a ViT."""
    vision = {
        "image_size": architecture.IMAGE_SIDE,
        "layers": LAYERS,
        "width": WIDTH,
        "head_width": HEAD,
        "patch_size": PATCH,
    }
    return {**architecture.model_config(), "vision_cfg": vision}


def build_model(seed: int, texts: Path) -> Any:
    """A CLIP whose image tower is random from the seed and whose text tower is ``texts``'s.

    ``texts``: text_encoder.onnx of the demo bundle. Its weights are not trained any more.
    """
    torch = need("torch")
    torch.manual_seed(seed)
    model = need("open_clip.model").CLIP(**model_config())
    weights = {name: torch.from_numpy(value.copy()) for name, value in text_weights(texts)}
    for name, parameter in model.named_parameters():
        if name in weights:
            parameter.data.copy_(weights.pop(name))
            parameter.requires_grad_(False)
    if weights:
        raise ValueError(f"{texts}: {min(weights)} is no weight of this architecture")
    with torch.no_grad():
        model.logit_scale.fill_(float(np.log(_FIRST_SCALE)))
    return model


def text_weights(file: Path) -> Iterator[tuple[str, Any]]:
    """(name in open_clip's CLIP, values) of an exported text tower.

    The exporter folds a linear layer's transposition into its weight, which loses its name: these
    are told by the order in which they are used.
    """
    onnx = need("onnx")
    graph = onnx.load(str(file)).graph
    values = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    anonymous = iter(
        f"transformer.resblocks.{layer}.{part}"
        for layer in range(len(values))
        for part in ("attn.in_proj_weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    )
    for name, value in values.items():
        whole = value.astype(np.float32) if name.endswith(_HALF) else value
        if name.startswith("model."):
            yield name.removeprefix("model.").removesuffix(_HALF), whole
        elif value.ndim == 2 and name.endswith(_HALF):
            yield next(anonymous), whole.T


def save_folder(model: Any, folder: Path) -> None:
    """Write the model as a folder that open_clip loads."""
    architecture.save_folder(model, folder)
    file = folder / architecture.CONFIG_FILE
    config = json.loads(file.read_text())
    config["model_cfg"] = model_config()
    file.write_text(json.dumps(config, indent=2) + "\n")


def tokenizer(folder: Path) -> Any:
    """The demo's tokenizer; its merges are written to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary.write_merges(folder / vocabulary.FILE)
    return vocabulary.make_tokenizer(folder / vocabulary.FILE)
