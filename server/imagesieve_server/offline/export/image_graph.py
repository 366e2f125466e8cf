"""The image encoder as an ONNX graph: uint8 NHWC pixels in, unit float32 embeddings out.

Knows torch modules and the exporter; refuses to know files, tokens and precision below fp32.
/255, mean and standard deviation are folded into the weights of a patch product, which then takes
the picture's bytes as they are, or are one multiply and add where there is none or in float16
(whose weights would lose digits). The class token is broadcast by an addition, so that no shape
arithmetic is left, which ONNX Runtime would place on the CPU.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

from imagesieve_server.core.views import Preprocessing
from imagesieve_server.extras import need
from imagesieve_server.offline.export.lean_layers import (
    fold_normalisation,
    replace_patch_convolutions,
    replace_products,
)
from imagesieve_server.offline.export.rewrite import broadcast_by_addition, strip_notes

OPSET = 23
"""First opset with a fused Attention operator, which torch's exporter then emits."""


def export_image_graph(model: Any, preprocessing: Preprocessing, *, half: bool = False) -> Any:
    """Export an open_clip model's image tower; an ``onnx.ModelProto`` with weights inside.

    ``half`` computes the tower in float16; input scaling and normalisation stay in float32.
    """
    torch = need("torch")
    tower = copy.deepcopy(model.visual)
    patches = replace_patch_convolutions(tower)
    if half:
        graph = _normalising(torch, tower.to(torch.float16), preprocessing, torch.float16)
    else:
        replace_products(tower)
        graph = _lean(torch, tower, patches, preprocessing)
    side = preprocessing.size
    example = torch.zeros((2, side, side, 3), dtype=torch.uint8)
    exported = export_graph(graph.eval(), example, input_name="pixels")
    return broadcast_by_addition(exported, "pixels")


def export_graph(graph: Any, example: Any, *, input_name: str) -> Any:
    """Run torch's exporter with a free first dimension; an ``onnx.ModelProto``."""
    torch, onnx = need("torch"), need("onnx")
    rows = torch.export.Dim("rows", min=1, max=4096)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's notes about its own internals
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=["embeddings"],
            dynamic_shapes=({0: rows},),
            external_data=False,
            verbose=False,
        )
    proto = program.model_proto
    assert isinstance(proto, onnx.ModelProto)
    return strip_notes(proto)


def _lean(torch: Any, tower: Any, patches: list[Any], preprocessing: Preprocessing) -> Any:
    """A float32 tower that begins with its one patch product, if it has one, on plain bytes."""
    if len(patches) != 1:
        return _normalising(torch, tower, preprocessing, torch.float32)
    fold_normalisation(patches[0], preprocessing)

    class BytesGraph(torch.nn.Module):  # type: ignore[misc]  # torch is imported at run time
        """uint8 [N, S, S, 3] to float32 [N, D]."""

        def __init__(self) -> None:
            super().__init__()
            self.tower = tower

        def forward(self, pixels: Any) -> Any:
            return unit(torch, self.tower(pixels.permute(0, 3, 1, 2)))

    return BytesGraph()


def _normalising(torch: Any, tower: Any, preprocessing: Preprocessing, dtype: Any) -> Any:
    class ImageGraph(torch.nn.Module):  # type: ignore[misc]  # torch is imported at run time
        """uint8 [N, S, S, 3] to float32 [N, D]."""

        def __init__(self) -> None:
            super().__init__()
            self.tower = tower
            mean, std = (torch.tensor(v) for v in (preprocessing.mean, preprocessing.std))
            # (x / 255 − mean) / std = x · 1/(255 std) − mean/std
            self.register_buffer("scale", 1.0 / (255.0 * std))
            self.register_buffer("shift", -mean / std)

        def forward(self, pixels: Any) -> Any:
            normal = pixels.to(torch.float32) * self.scale + self.shift
            return unit(torch, self.tower(normal.permute(0, 3, 1, 2).to(dtype)))

    return ImageGraph()


def unit(torch: Any, features: Any) -> Any:
    """Rows of [N, D] at length 1, in float32 (a sum of squares overflows float16)."""
    wide = features.to(torch.float32)
    return wide / torch.sqrt(torch.sum(wide * wide, dim=-1, keepdim=True))
