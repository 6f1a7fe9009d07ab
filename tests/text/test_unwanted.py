"""What a prompt names and does not ask for is taken out, and nothing else."""

import pytest

from limner.text.items import Item
from limner.text.unwanted import without_negated, without_parts


def items(text: str) -> list[Item]:
    """Return items of words like "thing:cat"; a kind alone is a word of that kind."""
    parts = (word.partition(":") for word in text.split())
    return [Item(kind, name, name or kind, name or kind) for kind, _, name in parts]


def words(kept: list[Item]) -> str:
    return " ".join(item.text for item in kept)


@pytest.mark.parametrize(
    ("prompt", "kept", "lost"),
    [
        ("thing:cat and:with colour:green many:eye", "cat", "green eye"),
        ("thing:cat and:with unknown:long many:ear and thing:dog", "cat and dog", "long ear"),
        ("thing:cat and:with thing:hat", "cat with hat", ""),
        ("thing:eye and:with thing:ear", "eye", "ear"),
        ("and:with colour:green many:eye", "with green eye", ""),
        ("thing:cat and thing:eye", "cat and eye", ""),
        ("colour:green thing:eye stop:的 thing:cat", "的 cat", "green eye"),
        ("thing:cat stop:的 thing:eye", "cat 的 eye", ""),
        ("thing:eye stop:的", "eye 的", ""),
    ],
)
def test_parts_of_a_thing_are_left_out(prompt: str, kept: str, lost: str) -> None:
    found, left_out = without_parts(items(prompt))
    assert (words(found), " ".join(left_out)) == (kept, lost)


@pytest.mark.parametrize(
    ("prompt", "kept", "lost"),
    [
        ("thing:cat not thing:dog", "cat", "dog"),
        ("not thing:dog comma:, thing:cat", ", cat", "dog"),
        ("thing:cat not colour:red thing:dog and thing:fox", "cat and fox", "red dog"),
        ("not many:cat", "cat", "cat"),
    ],
)
def test_what_is_excluded_is_not_drawn(prompt: str, kept: str, lost: str) -> None:
    found, negated = without_negated(items(prompt))
    assert (words(found), " ".join(negated)) == (kept, lost)
