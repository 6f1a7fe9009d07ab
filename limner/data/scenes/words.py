"""The words of models of emoji scenes: each phrase of captions, counted over a sample of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from limner.data.scenes import captions as say
from limner.data.scenes.backgrounds import PATTERNS, PLACES, TINTS
from limner.data.scenes.graph import COUNTS, sample_graph, scene_rng
from limner.data.scenes.nouns import nouns
from limner.text.items import Phrasebook, itemise
from limner.text.lexicon import tokens
from limner.text.reading import indefinite
from limner.text.words import Grammar, Phrase, Words

SAMPLE = 30_000  # scenes, each with a caption in both languages
RARE = 2e-4  # of captions


@lru_cache(maxsize=4)
def scene_words(level: int = 4, *, count: int = SAMPLE, seed: int = 0) -> Words:
    """Return the table of words of scenes of `level`, counted over `count` training scenes.

    More than SAMPLE are not looked at: every phrase and every order has then been met.
    """
    count = min(count, SAMPLE)
    texts = list(_captions(level, count, seed))
    counts = Counter(word for text in texts for word in set(tokens(text)))
    grammar = scene_grammar()
    book = Phrasebook(grammar)
    order: Counter[str] = Counter()
    used: Counter[tuple[str, str, str]] = Counter()
    for text in texts:
        items = itemise(text, book)
        labels = ["^", *(item.label for item in items), "$"]
        order.update({f"{one} {after}" for one, after in pairwise(labels)})
        used.update((item.kind, item.name, item.text) for item in items)
    phrases = tuple(
        Phrase(p.kind, p.name, p.language, p.text, _times(p, used)) for p in grammar.phrases
    )
    # A pair that few captions have is one of phrases that were cut in the wrong place.
    usual = frozenset(pair for pair, times in order.items() if times >= len(texts) * RARE)
    counted = Grammar(phrases, grammar.classifiers, grammar.uncounted, usual)
    return Words(len(texts), dict(counts), counted)


def scene_grammar() -> Grammar:
    """Return what captions of scenes can say, uncounted and without their order."""
    classifiers = {noun.singular: noun.classifier for noun in nouns()}
    return Grammar(tuple(_phrases()), classifiers, say.WITHOUT_ARTICLE, frozenset())


def _captions(level: int, count: int, seed: int) -> Iterator[str]:
    for index in range(count):
        rng = scene_rng("train", index, seed, level)
        graph = sample_graph("train", rng, level)
        for language in say.LANGUAGES:
            yield say.caption(graph, language, rng)


def _times(phrase: Phrase, used: Counter[tuple[str, str, str]]) -> int:
    bare = phrase.text.replace("{}", " ")
    words = tokens(bare)
    return sum(
        times
        for (kind, name, text), times in used.items()
        if (kind, name) == (phrase.kind, phrase.name) and tokens(text) == words
    )


def _phrases() -> Iterator[Phrase]:
    for noun in nouns():
        for text in (noun.singular, *noun.aliases):
            yield Phrase("thing", noun.singular, "en", text, 0)
        yield Phrase("many", noun.singular, "en", noun.plural, 0)
        for text in (noun.chinese, *noun.chinese_aliases):
            yield Phrase("thing", noun.singular, "zh", text, 0)
        yield Phrase("classifier", noun.classifier, "zh", noun.classifier, 0)
    for text in ("a", "an"):
        yield Phrase("article", "a", "en", text, 0)
    yield Phrase("prefix", "picture", "en", "a picture of", 0)
    yield Phrase("number", "1", "zh", "一", 0)
    for number in COUNTS:
        yield Phrase("number", str(number), "en", say.NUMBERS["en"][number], 0)
        yield Phrase("number", str(number), "en", str(number), 0)
        yield Phrase("number", str(number), "zh", say.NUMBERS["zh"][number], 0)
    for colour, chinese in say.COLOURS_ZH.items():
        yield Phrase("colour", colour, "en", colour, 0)
        for text in (f"{chinese}色的", chinese):
            yield Phrase("colour", colour, "zh", text, 0)
    for size, told in say.SIZES_EN.items():
        for text in filter(None, told):
            yield Phrase("size", size, "en", text, 0)
    for size, text in (("small", "小"), ("big", "大")):
        yield Phrase("size", size, "zh", text, 0)
    yield from _relations()
    yield from _places()
    for style, templates in say.STYLES_EN.items():
        for text in templates:
            yield Phrase("style", style, "en", text, 0)
    for style, chinese_templates in say.STYLES_ZH.items():
        for text in chinese_templates:
            yield Phrase("style", style, "zh", text, 0)


def _relations() -> Iterator[Phrase]:
    names = {"left": ("left", "right"), "above": ("above", "below")}
    for relation, both in names.items():
        for name, english in zip(both, say.RELATIONS_EN[relation], strict=True):
            for text in english:
                yield Phrase("relation", name, "en", text, 0)
        for name, text in zip(both, say.RELATIONS_ZH[relation], strict=True):
            yield Phrase("relation", name, "zh", text, 0)


def _places() -> Iterator[Phrase]:
    # Every pattern in every tint: a prompt may ask for one that no scene has, and models compose.
    for key in (*(f"{pattern}:{tint}" for pattern in PATTERNS for tint in TINTS), *PLACES):
        pattern, _, tint = key.partition(":")
        if not tint:
            for text in say.PLACES_EN[pattern]:
                yield Phrase("place", key, "en", text, 0)
            if (bare := say.BARE_PLACES_EN[pattern]) not in say.PLACES_EN[pattern]:
                yield Phrase("bare", key, "en", bare, 0)
            for text in say.PLACES_ZH[pattern]:
                yield Phrase("place", key, "zh", text, 0)
            continue
        for template in say.PATTERNS_EN[pattern]:
            yield Phrase("place", key, "en", template.format(tint, a=indefinite(tint)), 0)
        yield Phrase("bare", key, "en", say.bare_background_english(key), 0)
        for template in say.PATTERNS_ZH[pattern]:
            yield Phrase("place", key, "zh", template.format(say.COLOURS_ZH[tint]), 0)
