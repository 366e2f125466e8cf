"""The text encoder as an ONNX graph: tokens int64 [N, L] in, unit float32 embeddings out.

Knows torch modules and the exporter; refuses to know tokenizers and files.
"""

from __future__ import annotations

import copy
from typing import Any

from imagesieve_server.extras import need
from imagesieve_server.offline.export.image_graph import export_graph, unit


def export_text_graph(model: Any, *, context_length: int) -> Any:
    """Export an open_clip model's text tower; an ``onnx.ModelProto`` with weights inside."""
    torch = need("torch")
    graph = _wrapper(torch, _without_image_tower(torch, model)).eval()
    example = torch.zeros((2, context_length), dtype=torch.int64)
    return export_graph(graph, example, input_name="tokens")


def _without_image_tower(torch: Any, model: Any) -> Any:
    """A copy of the model whose image tower is gone, so that its weights are not exported."""
    lean = copy.copy(model)
    lean._modules = {**model._modules, "visual": torch.nn.Identity()}
    return lean


def _wrapper(torch: Any, model: Any) -> Any:
    class TextGraph(torch.nn.Module):  # type: ignore[misc]  # torch is imported at run time
        """int64 [N, L] to float32 [N, D]."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: Any) -> Any:
            return unit(torch, self.model.encode_text(tokens))

    return TextGraph()
