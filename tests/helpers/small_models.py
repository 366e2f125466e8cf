"""Small architectures of every supported family, as open_clip local folders with seeded weights.

The same code paths as ViT-B-32, its quickgelu twin, RN50 and ViT-B-16-SigLIP, at a size that a
test can export. Needs torch.
"""

from __future__ import annotations

import gzip
import json
import string
from pathlib import Path
from typing import Any

import open_clip
import torch
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors

MERGES = 500
VOCABULARY = 512 + MERGES + 2
SEED = 5

# Two layers each: they follow each other, as more would, and torch's tracing of a layer is dear.
_TEXT = {"context_length": 24, "vocab_size": VOCABULARY, "width": 64, "heads": 2, "layers": 2}
_VIT = {"image_size": 64, "patch_size": 16, "width": 128, "head_width": 32, "layers": 2}
_RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None}
_SIGLIP = {
    "image_size": 64,
    "timm_model_name": "vit_of_tests",
    "timm_model_pretrained": False,
    "timm_pool": "map",
    "timm_proj": "none",
}
_SIGLIP_TEXT = {
    "context_length": 16,
    "vocab_size": 64,
    "hf_tokenizer_name": "somewhere/on-a-hub",
    "tokenizer_kwargs": {"clean": "canonicalize"},
    "width": 64,
    "heads": 2,
    "layers": 2,
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
}

CONFIGS: dict[str, dict[str, Any]] = {
    "vit": {"embed_dim": 64, "vision_cfg": _VIT, "text_cfg": _TEXT},
    "vit-quickgelu": {
        "embed_dim": 64,
        "quick_gelu": True,
        "vision_cfg": _VIT,
        "text_cfg": _TEXT,
    },
    "resnet": {"embed_dim": 64, "vision_cfg": _RESNET, "text_cfg": _TEXT},
    "siglip": {
        "embed_dim": 192,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": _SIGLIP,
        "text_cfg": _SIGLIP_TEXT,
    },
}
ATTENTION = {"vit": 2, "vit-quickgelu": 2, "resnet": 1, "siglip": 3}
"""Attention nodes of the image graph: one for each block, and one where pooling is attention."""

_SIGLIP_PREPROCESSING = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}


@register_model
def vit_of_tests(pretrained: bool = False, *, global_pool: str, **_: Any) -> VisionTransformer:
    """timm's vit_tiny_patch16_224 with fewer blocks for smaller pictures; without a classifier."""
    model = VisionTransformer(
        img_size=64, embed_dim=192, depth=2, num_heads=3, num_classes=0, global_pool=global_pool
    )
    model.default_cfg = {}
    return model


def write_folder(family: str, folder: Path) -> Path:
    """Write configuration, tokenizer file and weights; the folder."""
    folder.mkdir(parents=True)
    config = {
        "model_cfg": CONFIGS[family],
        "preprocess_cfg": _SIGLIP_PREPROCESSING if family == "siglip" else {},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    if family == "siglip":
        write_sentence_tokenizer(folder)
    else:
        published = Path(open_clip.tokenizer.default_bpe()).read_bytes()
        lines = gzip.decompress(published).decode().split("\n")
        merges = "\n".join(lines[: MERGES + 1])
        (folder / "bpe.txt.gz").write_bytes(gzip.compress(merges.encode()))
    torch.save(state(folder), folder / "open_clip_pytorch_model.bin")
    return folder


def state(folder: Path) -> dict[str, torch.Tensor]:
    """Seeded weights in which every layer has something to say."""
    torch.manual_seed(SEED)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bn3.weight"):  # zero at first: each block would be the identity
                weight.fill_(0.7)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    weights: dict[str, torch.Tensor] = model.state_dict()
    return weights


def write_sentence_tokenizer(folder: Path) -> Tokenizer:
    """A small Unigram tokenizer with an end token that also pads, as SigLIP's. It spells; its
    pieces are written here, for a trainer finds others each time."""
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("▁a", -2.0), ("▁", -3.0)]
    letters = [(letter, -4.0) for letter in string.ascii_lowercase]
    tokenizer = Tokenizer(models.Unigram(pieces + letters, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "pad_token": "</s>",
                "eos_token": "</s>",
                "unk_token": "<unk>",
                "clean_up_tokenization_spaces": False,
            }
        )
    )
    return tokenizer
