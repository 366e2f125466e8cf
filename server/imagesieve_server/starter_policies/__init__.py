"""Policies to begin with on a pretrained model: uncalibrated, observed, review-only.

Files for people to copy and edit; no server loads them by itself. ``policy starters`` lists and
writes them. Why they are worded as they are stands in their comments.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent

STARTERS = (_HERE / "starter_clip.yaml", _HERE / "starter_siglip.yaml")
