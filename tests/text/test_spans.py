"""Which tokens spell which word: English and Chinese, phrases, and what no caption had."""

import pytest

from limner.text.spans import Span, spans_of
from limner.text.tokenizer import Tokenizer
from limner.text.words import Grammar, Phrase

SENTENCES = ["a cat to the left of an ice cream on the beach", "沙滩上的一只狗和冰淇淋"] * 9
PHRASES = [
    ("thing", "ice cream", "en", "ice cream"),
    ("thing", "cat", "en", "cat"),
    ("relation", "left", "en", "to the left of"),
    ("place", "beach", "en", "on the beach"),
    ("thing", "dog", "zh", "狗"),
    ("place", "beach", "zh", "沙滩上"),
]
GRAMMAR = Grammar(tuple(Phrase(*each, 1) for each in PHRASES), {}, frozenset(), frozenset())


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(SENTENCES, 340)


def texts(spans: list[Span]) -> list[str]:
    return [each.text for each in spans]


def test_each_word_has_its_own_tokens_in_order(tokenizer: Tokenizer) -> None:
    text = "a cat, zebras on the beach"
    spans = spans_of(text, tokenizer)
    assert texts(spans) == ["a", "cat", "zebras", "on", "the", "beach"]
    ids = tokenizer.encode(text)
    for each in spans:
        assert tokenizer.decode([ids[at] for at in each.tokens]) == each.text
    assert len(spans[2].tokens) > 1, "a word that captions never had is spelt"
    used = [at for each in spans for at in each.tokens]
    rest = [each for at, each in enumerate(ids) if at not in used]
    assert used == sorted(set(used)) and tokenizer.decode(rest).strip() == ","


def test_a_phrase_of_the_captions_is_one_word(tokenizer: Tokenizer) -> None:
    said = "a cat to the left of an ice cream on the beach"
    wanted = ["a", "cat", "to the left of", "an", "ice cream", "on the beach"]
    assert texts(spans_of(said, tokenizer, GRAMMAR)) == wanted
    assert texts(spans_of("沙滩上的一只狗", tokenizer, GRAMMAR)) == [
        "沙滩上",
        "的",
        "一",
        "只",
        "狗",
    ]
    assert texts(spans_of("沙滩", tokenizer)) == ["沙", "滩"]


@pytest.mark.parametrize("text", ["龘 dog", "Ünï cat", "dog's   cat", "😀", "...", ""])
def test_letters_of_several_bytes_belong_to_their_word(tokenizer: Tokenizer, text: str) -> None:
    spans = spans_of(text, tokenizer)
    ids = tokenizer.encode(text)
    for each in spans:
        assert tokenizer.decode([ids[at] for at in each.tokens]).replace(" ", "") == each.text
    assert (len(spans) > 0) == (text != "")
