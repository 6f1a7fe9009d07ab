"""The words of a model: what its captions used, counted, and what they mean where that is known.

The table lies in the model folder as `words.json`. A tokenizer can spell anything; this says what
the model was shown.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from limner.errors import CheckpointError, quote
from limner.text.lexicon import join, tokens

FORMAT = 1
KEY = "limner_words"
# What a phrase of captions can stand for. A "many" is the plural of a thing, a "bare" a place that
# stands after a comma ("cat, beach"), an "empty" one has no thing on it ("an empty beach"). An
# "and" joins things that stand side by side; a "prefix" says nothing ("a picture of").
KINDS = (
    "thing",
    "many",
    "article",
    "number",
    "classifier",
    "size",
    "colour",
    "place",
    "bare",
    "relation",
    "style",
    "prefix",
    "and",
    "empty",
)
LANGUAGES = ("en", "zh")
LISTED = {  # the kinds that a person is told of, under their titles
    "thing": "things",
    "colour": "colours",
    "number": "numbers",
    "size": "sizes",
    "place": "places",
    "relation": "relations",
    "style": "styles",
}


@dataclass(frozen=True)
class Phrase:
    """A phrase that captions used: what it is, of what name, in which language, how often.

    Of the phrases of one kind, name and language the first is the usual one. A style's phrase has
    {} where the thing stands, unless it stands alone.
    """

    kind: str
    name: str
    language: str
    text: str
    count: int


@dataclass(frozen=True, eq=False)  # hashed by identity: its phrasebook is made once
class Grammar:
    """What the captions of a model's world could say.

    `classifiers` are the Chinese measure words of things, `uncounted` the things that take no
    article, and `order` the pairs of neighbours that captions had ("colour thing").
    """

    phrases: tuple[Phrase, ...]
    classifiers: Mapping[str, str]
    uncounted: frozenset[str]
    order: frozenset[str]

    def named(self, kind: str, language: str) -> Mapping[str, str]:
        """Return the usual phrase of each name of a kind."""
        return self._usual.get((kind, language), {})

    @cached_property
    def _usual(self) -> Mapping[tuple[str, str], Mapping[str, str]]:
        usual: dict[tuple[str, str], dict[str, str]] = {}
        for phrase in self.phrases:
            named = usual.setdefault((phrase.kind, phrase.language), {})
            named.setdefault(phrase.name, phrase.text)
        return usual


@dataclass(frozen=True)
class Accuracy:
    """How many of `tried` pictures showed what was asked: of 1, 2, 3 ... of a thing.

    `right` holds as many numbers for each thing that was measured, each by its own `tried`.
    """

    tried: tuple[int, ...]
    right: Mapping[str, tuple[int, ...]]

    def of(self, thing: str, count: int = 1) -> tuple[int, int] | None:
        """Return (right, tried) of `count` of a thing; None where it was not measured."""
        if thing not in self.right or not 1 <= count <= len(self.tried):
            return None
        return self.right[thing][count - 1], self.tried[count - 1]


@dataclass(frozen=True, eq=False)  # hashed by identity: a prompt is read once
class Words:
    """How often each word stood in the `captions` that were counted, and their grammar if known.

    `taught` are words that an adapter added; they count as seen. `accuracy` is how well the model
    draws the things of the grammar, where that was measured.
    """

    captions: int
    counts: Mapping[str, int]
    grammar: Grammar | None = None
    taught: tuple[str, ...] = field(default=())
    accuracy: Accuracy | None = None

    def __contains__(self, word: str) -> bool:
        return word in self.counts or word in self.taught

    def __len__(self) -> int:
        return len(self.counts)

    def __repr__(self) -> str:
        return f"<Words: {len(self.counts)} words of {self.captions} captions>"

    def __iter__(self) -> Iterator[str]:
        """Yield the words, the most frequent first."""
        return iter(sorted(self.counts, key=lambda word: (-self.counts[word], word)))

    def search(self, text: str) -> list[str]:
        """Return the words and phrases that contain `text`, the most frequent first."""
        wanted = text.strip().lower()
        found = {word: self.counts[word] for word in self if wanted in word}
        if self.grammar:
            found |= {p.text: p.count for p in self.grammar.phrases if wanted in p.text}
        return sorted(found, key=lambda word: (-found[word], word))

    def times(self, word: str) -> int:
        """Return how many captions had a word or phrase."""
        if word in self.counts:
            return self.counts[word]
        phrases = self.grammar.phrases if self.grammar else ()
        return max((phrase.count for phrase in phrases if phrase.text == word), default=0)

    def by_kind(self) -> dict[str, list[str]]:
        """Return things, colours, places and so on in English and Chinese; else all the words."""
        if self.grammar is None:
            return {"words": list(self)}
        found = {}
        for kind, title in LISTED.items():
            shown = replace(self.grammar, phrases=tuple(p for p in self.grammar.phrases if p.count))
            english, chinese = (shown.named(kind, language) for language in LANGUAGES)
            found[title] = [
                " ".join(
                    dict.fromkeys((text.replace("{}", "").strip(), chinese.get(name, "")))
                ).strip()
                for name, text in english.items()
            ]
        return found

    def with_older(self, older: Words) -> Words:
        """Return the table with the counts of captions that an earlier training showed.

        It has no grammar: captions of two worlds do not follow one.
        """
        counts = Counter(self.counts) + Counter(older.counts)
        return Words(self.captions + older.captions, dict(counts), None, self.taught)

    def with_taught(self, texts: Iterable[str]) -> Words:
        """Return the table with the words of `texts` counted as seen, each text naming a thing."""
        # An adapter may have been given a word of punctuation alone, which names nothing.
        names = [join(tokens(text)) for text in texts if tokens(text)]
        new = dict.fromkeys(word for name in names for word in tokens(name))
        grammar = self.grammar
        if grammar:
            kinds = [("thing", "en"), ("many", "en"), ("thing", "zh")]
            things = [Phrase(kind, name, lang, name, 0) for name in names for kind, lang in kinds]
            phrases, uncounted = (*grammar.phrases, *things), grammar.uncounted | set(names)
            grammar = Grammar(phrases, grammar.classifiers, uncounted, grammar.order)
        return replace(self, grammar=grammar, taught=(*self.taught, *new))

    def to_json(self) -> str:
        """Return the table as the text of a `words.json`; taught words are not part of it."""
        table: dict[str, Any] = {KEY: FORMAT, "captions": self.captions}
        # The most frequent first, so that the file shows a reader what the model knows best.
        table["counts"] = {word: self.counts[word] for word in self}
        if grammar := self.grammar:
            table["grammar"] = {
                "phrases": [[p.kind, p.name, p.language, p.text, p.count] for p in grammar.phrases],
                "classifiers": dict(grammar.classifiers),
                "uncounted": sorted(grammar.uncounted),
                "order": sorted(grammar.order),
            }
        if accuracy := self.accuracy:
            table["accuracy"] = {"tried": accuracy.tried, "right": dict(accuracy.right)}
        return json.dumps(table, ensure_ascii=False, separators=(",", ":")) + "\n"


def count_words(captions: Iterable[str]) -> Words:
    """Return the table of words of `captions`: each word once a caption."""
    counts: Counter[str] = Counter()
    total = 0
    for caption in captions:
        # A set: a word that stands twice in a caption was shown once.
        counts.update(set(tokens(caption)))
        total += 1
    return Words(total, dict(counts))


def read_words(parsed: Any, source: str) -> Words:
    """Return the table that a parsed `words.json` holds; CheckpointError, naming `source`."""
    wrong = CheckpointError(f"{source} is not a table of words that limner wrote; get it anew")
    if not isinstance(parsed, dict) or parsed.get(KEY) != FORMAT:
        stated = parsed.get(KEY) if isinstance(parsed, dict) else None
        if isinstance(stated, int) and stated > FORMAT:
            raise CheckpointError(
                f"{source} was made by a newer limner ({quote(stated)} > {FORMAT}); upgrade limner "
                "to read it"
            )
        raise wrong
    try:
        counts = {str(word): int(count) for word, count in parsed["counts"].items()}
        grammar, accuracy = _grammar(parsed.get("grammar")), _accuracy(parsed.get("accuracy"))
        return Words(int(parsed["captions"]), counts, grammar, accuracy=accuracy)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise wrong from error


def _grammar(table: Any) -> Grammar | None:
    if table is None:
        return None
    phrases = tuple(
        Phrase(str(kind), str(name), str(language), str(text), int(count))
        for kind, name, language, text, count in table["phrases"]
    )
    # A kind that nobody understands would be left out of every reading, unsaid.
    if any(phrase.kind not in KINDS or phrase.language not in LANGUAGES for phrase in phrases):
        raise ValueError("a phrase is of an unknown kind or language")
    return Grammar(
        phrases,
        {str(name): str(word) for name, word in table["classifiers"].items()},
        frozenset(map(str, table["uncounted"])),
        frozenset(map(str, table["order"])),
    )


def _accuracy(parsed: Any) -> Accuracy | None:
    if parsed is None:
        return None
    tried = tuple(map(int, parsed["tried"]))
    right = {str(name): tuple(map(int, numbers)) for name, numbers in parsed["right"].items()}
    if min(tried) < 1 or any(len(numbers) != len(tried) for numbers in right.values()):
        raise ValueError("as many numbers as were tried")
    return Accuracy(tried, right)
