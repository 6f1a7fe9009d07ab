"""What a person reads in a text, whatever its characters are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.finish.policy.spelling import read_through, without_repeats


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A Red Apple", ("a", "red", "apple")),
        ("ápplè", ("apple",)),
        ("аррlе", ("apple",)),
        ("a-p.p", ("a", "p", "p")),
        ("3 apples", ("e", "apples")),
        ("🇦🅱🅒", ("abc",)),
        ("", ()),
    ],
)
def test_words_are_of_plain_letters(text: str, words: tuple[str, ...]) -> None:
    assert read_through(text).ways[0] == words


def test_signs_are_letters_within_a_word_alone() -> None:
    assert ("wait", "i", "am") in read_through("wait! I am").ways
    assert ("hill",) in read_through("h!ll").ways and ("hlll",) in read_through("h!ll").ways
    assert ("sad", "cats") in read_through("$ad c@+s").ways
    assert ("bold",) in read_through("**bold**").ways
    assert ("b*ld",) in read_through("b*ld").ways


def test_chinese_is_one_row_of_simplified_characters() -> None:
    assert read_through("一隻 貓，a cat，龍。").chinese == "一只猫龙"


def test_repeats_are_dropped() -> None:
    assert without_repeats("aabbbcb") == "abcb"


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    for words in read_through(text).ways:
        assert all(word and set(word) <= set("abcdefghijklmnopqrstuvwxyz*") for word in words)
