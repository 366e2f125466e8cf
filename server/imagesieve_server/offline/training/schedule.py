"""The learning rate over time. Pure arithmetic."""

from __future__ import annotations

import math


def learning_rate(step: int, *, peak: float, warm_up: int, steps: int) -> float:
    """Linear over ``warm_up`` steps, then a cosine that reaches zero at ``steps``."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return peak * 0.5 * (1.0 + math.cos(math.pi * done))
