"""The phrases of a prompt: each run of words that means something to a model, and the rest.

A phrasebook holds what captions used and what usually means the same; a prompt is cut into its
longest phrases from left to right.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from limner.text import lexicon
from limner.text.words import Grammar

NAMING = {"thing", "many"}  # kinds that name a thing
# What may stand between a colour and the thing that it belongs to.
_AFTER_COLOUR = NAMING | {"pattern", "ground", "size", "colour", "bare"}
_IS = {"is", "are", "in", "是"}
PAIR_ZH = "对"  # a measure word of two
_MODIFIERS = {"number", "size", "colour", "classifier"}
# What a phrase costs: the cheapest way through a prompt is how it is cut. Words of captions are
# preferred, long phrases to short ones, and almost anything to a word that means nothing.
_EXACT, _USUAL, _PLAIN, _UNKNOWN = 1.0, 1.1, 1.2, 10.0
_WORD = 1.3  # a Chinese word that is none of those: 微信 rather than a letter
_LONGEST = 4  # characters of such a word
_LETTERS = re.compile(r"[A-Za-z]+")
_NAMED = 0.01  # a brown panda rather than a brown bear and a cat (棕熊猫)


@dataclass(frozen=True)
class Entry:
    """What a phrase can mean; `exact` when captions used it so, `also` other things it may be."""

    kind: str
    name: str
    exact: bool
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Item:
    """One phrase of a prompt: what it is, as it was `said`, and as the phrasebook has it."""

    kind: str
    name: str
    said: str
    text: str
    exact: bool = False
    also: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How the order of captions calls it: its kind, with * in Chinese, or the word itself."""
        if self.kind in ("stop", "unknown"):
            return self.text
        return self.kind if self.text.isascii() else f"{self.kind}*"


class Phrasebook:
    """Every phrase that means something to a model of this grammar, by its first word.

    Ideas are things to draw only where they are asked for: who loves a dog wants no heart.
    """

    def __init__(self, grammar: Grammar, ideas: bool = False) -> None:
        self._entries: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
        # 1. What captions used: these phrases come first, and win where a text means two things.
        self.things = set(grammar.named("thing", "en"))
        for phrase in grammar.phrases:
            words = tuple(lexicon.tokens(phrase.text.replace("{}", " ")))
            self._add(words, Entry(phrase.kind, phrase.name, exact=True))
        # 2. What usually means the same, unless it reads as a known name with a word before it.
        for text, entry in _usual(grammar, self.things):
            words = tuple(lexicon.tokens(text))
            if not self._is_modified(words, entry) and not self._is_named(words, entry):
                self._add(words, entry)
        for usual in lexicon.ideas() if ideas else ():
            name = next((each for each in usual.name.split("|") if each in self.things), None)
            for text in usual.phrases if name else ():
                self._add(tuple(lexicon.tokens(text)), Entry("thing", name or "", exact=False))
        # 3. By first word, how long its phrases are: looking one up tries these lengths alone.
        self._lengths: dict[str, list[int]] = {}
        for phrase_tokens in self._entries:
            self._lengths.setdefault(phrase_tokens[0], []).append(len(phrase_tokens))
        for lengths in self._lengths.values():
            lengths[:] = sorted(set(lengths), reverse=True)
        self.known = {word for phrase_tokens in self._entries for word in phrase_tokens}
        # What may be misspelt: suprise is a surprise, though only a sunrise can be drawn.
        self.spelt = self.known | lexicon.idea_words()

    def matches(self, words: Sequence[str], start: int) -> Iterator[tuple[int, list[Entry]]]:
        """Yield each phrase that begins at `start`, the longest first: its length and meanings."""
        for length in self._lengths.get(words[start], ()):
            found = self._entries.get(tuple(words[start : start + length]))
            if found and start + length <= len(words):
                yield length, found

    def cut(self, words: Sequence[str]) -> list[tuple[int, list[Entry]]]:
        """Return the lengths and meanings of the phrases that `words` are best cut into."""
        # best[i]: cost of words[i:], length of its first phrase, meanings of that phrase
        best: list[tuple[float, int, list[Entry]]] = [(0.0, 0, [])] * (len(words) + 1)
        # From the end, so that the best way through the rest is known at every word.
        for at in range(len(words) - 1, -1, -1):
            word = words[at]
            plain = word in lexicon.STOPS or word in lexicon.COMMAS or word.isdigit()
            best[at] = (best[at + 1][0] + (_PLAIN if plain else _UNKNOWN), 1, [])
            longest = 1 if word.isascii() else min(_LONGEST, len(words) - at)
            for length in range(2, longest + 1):
                cost = best[at + length][0] + _WORD
                told = "".join(words[at : at + length])
                if cost < best[at][0] and told in lexicon.chinese_words():
                    best[at] = (cost, length, [])
            for length, entries in self.matches(words, at):
                cost = best[at + length][0] + (_EXACT if entries[0].exact else _USUAL)
                cost += _NAMED if entries[0].kind in NAMING else 0.0
                if cost < best[at][0]:
                    best[at] = (cost, length, entries)
        # The cheapest phrase of each place, one after the other, is the cheapest way.
        pieces = []
        at = 0
        while at < len(words):
            _, length, entries = best[at]
            pieces.append((length, entries))
            at += length
        return pieces

    def names(self, kind: str, name: str) -> set[str]:
        """Return the phrases by which captions called a thing, a colour, a place."""
        return {
            lexicon.join(phrase)
            for phrase, entries in self._entries.items()
            for entry in entries
            if entry.exact and (entry.kind, entry.name) == (kind, name)
        }

    def _is_modified(self, words: tuple[str, ...], entry: Entry) -> bool:
        """Say whether a usual phrase is a colour, size or number before a name ("red apple")."""
        return entry.kind in NAMING and any(
            {known.kind for known in self._entries.get(words[:cut], ())} & _MODIFIERS
            and any(known.kind in NAMING for known in self._entries.get(words[cut:], ()))
            for cut in range(1, len(words))
        )

    def _is_named(self, words: tuple[str, ...], entry: Entry) -> bool:
        """Say whether captions named a thing by a phrase that usually means another: "geese"."""
        known = (each.kind for each in self._entries.get(words, ()) if each.exact)
        return entry.kind in NAMING and any(kind in NAMING for kind in known)

    def _add(self, words: tuple[str, ...], entry: Entry) -> None:
        """Keep what a phrase means; what captions used comes first, and a kind once."""
        if words and all(entry.kind != known.kind for known in self._entries[words]):
            self._entries[words].append(entry)


