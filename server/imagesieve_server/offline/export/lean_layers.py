"""Layers of an image tower, written so that the graph has few steps beside its products.

Knows torch modules; refuses to know files, precision and which model it is given: the parity gate
proves each export. Replaced are

- convolutions over disjoint patches (kernel = stride), by one product of all patches, so that no
  convolution search is left on a GPU;
- linear layers, by products of two-dimensional matrices that take the bias with them;
- torch's attention, by three such products and one ``Attention`` node over [N, S, heads · size]:
  torch's own form splits, transposes and gathers the three out of one.
"""

from __future__ import annotations

from typing import Any

from imagesieve_server.core.views import Preprocessing
from imagesieve_server.extras import need

MIDDLE = 128
"""Of a picture's bytes."""


def replace_patch_convolutions(tower: Any) -> list[Any]:
    """Replace each convolution over disjoint patches of the picture; the new modules."""
    torch = need("torch")
    return _replace(tower, _is_patch_convolution, lambda conv: _patch_product(torch, conv))


def replace_products(tower: Any) -> None:
    """Replace linear layers and attention. Only what computes the same is replaced."""
    torch = need("torch")
    _replace(tower, _is_plain_attention, lambda attention: _attention(torch, attention))
    _replace(tower, lambda child: type(child) is torch.nn.Linear, lambda x: _linear(torch, x))


def fold_normalisation(patches: Any, preprocessing: Preprocessing) -> None:
    """Let a patch product take the picture's bytes: (x / 255 − mean) / std is in its weights.

    It subtracts ``MIDDLE`` from them. Without that, the rounding of an int8 weight would be
    multiplied by how bright the picture is.
    """
    torch = need("torch")
    mean = torch.tensor(preprocessing.mean, dtype=torch.float64)
    std = torch.tensor(preprocessing.std, dtype=torch.float64)
    weight = patches.weight.detach().double()  # [C, height · width · 3], channels innermost
    rows = weight.shape[1] // 3
    scale = (1 / (255 * std)).repeat(rows)
    bias = weight @ ((MIDDLE / 255 - mean) / std).repeat(rows)
    if patches.bias is not None:
        bias = bias + patches.bias.detach().double()
    patches.weight = torch.nn.Parameter((weight * scale).float())
    patches.bias = torch.nn.Parameter(bias.float())
    patches.middle = MIDDLE


def _replace(tower: Any, fits: Any, make: Any) -> list[Any]:
    made = []
    for parent in list(tower.modules()):
        for name, child in list(parent.named_children()):
            if fits(child):
                setattr(parent, name, make(child))
                made.append(getattr(parent, name))
    return made


def _is_patch_convolution(conv: Any) -> bool:
    return bool(
        isinstance(conv, need("torch").nn.Conv2d)
        and conv.in_channels == 3
        and conv.kernel_size == conv.stride
        and conv.stride[0] > 1
        and conv.padding in ((0, 0), "valid")
        and conv.dilation == (1, 1)
        and conv.groups == 1
    )


def _is_plain_attention(module: Any) -> bool:
    """One width for queries, keys and values, batch first, nothing added to keys or values."""
    return bool(
        type(module) is need("torch").nn.MultiheadAttention
        and module.in_proj_weight is not None
        and module.in_proj_bias is not None
        and module.batch_first
        and module.bias_k is None
        and not module.add_zero_attn
    )


def _product(torch: Any, x: Any, weight: Any, bias: Any) -> Any:
    """[N, …, K] · [M, K]ᵀ + [M] as one two-dimensional product; sizes but N are fixed."""
    flat = torch.nn.functional.linear(x.reshape(-1, x.shape[-1]), weight, bias)
    return flat.reshape(-1, *x.shape[1:-1], len(weight))


def _patch_product(torch: Any, conv: Any) -> Any:
    class PatchProduct(torch.nn.Module):  # type: ignore[misc]  # torch is imported at run time
        """[N, 3, H, W], of any number type, to [N, C, H/p, W/p], as the convolution it replaces."""

        def __init__(self) -> None:
            super().__init__()
            self.patch = conv.kernel_size
            # Channels innermost, as the bytes of a picture lie.
            weight = conv.weight.detach().permute(0, 2, 3, 1).flatten(1)
            self.weight = torch.nn.Parameter(weight.contiguous())
            self.bias = conv.bias
            self.middle = 0

        def forward(self, x: Any) -> Any:
            (height, width), (down, across) = self.patch, x.shape[2:]
            rows, columns = down // height, across // width
            grid = x.permute(0, 2, 3, 1).reshape(-1, rows, height, columns, width, 3)
            patches = grid.permute(0, 1, 3, 2, 4, 5).reshape(-1, rows * columns, height * width * 3)
            numbers = patches.to(self.weight.dtype)
            if self.middle:
                numbers = numbers - self.middle
            out = _product(torch, numbers, self.weight, self.bias)
            return out.transpose(1, 2).reshape(-1, out.shape[-1], rows, columns)

    return PatchProduct()


def _linear(torch: Any, linear: Any) -> Any:
    class Product(torch.nn.Module):  # type: ignore[misc]  # torch is imported at run time
        """A linear layer."""

        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = linear.weight, linear.bias

        def forward(self, x: Any) -> Any:
            return _product(torch, x, self.weight, self.bias)

    return Product()


def _attention(torch: Any, attention: Any) -> Any:
    class ThreeProductAttention(torch.nn.Module):  # type: ignore[misc]  # as above
        """``torch.nn.MultiheadAttention`` without masks, for inference."""

        def __init__(self) -> None:
            super().__init__()
            self.heads = attention.num_heads
            weights = attention.in_proj_weight.detach().chunk(3)
            biases = attention.in_proj_bias.detach().chunk(3)
            self.weights, self.biases = (
                torch.nn.ParameterList([part.clone() for part in parts])
                for parts in (weights, biases)
            )
            self.out_proj = attention.out_proj

        def forward(
            self,
            query: Any,
            key: Any,
            value: Any,
            need_weights: bool = False,
            attn_mask: Any = None,
        ) -> tuple[Any, None]:
            if need_weights or attn_mask is not None:
                raise NotImplementedError("an image tower has neither masks nor a use for weights")
            q, k, v = (
                _product(torch, x, weight, bias)
                for x, weight, bias in zip(
                    (query, key, value), self.weights, self.biases, strict=True
                )
            )
            attended, *_ = torch.onnx.ops.attention(
                q, k, v, q_num_heads=self.heads, kv_num_heads=self.heads
            )
            return _product(torch, attended, self.out_proj.weight, self.out_proj.bias), None

    return ThreeProductAttention()
