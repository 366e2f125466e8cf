"""Where a tower's last linear map lies, and what goes into it.

An embedding is ``base + W·features + b`` before it is scaled to unit length; everything but W
and b is frozen, so features are computed once. Where W lies is a table by open_clip's modules;
whether the table is right for a model is not believed but measured (``Tower.check``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.errors import BundleError
from imagesieve_server.extras import need

Floats = npt.NDArray[np.float32]

_IMAGE = (
    "visual.proj",  # open_clip's ViT
    "visual.attnpool.c_proj",  # its ResNet
    "visual.head.proj",  # timm's towers, projected by open_clip
    "visual.head.mlp.fc2",
    "visual.trunk.head",  # timm's towers, projected by timm
    "visual.trunk.head.fc",
    # SigLIP has no projection: its pooling ends in x + fc2(…), whose last map has its place.
    "visual.trunk.attn_pool.mlp.fc2",
)
_TEXT = ("text_projection", "text.text_projection", "text.proj", "text.proj.2")

_SHIFT = 0.1
_TOLERANCE = 1e-3
"""Of the check: how far the map is moved, and how far predicted embeddings may then be off, both
relative to their length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """A linear map with bias; ``bias`` is None where the tower has none."""

    weight: Any  # float [D, F]
    bias: Any  # float [D] or None

    def of(self, features: Any, base: Any) -> Any:
        """Unit embeddings [N, D] of features [N, F] and base [N, D], None for zero."""
        function = need("torch").nn.functional
        moved = function.linear(features, self.weight, self.bias)
        return function.normalize(moved if base is None else base + moved, dim=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tower:
    """One encoder of a model, taken apart at its last linear map."""

    place: str  # of the map in the model
    module: Any  # a Linear, or the Parameter itself, stored [F, D]
    encode: Callable[[Any], Any]  # a batch to raw embeddings [N, D]

    def map(self) -> Map:
        """A copy of the map as it is now."""
        weight, bias = _tensors(self.module)
        held = weight.detach().clone()
        if bias is None and not _is_linear(self.module):
            held = held.T.contiguous()
        return Map(weight=held, bias=None if bias is None else bias.detach().clone())

    def put(self, new: Map) -> None:
        """Write a map into the model."""
        weight, bias = _tensors(self.module)
        weight.data = new.weight if _is_linear(self.module) else new.weight.T.contiguous()
        if bias is not None:
            bias.data = new.bias

    def take_apart(self, batch: Any) -> tuple[Any, Any]:
        """(features [N, F], base [N, D] or None for zero) of a batch.

        Only SigLIP's pooling has a base: what it adds the map to.

        Raises BundleError where the map sees several rows a picture.
        """
        torch = need("torch")
        with torch.no_grad():
            calls, embeddings = self._watched(batch)
            if not calls:
                return self._through_identity(batch)
            (features, moved), *more = calls
            rows = len(embeddings)
            if more or features.numel() != rows * features.shape[-1]:
                raise _refused(self.place)
            base = embeddings - moved.reshape(rows, -1)
        rounding = bool(base.abs().max() <= 1e-5 * embeddings.abs().max())
        return features.reshape(rows, -1), None if rounding else base

    def check(self, batch: Any) -> None:
        """See on a batch that embeddings follow the map as it is moved. Raises BundleError.

        What stands behind the map in a family that the table does not know (a normalisation,
        say) shows here.
        """
        torch = need("torch")
        features, base = self.take_apart(batch)
        before = self.map()
        noise = (
            torch.randn(before.weight.shape, generator=torch.Generator().manual_seed(0))
            * before.weight.std()
        )
        try:
            for share in (0.0, _SHIFT):
                moved = Map(weight=before.weight + share * noise, bias=before.bias)
                self.put(moved)
                with torch.no_grad():
                    found = torch.nn.functional.normalize(self.encode(batch), dim=-1)
                    error = (found - moved.of(features, base)).norm(dim=-1).max()
                if not float(error) <= _TOLERANCE:
                    raise _refused(self.place)
        finally:
            self.put(before)

    def _watched(self, batch: Any) -> tuple[list[tuple[Any, Any]], Any]:
        """(input and output of each call of the map, the embeddings)."""
        calls = list[tuple[Any, Any]]()
        if not _is_linear(self.module):
            return calls, None
        hook = self.module.register_forward_hook(
            lambda _, given, output: calls.append((given[0], output))
        )
        try:
            return calls, self.encode(batch)
        finally:
            hook.remove()

    def _through_identity(self, batch: Any) -> tuple[Any, Any]:
        """For a map that is no called module: with the identity in its place features come out."""
        torch = need("torch")
        before = self.map()
        inputs = before.weight.shape[1]
        bias = None if before.bias is None else torch.zeros(inputs)
        try:
            self.put(Map(weight=torch.eye(inputs), bias=bias))
            features = self.encode(batch)
        finally:
            self.put(before)
        return features, None


def image_tower(model: Any) -> Tower:
    """The image tower of an open_clip model. Raises BundleError where it has no projection."""
    return _tower(model, _IMAGE, "image", model.encode_image)


def text_tower(model: Any) -> Tower:
    """The text tower of an open_clip model. Raises BundleError where it has no projection."""
    return _tower(model, _TEXT, "text", model.encode_text)


def _tower(model: Any, places: tuple[str, ...], name: str, encode: Callable[[Any], Any]) -> Tower:
    for place in places:
        found = _at(model, place)
        if found is not None:
            return Tower(place=place, module=found, encode=encode)
    raise BundleError(
        f"the {name} tower of this model ends in no projection that can be fine-tuned "
        f"(looked for {', '.join(places)})"
    )


def _at(model: Any, place: str) -> Any:
    """The Linear or matrix at a dotted name, None where there is neither."""
    found = model
    for part in place.split("."):
        found = getattr(found, part, None)
    torch = need("torch")
    matrix = isinstance(found, torch.nn.Parameter) and found.ndim == 2
    return found if matrix or isinstance(found, torch.nn.Linear) else None


def _is_linear(module: Any) -> bool:
    return isinstance(module, need("torch").nn.Linear)


def _tensors(module: Any) -> tuple[Any, Any]:
    return (module.weight, module.bias) if _is_linear(module) else (module, None)


def _refused(place: str) -> BundleError:
    return BundleError(
        f"this model's embeddings do not follow its last linear map ({place}) alone, so that map "
        "cannot be fine-tuned by itself"
    )
