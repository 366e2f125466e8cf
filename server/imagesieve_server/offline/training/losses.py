"""The two contrastive losses. Both take any number of true captions a picture.

Knows similarities and matches; refuses to know models and data.
"""

from __future__ import annotations

from typing import Any

from imagesieve_server.extras import need


def contrastive_loss(similarities: Any, matches: Any) -> Any:
    """CLIP's symmetric cross entropy (InfoNCE), the target shared among all true captions.

    ``similarities`` float [N, N], pictures by captions, already times the logit scale;
    ``matches`` bool [N, N], at least one True in each row and column.
    """
    torch = need("torch")
    by_picture = matches.float() / matches.sum(1, keepdim=True)
    by_caption = matches.float() / matches.sum(0, keepdim=True)
    to_text = (by_picture * torch.log_softmax(similarities, dim=1)).sum(1).mean()
    to_picture = (by_caption * torch.log_softmax(similarities, dim=0)).sum(0).mean()
    return -(to_text + to_picture) / 2


def sigmoid_loss(logits: Any, matches: Any) -> Any:
    """SigLIP's pairwise loss (arXiv:2303.15343, algorithm 1): every pair is a yes or no of its own.

    ``logits`` float [N, N], λ·c + b; ``matches`` bool [N, N]. The sum over pairs is divided by N.
    """
    torch = need("torch")
    signs = matches.float() * 2.0 - 1.0
    return -torch.nn.functional.logsigmoid(signs * logits).sum() / len(logits)
