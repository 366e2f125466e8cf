"""The image encoder as an ONNX graph: uint8 NHWC pixels in, unit float32 embeddings out.

Knows torch modules and the exporter; refuses to know files, tokens and precision below fp32.
/255, mean and standard deviation are folded in as one multiply and add; a patch convolution
(kernel = stride) becomes reshape + matmul, so that no convolution search is left on a GPU; the
class token is broadcast by an addition, so that no shape arithmetic is left, which ONNX Runtime
would place on the CPU.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

from imagesieve_server.core.views import Preprocessing
from imagesieve_server.extras import need
from imagesieve_server.offline.export.rewrite import broadcast_by_addition, strip_notes

OPSET = 23
"""First opset with a fused Attention operator, which torch's exporter then emits."""


def export_image_graph(model: Any, preprocessing: Preprocessing, *, half: bool = False) -> Any:
    """Export an open_clip model's image tower; an ``onnx.ModelProto`` with weights inside.

    ``half`` computes the tower in float16; input scaling and normalisation stay in float32.
    """
    torch = need("torch")
    tower = copy.deepcopy(model.visual)
    _replace_patch_convolutions(torch, tower)
    dtype = torch.float16 if half else torch.float32
    graph = _wrapper(torch, tower.to(dtype), preprocessing, dtype).eval()
    side = preprocessing.size
    example = torch.zeros((2, side, side, 3), dtype=torch.uint8)
    return broadcast_by_addition(export_graph(graph, example, input_name="pixels"), "pixels")


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


def _wrapper(torch: Any, tower: Any, preprocessing: Preprocessing, dtype: Any) -> Any:
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


def _replace_patch_convolutions(torch: Any, tower: Any) -> None:
    """Replace each convolution over disjoint patches of the picture by reshape + matmul."""
    for parent in list(tower.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, torch.nn.Conv2d) and _is_patch_convolution(child):
                setattr(parent, name, _patch_matmul(torch, child))


def _is_patch_convolution(conv: Any) -> bool:
    return bool(
        conv.in_channels == 3
        and conv.kernel_size == conv.stride
        and conv.stride[0] > 1
        and conv.padding in ((0, 0), "valid")
        and conv.dilation == (1, 1)
        and conv.groups == 1
    )


def _patch_matmul(torch: Any, conv: Any) -> Any:
    class PatchMatmul(torch.nn.Module):  # type: ignore[misc]  # torch is imported at run time
        """[N, 3, H, W] to [N, C, H/p, W/p], as the convolution it replaces."""

        def __init__(self) -> None:
            super().__init__()
            self.patch = conv.kernel_size
            self.weight = torch.nn.Parameter(conv.weight.detach().flatten(1).T.contiguous())
            self.bias = conv.bias

        def forward(self, x: Any) -> Any:
            (height, width), (down, across) = self.patch, x.shape[2:]
            rows, columns = down // height, across // width
            patches = x.reshape(-1, 3, rows, height, columns, width)
            flat = patches.permute(0, 2, 4, 1, 3, 5).reshape(-1, rows * columns, len(self.weight))
            out = flat @ self.weight
            if self.bias is not None:
                out = out + self.bias
            return out.transpose(1, 2).reshape(-1, out.shape[-1], rows, columns)

    return PatchMatmul()
