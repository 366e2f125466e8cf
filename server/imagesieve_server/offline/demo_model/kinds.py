"""What kind of thing an emoji shows, in a policy person's words ("an animal", "a vehicle").

A table from emojibase's and Unicode's groups to phrases; the longest matching prefix of
``group/subgroup`` decides. A policy's neutral prompts get their meaning here.
"""

from __future__ import annotations

from imagesieve_server.offline.demo_model.emoji_art import Emoji

KINDS: dict[str, tuple[str, ...]] = {
    "Smileys & Emotion/face": ("a face", "a smiley", "an emotion"),
    "Smileys & Emotion/cat-face": ("a face", "an animal", "a cartoon cat"),
    "Smileys & Emotion/monkey-face": ("a face", "an animal"),
    "Smileys & Emotion/heart": ("a heart", "love"),
    "Smileys & Emotion/emotion": ("an emotion", "a comic symbol"),
    "People & Body/person": ("a person", "people"),
    "People & Body/family": ("a family", "people"),
    "People & Body/hand": ("a hand", "a gesture"),
    "People & Body/hands": ("hands", "a gesture"),
    "People & Body/body-parts": ("part of the body",),
    "Animals & Nature/animal": ("an animal", "wildlife"),
    "Animals & Nature/plant": ("a plant", "nature"),
    "Food & Drink/food": ("food", "a plate of food", "a meal"),
    "Food & Drink/drink": ("a drink", "a beverage"),
    "Food & Drink/dishware": ("dishes and cutlery",),
    "Travel & Places/transport": ("a vehicle", "transport", "traffic"),
    "Travel & Places/place": ("a place", "a landscape"),
    "Travel & Places/place-building": ("a building", "a place", "architecture"),
    "Travel & Places/place-religious": ("a building", "a place", "architecture"),
    "Travel & Places/sky & weather": ("the weather", "the sky"),
    "Travel & Places/time": ("a clock", "the time"),
    "Activities/sport": ("sports", "sports equipment"),
    "Activities/game": ("a game", "a toy"),
    "Activities/event": ("a party", "a celebration"),
    "Activities/arts": ("arts and crafts",),
    "Activities/award-medal": ("an award",),
    "Objects": ("an object", "a thing"),
    "Objects/clothing": ("clothing", "clothes"),
    "Objects/tool": ("a tool", "an object"),
    "Objects/office": ("office supplies", "an object"),
    "Objects/book-paper": ("a document", "books and paper"),
    "Objects/writing": ("office supplies", "an object"),
    "Objects/mail": ("mail", "an object"),
    "Objects/household": ("a household object", "an object"),
    "Objects/musical-instrument": ("a musical instrument", "music"),
    "Objects/music": ("music", "an object"),
    "Objects/computer": ("a computer", "electronics"),
    "Objects/phone": ("a phone", "electronics"),
    "Objects/light & video": ("electronics", "an object"),
    "Objects/money": ("money", "finance"),
    "Objects/medical": ("medicine", "an object"),
    "Objects/science": ("science", "an object"),
    "Symbols": ("a symbol", "a sign"),
    "Symbols/arrow": ("an arrow", "a symbol"),
    "Symbols/geometric": ("a shape", "a symbol"),
    "Symbols/alphanum": ("text", "letters", "a symbol"),
    "Symbols/keycap": ("a number", "text", "a symbol"),
}


def kinds_of(emoji: Emoji) -> tuple[str, ...]:
    """The phrases that say what kind of thing ``emoji`` shows; empty where none fits."""
    place = f"{emoji.group}/{emoji.subgroup}"
    matching = [prefix for prefix in KINDS if place.startswith(prefix)]
    return KINDS[max(matching, key=len)] if matching else ()
