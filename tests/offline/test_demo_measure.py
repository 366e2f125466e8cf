"""The demo model's figures and its card."""

from __future__ import annotations

import json
from pathlib import Path

from imagesieve_server.demo_data import DEMO_BUNDLE
from imagesieve_server.offline.demo_model.categories import CATEGORIES
from imagesieve_server.offline.demo_model.measure import CategoryFigures, Figures
from imagesieve_server.offline.demo_model.release import model_card
from imagesieve_server.offline.training.loop import LOG


def test_the_card_names_data_figures_and_limits(tmp_path: Path) -> None:
    log = {"artists": ["google", "twitter"], "steps": 7, "batch": 8, "seed": 9}
    (tmp_path / LOG).write_text(json.dumps(log))
    one = CategoryFigures(auc=0.9, recall=0.8, false_alarms=0.01, false_alarms_photographs=0.0)
    figures = Figures(
        artist="google",
        scenes=10,
        top1=0.5,
        top1_hard=0.4,
        top1_plain=0.6,
        categories=dict.fromkeys(CATEGORIES, one),
    )
    card = model_card(
        run=tmp_path, logit_scale=20.0, seen=("both", [figures]), unseen=[("twitter", [figures])]
    )
    assert "Never fit for moderation" in card
    for name in ("Noto Emoji", "Twemoji", "CC-BY-4.0", "emojibase-data", "chelsea.png"):
        assert name in card
    assert "| google | twitter | 0.500 | 0.400 | 0.600 | 0.900" in card


def test_the_committed_bundle_has_its_card_and_is_small() -> None:
    card = (DEMO_BUNDLE / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "Never fit for moderation" in card
    assert sum(path.stat().st_size for path in DEMO_BUNDLE.iterdir()) <= 12_000_000
