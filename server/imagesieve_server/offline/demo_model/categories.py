"""Which emoji show what the demo policy looks for: the ground truth of the demo's figures.

A table by emojibase's names; keys are the category ids of ``demo_data/policies/demo.yaml``. What
shows two things at once, or a sign against a thing ("no smoking"), stands in no row.
"""

from __future__ import annotations

CATEGORIES: dict[str, tuple[str, ...]] = {
    "weapons": (
        "water pistol",  # drawn as a pistol in all but colour
        "bomb",
        "kitchen knife",
        "dagger",
        "crossed swords",
        "bow and arrow",
        "axe",
    ),
    "alcohol_tobacco": (
        "sake",
        "wine glass",
        "cocktail glass",
        "tropical drink",
        "beer mug",
        "clinking beer mugs",
        "bottle with popping cork",
        "clinking glasses",
        "tumbler glass",
        "cigarette",
    ),
    "drugs": ("pill", "syringe"),
    "gambling": (
        "slot machine",
        "game die",
        "joker",
        "spade suit",
        "club suit",
        "heart suit",
        "diamond suit",
        "flower playing cards",
        "mahjong red dragon",
    ),
    "death": ("skull", "skull and crossbones", "coffin", "headstone", "funeral urn"),
    "insults": ("middle finger", "pile of poo", "face with symbols on mouth", "clown face"),
}
