"""What is said about a picture, and which other pictures the same words are true of.

"a picture of a weapon" is true of every weapon in the batch, not only of the one it was drawn
for. Each caption therefore has a *scope*, the set of concepts it is true of, and the loss treats
every match as a positive. Knows words only; refuses to know pixels and tensors.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.offline.demo_model.backdrops import Photograph
from imagesieve_server.offline.demo_model.emoji_art import Emoji
from imagesieve_server.offline.demo_model.kinds import kinds_of

Scopes = npt.NDArray[np.bool_]

TEMPLATES = (
    "{}",
    "a picture of {}",
    "a photo of {}",
    "an emoji of {}",
    "a drawing of {}",
    "an image of {}",
    "an icon of {}",
)
A_PHOTOGRAPH = ("a photograph", "a real photograph", "a landscape photograph", "an ordinary photo")
A_BACKGROUND = ("an empty background", "a plain colour", "nothing", "a blank picture")

_ARTICLES = ("", "", "", "a ", "a ", "the ")
# Shares of: name; name and keywords; keywords; one keyword; kind.
_FORMS = ("name", "name and words", "words", "word", "kind")
_WEIGHTS = (52, 20, 6, 13, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """Something a picture can show."""

    name: str
    words: tuple[str, ...]  # keywords, true of every concept that has them
    kinds: tuple[str, ...]  # what kind of thing it is, as whole phrases
    kind_share: float = 0.0  # how often only the kind is said, beyond the usual


def concepts_of(emoji: Sequence[Emoji], photographs: Sequence[Photograph]) -> tuple[Concept, ...]:
    """Emoji first, then photographs, then the empty background: the order of concept numbers."""
    drawn = [Concept(name=e.name, words=e.words, kinds=kinds_of(e)) for e in emoji]
    # A crop of a photograph often shows nothing one could name.
    shot = [
        Concept(name=p.shows, words=p.words, kinds=A_PHOTOGRAPH, kind_share=0.6)
        for p in photographs
    ]
    empty = Concept(name="empty background", words=(), kinds=A_BACKGROUND, kind_share=0.9)
    return (*drawn, *shot, empty)


class CaptionWriter:
    """Draws captions of concepts."""

    def __init__(self, concepts: Sequence[Concept]) -> None:
        """Number the scopes: each concept alone, then every keyword, then every kind."""
        self._concepts = tuple(concepts)
        words = {w for c in concepts for w in c.words}
        kinds = {k for c in concepts for k in c.kinds}
        self._phrases = {p: len(concepts) + i for i, p in enumerate(sorted(words | kinds))}
        self.scopes = self._true_of()

    def _true_of(self) -> Scopes:
        """Bool [scopes, concepts]: whether the words of a scope are true of a concept."""
        scopes = np.zeros((len(self._concepts) + len(self._phrases), len(self._concepts)), bool)
        for number, concept in enumerate(self._concepts):
            scopes[number, number] = True
            for phrase in (concept.name, *concept.words, *concept.kinds):
                if phrase in self._phrases:
                    scopes[self._phrases[phrase], number] = True
        return scopes

    def phrases(self) -> Iterable[str]:
        """Every name, keyword and kind that a caption can hold."""
        return dict.fromkeys([*(c.name for c in self._concepts), *self._phrases])

    def write(self, number: int, chance: random.Random) -> tuple[str, int]:
        """(caption, scope) for concept ``number``."""
        concept = self._concepts[number]
        form = chance.choices(_FORMS, _WEIGHTS)[0]
        if chance.random() < concept.kind_share:
            form = "kind"
        if form == "kind" and concept.kinds:
            kind = chance.choice(concept.kinds)
            return _in_template(kind, chance), self._phrases[kind]
        if form == "word" and concept.words:
            word = chance.choice(concept.words)
            return _in_template(_with_article(word, chance), chance), self._phrases[word]
        if form == "words" and concept.words:
            return _in_template(" ".join(_some(concept.words, chance)), chance), number
        text = _in_template(_with_article(concept.name, chance), chance)
        if form == "name and words" and concept.words:
            text = ", ".join([text, *_some(concept.words, chance)])
        return text, number


def _some(words: Sequence[str], chance: random.Random) -> list[str]:
    return chance.sample(words, min(len(words), chance.randint(1, 3)))


def _with_article(phrase: str, chance: random.Random) -> str:
    return chance.choice(_ARTICLES) + phrase


def _in_template(phrase: str, chance: random.Random) -> str:
    return chance.choice(TEMPLATES).format(phrase)
