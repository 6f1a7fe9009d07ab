"""The tables of words, and the spelling of what is typed."""

import pytest

from limner.data.scenes.nouns import nouns
from limner.data.scenes.sprites import COLOURS
from limner.text import lexicon
from limner.text.lexicon import correct, plurals, simplify, spell_emoji, tokens


def test_words_digits_han_characters_and_commas_are_tokens() -> None:
    assert tokens("Jack-o'-lantern, 4k “T恤”!") == ["jack-o'-lantern", ",", "4k", "t", "恤"]
    assert tokens("红底，3个") == ["红", "底", ",", "3", "个"]
    assert tokens("don’t …") == ["don't"]


def test_every_noun_has_its_row_and_no_name_stands_for_two_things() -> None:
    rows = lexicon.synonyms()
    assert {row.english[0] for row in rows} == {noun.singular for noun in nouns()}
    for names in ([n for r in rows for n in r.english], [n for r in rows for n in r.chinese]):
        assert len(names) == len(set(names)), sorted({n for n in names if names.count(n) > 1})
    faces = [emoji for row in rows for emoji in row.emoji]
    assert len(faces) == len(set(faces))
    assert {noun.emoji.replace("\ufe0f", "") for noun in nouns()} <= set(faces)


def test_what_stands_for_an_idea_can_be_drawn_and_no_phrase_stands_for_two() -> None:
    named = {noun.singular for noun in nouns(wide=True)}
    assert all(set(row.name.split("|")) <= named for row in lexicon.ideas())
    phrases = [phrase for row in lexicon.ideas() for phrase in row.phrases]
    assert len(phrases) == len(set(phrases)) > 1000
    assert all(len(phrase) > 1 for phrase in phrases)  # a single character may be part of any word


def test_colours_lead_to_the_eleven_and_hold_every_css_name() -> None:
    from PIL import ImageColor

    names = lexicon.colour_names()
    assert set(names.values()) == set(COLOURS) and set(COLOURS) <= set(names)
    missing = set(ImageColor.colormap) - set(names)
    assert missing == {"snow", "seashell"}, "a place and a thing"
    assert [names[name] for name in ("crimson", "teal", "navy", "silver", "golden", "金色")] == [
        "red", "blue", "blue", "gray", "yellow", "yellow",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("dgo", "dog"),
        ("umbrela", "umbrella"),
        ("elephnat", "elephant"),
        ("elefant", "elephant"),
        ("appel", "apple"),
        ("thre", "three"),
        ("lake", None),  # an English word, one letter from "cake"
        ("moose", None),
        ("xx", None),
        ("god", None),
        ("cqt", None),  # in three letters only an exchange is taken for a slip
    ],
)
def test_slips_are_mended_and_words_left_alone(typed: str, meant: str | None) -> None:
    known = ["the", "three", "dog", "umbrella", "elephant", "apple", "cake", "mouse", "cat"]
    assert correct(typed, known) == meant


def test_traditional_characters_become_simplified() -> None:
    assert simplify("紅色的貓和蘋果") == "红色的猫和苹果"
    assert simplify("a cat") == "a cat"


def test_emoji_are_spelt_whatever_selectors_they_carry() -> None:
    assert spell_emoji("a 🐱!") == ("a  cat !", [("🐱", "cat")])
    assert spell_emoji("❤️") == ("❤", [])
    assert spell_emoji("✂️")[1] == [("✂", "scissors")]
    assert spell_emoji("🐈‍⬛")[1] == [("🐈‍⬛", "cat")]


def test_emoji_of_the_wide_world_count_where_a_model_knows_them() -> None:
    wide = frozenset(noun.singular for noun in nouns(wide=True))
    for noun in nouns(wide=True):
        assert spell_emoji(f"a {noun.emoji}", wide)[1][0][1] == noun.singular
    assert spell_emoji("🐩")[1] == [("🐩", "dog")] != spell_emoji("🐩", wide)[1]
    assert [name for _, name in spell_emoji("🧑‍🚒 🇯🇵", wide)[1]] == ["firefighter", "flag of japan"]


def test_plurals_are_those_of_the_last_word_or_before_of() -> None:
    assert "berries" in plurals("berry") and "wolves" in plurals("wolf")
    assert "boxes" in plurals("box") and "knives" in plurals("knife")
    assert "bunches of grapes" in plurals("bunch of grapes")
