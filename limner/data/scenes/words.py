"""The words of models of emoji scenes: each phrase of captions, counted over a sample of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from limner.data.scenes import captions as say
from limner.data.scenes import placewords
from limner.data.scenes.backgrounds import backgrounds
from limner.data.scenes.graph import COUNTS, MANY, is_wide, sample_graph, scene_rng
from limner.data.scenes.nouns import Noun, are_wide, nouns
from limner.text.items import Phrasebook, itemise
from limner.text.lexicon import tokens
from limner.text.reading import indefinite
from limner.text.words import Grammar, Phrase, Words

SAMPLE = 30_000  # scenes, each with a caption in both languages
RARE = 2e-4  # of captions


@lru_cache(maxsize=4)
def scene_words(level: int = 4, *, count: int = SAMPLE, seed: int = 0) -> Words:
    """Return the table of words of scenes of `level`, counted over `count` training scenes."""
    # More than SAMPLE are not looked at: every phrase and every order has then been met.
    count = min(count, SAMPLE)
    texts = list(_captions(level, count, seed))
    counts = Counter(word for text in texts for word in set(tokens(text)))
    grammar = scene_grammar(wide=is_wide(level))
    book = Phrasebook(grammar)
    order: Counter[str] = Counter()
    used: Counter[tuple[str, str, str]] = Counter()
    for text in texts:
        items = itemise(text, book)
        labels = ["^", *(item.label for item in items), "$"]
        order.update({f"{one} {after}" for one, after in pairwise(labels)})
        used.update((item.kind, item.name, item.text) for item in items)
    named: defaultdict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    for (kind, name, text), times in used.items():
        named[kind, name].append((text, times))
    phrases = tuple(
        Phrase(p.kind, p.name, p.language, p.text, _times(p.text, named[p.kind, p.name]))
        for p in grammar.phrases
    )
    # A pair that few captions have is one of phrases that were cut in the wrong place.
    usual = frozenset(pair for pair, times in order.items() if times >= len(texts) * RARE)
    counted = Grammar(phrases, grammar.classifiers, grammar.uncounted, usual)
    return Words(len(texts), dict(counts), counted)


def draws_wide(words: Words | None) -> bool:
    """Say whether a model of these words was shown things of the whole noun table."""
    grammar = None if words is None else words.grammar
    return grammar is not None and are_wide(grammar.named("thing", "en"))


def scene_grammar(*, wide: bool = False) -> Grammar:
    """Return what captions of scenes can say, uncounted and without their order."""
    things = nouns(wide=wide)
    classifiers = {noun.singular: noun.classifier for noun in things}
    named = {name for noun in things for name in (noun.singular, *noun.aliases)}
    phrases = tuple(_phrases(things, wide=wide))
    return Grammar(phrases, classifiers, say.WITHOUT_ARTICLE & named, frozenset())


def phrase_texts(*, wide: bool = False) -> list[str]:
    """Return every phrase of captions as a text: all the words that a model can meet."""
    return [phrase.text.replace("{}", " ") for phrase in scene_grammar(wide=wide).phrases]


def _captions(level: int, count: int, seed: int) -> Iterator[str]:
    for index in range(count):
        rng = scene_rng("train", index, seed, level)
        graph = sample_graph("train", rng, level)
        for language in say.LANGUAGES:
            yield say.caption(graph, language, rng)


def _times(phrase: str, used: Sequence[tuple[str, int]]) -> int:
    words = tokens(phrase.replace("{}", " "))
    return sum(times for text, times in used if tokens(text) == words)


def _phrases(things: Sequence[Noun], *, wide: bool) -> Iterator[Phrase]:
    for noun in things:
        name = noun.singular
        yield from _each("thing", name, "en", name, *noun.aliases)
        yield from _each("many", name, "en", noun.plural)
        yield from _each("thing", name, "zh", noun.chinese, *noun.chinese_aliases)
        yield from _each("classifier", noun.classifier, "zh", noun.classifier)
    yield from _each("article", "a", "en", "a", "an")
    yield from _each("prefix", "picture", "en", "a picture of")
    yield from _each("number", "1", "zh", "一")
    for number in (*COUNTS, *MANY) if wide else COUNTS:
        yield from _each("number", str(number), "en", say.NUMBERS["en"][number], str(number))
        yield from _each("number", str(number), "zh", say.NUMBERS["zh"][number])
    for colour, chinese in say.COLOURS_ZH.items():
        yield from _each("colour", colour, "en", colour)
        yield from _each("colour", colour, "zh", f"{chinese}色的", chinese)
    for size, words in say.SIZES_EN.items():
        yield from _each("size", size, "en", *filter(None, words))
    yield from _each("size", "small", "zh", "小")
    yield from _each("size", "big", "zh", "大")
    yield from _relations()
    yield from _places(backgrounds(wide=wide))
    if wide:
        yield from _relations_of_the_wide_world()
        yield from _empty_places()
    for style, templates in say.STYLES_EN.items():
        yield from _each("style", style, "en", *templates)
    for style, chinese_templates in say.STYLES_ZH.items():
        yield from _each("style", style, "zh", *chinese_templates)


def _each(kind: str, name: str, language: str, *texts: str) -> Iterator[Phrase]:
    return (Phrase(kind, name, language, text, 0) for text in texts)


def _relations() -> Iterator[Phrase]:
    for relation, names in (("left", ("left", "right")), ("above", ("above", "below"))):
        for name, english in zip(names, say.RELATIONS_EN[relation], strict=True):
            yield from _each("relation", name, "en", *english)
        for name, chinese in zip(names, say.RELATIONS_ZH[relation], strict=True):
            yield from _each("relation", name, "zh", chinese)


def _relations_of_the_wide_world() -> Iterator[Phrase]:
    for name, english, chinese in zip(("front", "behind"), say.FRONT_EN, say.FRONT_ZH, strict=True):
        yield from _each("relation", name, "en", *english)
        yield from _each("relation", name, "zh", chinese)
    yield from _each("relation", "beside", "en", *say.BESIDE_EN)
    yield from _each("relation", "beside", "zh", say.BESIDE_ZH)
    yield from _each("relation", "between", "en", say.BETWEEN_EN)
    yield from _each("relation", "between", "zh", *say.BETWEEN_ZH)
    yield from _each("and", "beside", "en", say.AND_EN)
    yield from _each("and", "beside", "zh", say.AND_ZH)


def _empty_places() -> Iterator[Phrase]:
    for key in backgrounds(wide=True):
        for language in say.LANGUAGES:
            yield from _each("empty", key, language, *say.empty_places(key, language))


def _places(keys: Sequence[str]) -> Iterator[Phrase]:
    """Yield the phrases of backgrounds in their order: a decoder knows them by number."""
    for key in keys:
        pattern, _, tint = key.partition(":")
        bare = say.bare_background_english(key)
        if tint:
            a, colour = indefinite(tint), say.COLOURS_ZH[tint]
            english = tuple(text.format(tint, a=a) for text in placewords.PATTERNS_EN[pattern])
            chinese = tuple(text.format(colour) for text in placewords.PATTERNS_ZH[pattern])
        else:
            english, chinese = placewords.PLACES_EN[pattern], placewords.PLACES_ZH[pattern]
        yield from _each("place", key, "en", *english)
        if bare not in english:
            yield from _each("bare", key, "en", bare)
        yield from _each("place", key, "zh", *chinese)
