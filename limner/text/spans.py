"""The words of a text as a model reads them, each with the tokens that spell it.

A word of several tokens is one word, and so is a phrase that captions used as one: "ice cream",
"to the left of", 沙滩上.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from limner.text import lexicon
from limner.text.reading import phrasebook
from limner.text.tokenizer import Tokenizer
from limner.text.words import Grammar


@dataclass(frozen=True)
class Span:
    """A word or phrase, and which tokens of its text spell it, counted from 0."""

    text: str
    tokens: tuple[int, ...]


def spans_of(text: str, tokenizer: Tokenizer, grammar: Grammar | None = None) -> list[Span]:
    """Return the words of a text in order, with a grammar the phrases that its captions had.

    Punctuation is no word, and a word of which the tokenizer keeps nothing is left out. It does not
    know how many tokens a model reads.
    """
    ids = tokenizer.encode(text)
    seen = tokenizer.decode(ids)  # the text as the model sees it
    # 1. Where each token ends in it. Half of a character decodes to one of another length, so no
    # end may lie behind the next one.
    ends = [len(tokenizer.decode(ids[: count + 1])) for count in range(len(ids))]
    for at in reversed(range(len(ends) - 1)):
        ends[at] = min(ends[at], ends[at + 1])
    # 2. A token belongs to the word in which it ends.
    found = []
    for words, begin, end in _places(seen, grammar):
        if tokens := tuple(at for at, last in enumerate(ends) if begin < last <= end):
            found.append(Span(lexicon.join(words), tokens))
    return found


def _places(text: str, grammar: Grammar | None) -> Iterator[tuple[list[str], int, int]]:
    """Yield the words of each phrase of a text, and where it begins and ends."""
    low, cursor = text.lower().replace("’", "'"), 0
    for words in _phrases(text, grammar):
        places = []
        for word in words:
            # A word that the text spells otherwise than the lexicon has no place.
            if (at := low.find(word, cursor)) >= 0:
                cursor = at + len(word)
                places.append((at, cursor))
        if places:
            yield words, places[0][0], places[-1][1]


def _phrases(text: str, grammar: Grammar | None) -> list[list[str]]:
    """Return the words of a text, those of one phrase together."""
    words = lexicon.tokens(text)
    if not words:  # an emoji, say: all that there is
        return [[each] for each in text.split()]
    lengths = [1] * len(words)
    if grammar is not None:
        lengths = [length for length, _ in phrasebook(grammar).cut(words)]
    rest, found = iter(words), []
    for length in lengths:
        found.append([next(rest) for _ in range(length)])
    return [each for each in found if not lexicon.COMMAS.issuperset(each)]
