"""Colours of the explanation's picture; readable for people who do not tell red from green."""

from __future__ import annotations

from imagesieve_server.core.verdict import Band, Verdict

PAPER = "#fdfcfa"
INK = "#1c2230"
MUTED = "#667085"
FAINT = "#dfe2e7"
TRACK = "#eef0f3"
WHITE = "#ffffff"

AMBER = "#d97706"
RED = "#b3261e"
SLATE = "#7c8aa0"
TEAL = "#0f7f86"

VERDICTS = {Verdict.ALLOW: TEAL, Verdict.REVIEW: AMBER, Verdict.BLOCK: RED}
BANDS = {Band.CLEAR: SLATE, Band.REVIEW: AMBER, Band.BLOCK: RED}
GROUPS = {"prompts": AMBER, "neutral": SLATE, "counter": TEAL}
