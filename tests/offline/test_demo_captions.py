"""What is said about pictures, and what the words are true of."""

from __future__ import annotations

import random

from imagesieve_server.demo_data import DEMO_POLICY_SOURCE
from imagesieve_server.offline.demo_model.backdrops import PHOTOGRAPHS, TRAINING
from imagesieve_server.offline.demo_model.captions import CaptionWriter, concepts_of
from imagesieve_server.offline.demo_model.categories import CATEGORIES
from imagesieve_server.offline.demo_model.emoji_art import Emoji
from imagesieve_server.offline.demo_model.kinds import KINDS, kinds_of
from imagesieve_server.policy_files.source import parse_policy


def _emoji(name: str, words: tuple[str, ...], subgroup: str = "tool") -> Emoji:
    return Emoji(
        code="1F52A", name=name, words=words, group="Objects", subgroup=subgroup, file="x.png"
    )


EMOJI = (
    _emoji("dagger", ("knife", "weapon")),
    _emoji("bomb", ("explosion", "weapon")),
    _emoji("wrench", ("spanner",)),
    _emoji("socks", ("stocking",), subgroup="clothing"),
)


def _writer() -> CaptionWriter:
    return CaptionWriter(concepts_of(EMOJI, TRAINING))


def test_every_caption_is_true_of_its_own_concept() -> None:
    writer, chance = _writer(), random.Random(1)
    for number in range(writer.scopes.shape[1]):
        for _ in range(30):
            _, scope = writer.write(number, chance)
            assert writer.scopes[scope, number]


def test_a_shared_keyword_is_true_of_all_that_have_it() -> None:
    writer, chance = _writer(), random.Random(1)
    drawn = dict(writer.write(0, chance) for _ in range(4000))
    weapons = writer.scopes[drawn["a picture of a weapon"]]
    assert weapons[:4].tolist() == [True, True, False, False]


def test_a_name_is_true_of_nothing_else() -> None:
    writer, chance = _writer(), random.Random(1)
    drawn = dict(writer.write(2, chance) for _ in range(4000))
    assert writer.scopes[drawn["a picture of a wrench"]].sum() == 1


def test_phrases_cover_names_keywords_and_kinds() -> None:
    phrases = set(_writer().phrases())
    for emoji in EMOJI:
        assert {emoji.name, *emoji.words, *kinds_of(emoji)} <= phrases


def test_the_more_exact_group_decides_the_kind() -> None:
    assert kinds_of(EMOJI[3]) == KINDS["Objects/clothing"]
    assert kinds_of(_emoji("x", (), subgroup="unheard-of")) == KINDS["Objects"]


def test_same_seed_same_captions() -> None:
    first, second = random.Random(7), random.Random(7)
    writer = _writer()
    assert [writer.write(0, first) for _ in range(50)] == [
        writer.write(0, second) for _ in range(50)
    ]


def test_some_photographs_are_held_out_and_all_have_a_licence() -> None:
    assert 0 < len(TRAINING) < len(PHOTOGRAPHS)
    assert all(p.licence in ("public domain", "CC0 1.0") and p.source for p in PHOTOGRAPHS)


def test_the_policy_and_the_table_have_the_same_categories() -> None:
    text = DEMO_POLICY_SOURCE.read_text(encoding="utf-8")
    policy = parse_policy(text, file=DEMO_POLICY_SOURCE.name)
    assert [c.id for c in policy.categories] == list(CATEGORIES)
    assert policy.warnings == ()


def test_no_emoji_stands_in_two_categories() -> None:
    names = [name for row in CATEGORIES.values() for name in row]
    assert len(names) == len(set(names))