def itemise(text: str, book: Phrasebook) -> list[Item]:
    """Return the phrases of `text` in order; a word that means nothing is an item "unknown"."""
    words, said = _corrected(lexicon.tokens(text), book, _names(text))
    pieces = book.cut(words)
    items: list[Item] = []
    at = 0
    for index, (length, entries) in enumerate(pieces):
        phrase, typed = lexicon.join(words[at : at + length]), lexicon.join(said[at : at + length])
        if entries:
            # What a word means can hang on its neighbours: "orange car", "an orange".
            following = pieces[index + 1][1] if index + 1 < len(pieces) else []
            after = words[at + length] if at + length < len(words) else ""
            entry = _choose(entries, items, following, after)
            exact = entry.exact and phrase == typed
            items.append(Item(entry.kind, entry.name, typed, phrase, exact, entry.also))
        elif (other := _other(phrase, typed)).kind == "unknown" and _continues(items, phrase):
            items[-1] = Item("unknown", "", items[-1].said + typed, items[-1].text + phrase)
        else:
            items.append(other)
        at += length
    return items


def _continues(items: Sequence[Item], phrase: str) -> bool:
    """Say whether a Han character goes on with the unknown word before it."""
    if phrase.isascii() or not items:
        return False
    return items[-1].kind == "unknown" and not items[-1].text.isascii()


def _other(phrase: str, typed: str) -> Item:
    if phrase in lexicon.COMMAS:
        return Item("comma", "", typed, ",", exact=True)
    if phrase.isdigit():
        return Item("number", phrase, typed, phrase)
    if phrase in lexicon.STOPS or (len(phrase) == 1 and phrase.isascii()):
        return Item("stop", "", typed, phrase, exact=True)
    return Item("unknown", "", typed, phrase)


