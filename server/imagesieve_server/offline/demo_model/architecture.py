"""open_clip's own CLIP in a small size, and the folder its checkpoint lies in.

The folder is what open_clip calls a local model (``local-dir:``): the exporter loads it like any
other checkpoint. Refuses to know what the model is trained on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from imagesieve_server.extras import need
from imagesieve_server.offline.demo_model import vocabulary

IMAGE_SIDE = 64
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's own, which open_clip takes for every model that does not say otherwise."""

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"


def model_config() -> dict[str, Any]:
    """open_clip's ``model_cfg``."""
    return {
        "embed_dim": 128,
        "vision_cfg": {
            "image_size": IMAGE_SIDE,
            "layers": [2, 2, 2, 2],
            "width": 16,
            "head_width": 64,
        },
        "text_cfg": {
            "context_length": vocabulary.CONTEXT_LENGTH,
            "vocab_size": vocabulary.SIZE,
            "width": 128,
            "heads": 4,
            "layers": 2,
            # Relative to this folder.
            "tokenizer_kwargs": {"bpe_path": vocabulary.FILE},
        },
    }


def build_model(seed: int) -> Any:
    """A CLIP with seeded random weights, channels last (10 times faster on a CPU)."""
    torch = need("torch")
    torch.manual_seed(seed)
    model = need("open_clip.model").CLIP(**model_config())
    return model.to(memory_format=torch.channels_last)


def save_folder(model: Any, folder: Path) -> None:
    """Write the model as a folder that open_clip loads."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_cfg": model_config(),
        "preprocess_cfg": {
            "mean": list(MEAN),
            "std": list(STD),
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
    vocabulary.write_merges(folder / vocabulary.FILE)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    need("safetensors.torch").save_file(weights, str(folder / WEIGHTS_FILE))


def load_folder(folder: Path) -> tuple[Any, Any]:
    """(model in evaluation mode, tokenizer) of a folder that ``save_folder`` wrote."""
    model = build_model(seed=0)
    model.load_state_dict(need("safetensors.torch").load_file(str(folder / WEIGHTS_FILE)))
    return model.eval(), vocabulary.make_tokenizer(folder / vocabulary.FILE)


def normalised(pixels: Any) -> Any:
    """uint8 [N, 3, H, W] to the float32 the model takes, channels last."""
    torch = need("torch")
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    values = (pixels.float() / 255.0 - mean) / std
    return values.contiguous(memory_format=torch.channels_last)


def encode_text(model: Any, tokens: Any) -> Any:
    """Unit vectors [N, D] of tokens int64 [N, L]: ``model.encode_text`` without the padding.

    The mask is causal, so what follows a text's end cannot change its vector; cutting the tokens
    at the longest text of the batch saves a third of the work.
    """
    torch = need("torch")
    longest = int((tokens != 0).sum(dim=1).max())
    tokens = tokens[:, :longest]
    x = model.token_embedding(tokens) + model.positional_embedding[:longest]
    x = model.transformer(x, attn_mask=model.attn_mask[:longest, :longest])
    ends = tokens.argmax(dim=-1)  # the end token has the highest number
    x = model.ln_final(x)[torch.arange(len(x)), ends] @ model.text_projection
    return torch.nn.functional.normalize(x, dim=-1)
