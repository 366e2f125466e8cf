"""Lean layers compute what they replace, in fewer steps; pictures' bytes are quantised exactly."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from imagesieve_server.core.views import Preprocessing
from imagesieve_server.offline.export import lean_layers
from imagesieve_server.offline.export.image_graph import export_image_graph
from imagesieve_server.offline.export.quantise import quantise_int8

pytestmark = [pytest.mark.torch, pytest.mark.timeout(600)]

LAYERS = 3  # so many of an operator in each block stand out


def random_tower(seed: int = 3) -> Any:
    import torch
    from torch import nn

    torch.manual_seed(seed)

    class Tower(nn.Module):
        """Patches, attention and a linear layer with and without its bias."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 16, kernel_size=4, stride=4)
            self.attn = nn.MultiheadAttention(16, 4, batch_first=True)
            self.up = nn.Linear(16, 24, bias=False)
            self.down = nn.Linear(24, 16)
            for weight in (self.attn.in_proj_bias, self.attn.out_proj.bias):
                nn.init.normal_(weight)

        def forward(self, x: Any) -> Any:
            tokens = self.conv(x).flatten(2).transpose(1, 2)
            tokens = tokens + self.attn(tokens, tokens, tokens, need_weights=False)[0]
            return self.down(self.up(tokens))

    return Tower().eval()


def test_layers_compute_what_they_replace() -> None:
    import torch

    x = torch.rand(3, 3, 12, 8)
    plain, lean = random_tower(), random_tower()
    lean_layers.replace_patch_convolutions(lean)
    lean_layers.replace_products(lean)
    kinds = {type(module) for module in lean.modules()}
    assert not kinds & {torch.nn.Conv2d, torch.nn.MultiheadAttention, torch.nn.Linear}
    with torch.no_grad():
        assert torch.allclose(lean(x), plain(x), atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_normalisation_is_folded_into_the_patches(*, bias: bool) -> None:
    import torch

    torch.manual_seed(1)
    tower = torch.nn.Sequential(torch.nn.Conv2d(3, 8, kernel_size=4, stride=4, bias=bias))
    preprocessing = Preprocessing(size=8, mean=(0.1, 0.4, 0.7), std=(0.2, 0.3, 0.5))
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    with torch.no_grad():
        expected = tower((pixels.float() / 255 - mean) / std)
        (patches,) = lean_layers.replace_patch_convolutions(tower)
        lean_layers.fold_normalisation(patches, preprocessing)
        assert torch.allclose(tower(pixels), expected, atol=1e-4)


@pytest.mark.parametrize(
    "other",
    [
        {"batch_first": False},
        {"batch_first": True, "add_zero_attn": True},
        {"batch_first": True, "add_bias_kv": True},
        {"batch_first": True, "bias": False},
        {"batch_first": True, "kdim": 8, "vdim": 8},
    ],
)
def test_attention_of_another_kind_is_left_alone(other: dict[str, Any]) -> None:
    import torch

    tower = torch.nn.Sequential(torch.nn.MultiheadAttention(16, 4, **other))
    lean_layers.replace_products(tower)
    assert type(tower[0]) is torch.nn.MultiheadAttention


def test_a_mask_is_refused_rather_than_forgotten() -> None:
    import torch

    tower = torch.nn.Sequential(torch.nn.MultiheadAttention(16, 4, batch_first=True))
    lean_layers.replace_products(tower)
    x = torch.rand(1, 3, 16)
    with pytest.raises(NotImplementedError, match="masks"):
        tower[0](x, x, x, attn_mask=torch.zeros(3, 3))


def operators_of_a_small_vit(tmp_path: Path, *, half: bool) -> Counter[str]:
    """Of the image graph alone: no text, no parity, no measuring."""
    import open_clip

    from helpers import small_models

    vit = small_models.CONFIGS["vit"]
    deeper = {**vit["vision_cfg"], "layers": LAYERS}
    config = {"model_cfg": {**vit, "vision_cfg": deeper}, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    model = open_clip.create_model(f"local-dir:{tmp_path}", load_weights=False).eval()
    side = deeper["image_size"]
    preprocessing = Preprocessing(size=side, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.5))
    graph = export_image_graph(model, preprocessing, half=half).graph
    return Counter(node.op_type for node in graph.node)


def test_a_vits_graph_has_little_beside_its_products(tmp_path: Path) -> None:
    """Every linear layer is a product with its bias; attention moves nothing about."""
    counts = operators_of_a_small_vit(tmp_path, half=False)
    layers = counts["Attention"]
    assert layers == LAYERS
    assert counts["Gemm"] == 6 * layers + 1  # queries, keys, values, out, two of the MLP; patches
    assert counts["Transpose"] <= 5  # of the patches, none in a block
    assert counts["Mul"] <= 2  # the class token and the length, no normalisation of pixels


def test_in_fp16_the_patch_product_alone_is_lean(tmp_path: Path) -> None:
    counts = operators_of_a_small_vit(tmp_path, half=True)
    layers = counts["Attention"]
    assert (layers, counts["Conv"]) == (LAYERS, 0)
    assert counts["Gemm"] == layers + 1  # torch's own attention ends in one; the patches
    assert counts["MatMul"] >= 3 * layers  # queries with keys and values; two of the MLP


def test_bytes_are_quantised_without_loss_whatever_was_calibrated_on() -> None:
    """Calibrated on grey pictures: black and white must still not be cut off."""
    chance = np.random.default_rng(0)
    weights = {
        "shape": np.array([-1, 192]),
        "middle": np.array(128, dtype=np.float32),
        "w": chance.normal(size=(192, 4)).astype(np.float32),
        "b": chance.normal(size=4).astype(np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["moved"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["moved"], ["numbers"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Sub", ["numbers", "middle"], ["centred"]),
        helper.make_node("Reshape", ["centred", "shape"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["embeddings"]),
    ]
    graph = helper.make_graph(
        nodes,
        "bytes",
        [helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, ["N", 8, 8, 3])],
        [helper.make_tensor_value_info("embeddings", onnx.TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    grey = chance.integers(100, 140, (4, 8, 8, 3), dtype=np.uint8)
    quantised = quantise_int8(proto, calibration=grey)
    values = {one.name: numpy_helper.to_array(one) for one in quantised.graph.initializer}
    (node,) = (node for node in quantised.graph.node if node.op_type == "QuantizeLinear")
    assert [values[name].item() for name in node.input[1:]] == [1.0, 128]
    assert Counter(node.op_type for node in quantised.graph.node)["DequantizeLinear"] >= 2
    white = np.full((1, 8, 8, 3), 255, dtype=np.uint8)
    runs = [
        onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        ).run(None, {"pixels": white})[0]
        for model in (proto, quantised)
    ]
    assert np.abs(runs[0] - runs[1]).max() < 0.02 * np.abs(runs[0]).max()