def _choose(
    entries: Sequence[Entry], before: Sequence[Item], following: Sequence[Entry], after: str
) -> Entry:
    """Return the meaning that fits: "orange" before a thing is a colour, 桶 after a number not."""
    kinds = {entry.kind: entry for entry in entries}
    if "classifier" in kinds and before and before[-1].kind == "number":
        return kinds["classifier"]
    describes = any(entry.kind in _AFTER_COLOUR for entry in following)
    describes = describes or not (following or after in lexicon.STOPS | lexicon.COMMAS | {""})
    described = bool(before) and before[-1].text in _IS  # "the car is orange"
    if "colour" in kinds and (describes or described):
        return kinds["colour"]
    if "bare" in kinds and before and before[-1].kind == "comma":
        return kinds["bare"]
    # What names something before what only describes it.
    for kind in ("thing", "many", "empty", "place"):
        if kind in kinds:
            return kinds[kind]
    return entries[0]


def _names(text: str) -> set[str]:
    """Return words in lower case that were written as names: Elon is no slip of a melon.

    They are capital among others that are not; the first word is one where the next is one too.
    """
    words = _LETTERS.findall(text)
    capital = [word[0].isupper() for word in words]
    if not any(word.islower() and len(word) > 3 for word in words):
        return set()  # a headline, in which every word is capital
    capital[0] = capital[0] and capital[1]
    return {word.lower() for word, is_name in zip(words, capital, strict=True) if is_name}


def _corrected(typed: list[str], book: Phrasebook, names: set[str]) -> tuple[list[str], list[str]]:
    """Return the words with slips of spelling mended, and beside each how it was typed.

    Those that are `names` are not mended.
    """
    words: list[str] = []
    said: list[str] = []
    for word in typed:
        parts = _parts(word, book)
        for part in parts:
            # A word of the captions is never mended, however near it is to another.
            known = part in book.known or part in lexicon.STOPS or part in names
            fixed = None if known else lexicon.correct(part, book.spelt)
            words.append(fixed or part)
        # The typed word stands beside its first part, so that notes quote it once.
        said += [word, *[""] * (len(parts) - 1)]
    return words, said


def _parts(word: str, book: Phrasebook) -> list[str]:
    """Return a word that no phrase has without its possessive, or in the parts of a hyphen."""
    if word in book.known or word in lexicon.STOPS:
        return [word]
    bare = word.removesuffix("'s").removesuffix("'")
    if "-" in bare:
        return [part for part in bare.split("-") if part]
    return [bare or word]


def _usual(grammar: Grammar, things: set[str]) -> Iterator[tuple[str, Entry]]:
    """Yield phrases that captions may not have used, with what they mean in this grammar."""
    for row in lexicon.synonyms():
        if (name := next((name for name in row.english if name in things), None)) is None:
            continue
        for text in (*row.english, *row.chinese):
            yield text, Entry("thing", name, exact=False)
            if text.isascii():
                for plural in lexicon.plurals(text):
                    yield plural, Entry("many", name, exact=False)
    colours = set(grammar.named("colour", "en"))
    for text, name in lexicon.colour_names().items():
        if name in colours:
            endings = ("", "色", "色的", "的") if not text.isascii() else ("",)
            for ending in endings:
                yield text.removesuffix("色") + ending, Entry("colour", name, exact=False)
    kinds = ("place", "style", "size", "relation")
    known = {kind: set(grammar.named(kind, "en")) for kind in kinds}
    for usual in lexicon.usual_phrases():
        if usual.kind == "class":
            fitting = [name for name in usual.name.split("|") if name in things]
            for text in usual.phrases if fitting else ():
                entry = Entry("thing", fitting[0], exact=False, also=tuple(fitting[1:]))
                yield text, entry
                yield f"{text}s", Entry("many", fitting[0], exact=False, also=tuple(fitting[1:]))
        elif usual.kind not in known or usual.name in known[usual.kind]:
            for text in usual.phrases:
                # 一对 is one of what is counted in pairs, if captions count so.
                if usual.kind == "number" and text[1:] == PAIR_ZH in grammar.classifiers.values():
                    continue
                yield text, Entry(usual.kind, usual.name, exact=False)
