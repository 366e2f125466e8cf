"""The embedded default: a small model that understands emoji, a policy for it, and pictures.

Licences and attribution stand in ``bundle/MODEL_CARD.md`` and ``images/LICENSES.md``.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent

DEMO_BUNDLE = _HERE / "bundle"
DEMO_POLICIES = _HERE / "policies"
DEMO_POLICY_SOURCE = _HERE / "policies" / "demo.yaml"
DEMO_POLICY = _HERE / "policies" / "demo.policy.npz"
DEMO_IMAGES = _HERE / "images"
