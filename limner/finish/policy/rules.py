"""A prompt policy: categories of terms that are refused, and hooks that must agree.

It reads words, not meaning: paraphrase, other languages and pictures of words pass. The terms that
come with limner are a beginning, and no legal standard.
"""

from __future__ import annotations

import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from limner.errors import ConfigError, DataError, PolicyError, did_you_mean, quote
from limner.finish.policy.spelling import WILD, read_through, without_repeats

DEFAULT = Path(__file__).with_name("terms.toml")
VERSION = 1
ABOUT = {  # what the categories of limner's own policy are, in words
    "sexual_children": "sexual content with children",
    "sexual": "sexual content",
    "violence": "graphic or sexual violence",
    "hatred": "hatred of a group of people",
    "self_harm": "self-harm",
}
REFUSED, UNAVAILABLE = "content_policy_violation", "safety_unavailable"  # codes of a PolicyError
_SIZE_LIMIT = 2**20  # bytes of a policy's file
_SHORT = 4  # letters; a shorter term is taken as it stands, and not looked for through disguises

# A function of the prompt: True where it may be drawn, False where it may not.
Hook = Callable[[str], bool]


@dataclass(frozen=True)
class Category:
    """A kind of prompt that is refused: `about` in words, its terms, and phrases that are none."""

    name: str
    about: str
    terms: tuple[str, ...]
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What a policy found in a prompt: a category, and the term of it."""

    category: Category
    term: str


@dataclass(frozen=True)
class Policy:
    """Categories of terms that are refused, and `hooks` that must each say True.

    A hook that says anything else than True or False, raises, or takes longer than `seconds` counts
    as no: a check that is broken lets nothing pass.
    """

    categories: tuple[Category, ...] = ()
    hooks: tuple[Hook, ...] = ()
    seconds: float = 5.0

    def check(self, prompt: str) -> None:
        """Raise PolicyError for a prompt that is refused; its `code` says whether a hook failed."""
        found = self.find(prompt)
        if found is not None:
            raise PolicyError(
                f"the prompt is refused by the prompt policy: {found.category.about} "
                f"({quote(found.term)}); ask for something else, or choose another policy",
                param="prompt",
                code=REFUSED,
            )
        for hook in self.hooks:
            self._ask(hook, prompt)

    def find(self, text: str) -> Found | None:
        """Return a term that a text has, in any of its disguises; None where it has none."""
        spelt = read_through(text)
        for start, end, found in self._chinese.spans(spelt.chinese):
            if not self._chinese.allows(spelt.chinese, start, end):
                return found
        for words in spelt.ways:
            for found in self._latin.matches(words):
                return found
        return None

    @cached_property
    def _latin(self) -> _Latin:
        return _Latin(self.categories)

    @cached_property
    def _chinese(self) -> _Chinese:
        return _Chinese(self.categories)

    def _ask(self, hook: Hook, prompt: str) -> None:
        said = list[object]()

        def ask() -> None:
            try:
                said.append(hook(prompt))
            except BaseException:  # noqa: BLE001  # whatever happens in it, it did not agree
                said.append(None)

        # Its own thread: a hook that never ends would hold the drawing for ever.
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(self.seconds)
        answer = said[0] if said else None
        if answer is True:
            return
        name = quote(getattr(hook, "__name__", type(hook).__name__))
        if answer is False:
            raise PolicyError(
                f"the prompt is refused by the check {name}; ask for something else",
                param="prompt",
                code=REFUSED,
            )
        raise PolicyError(
            f"the check {name} of the prompt policy gave no answer of True or False within "
            f"{self.seconds:g} s, so that nothing is drawn; mend it or leave it out",
            code=UNAVAILABLE,
        )


class _Latin:
    """Finds terms of Latin letters: words, and words that are one term together."""

    def __init__(self, categories: Sequence[Category]) -> None:
        self.terms: dict[str, Found] = {}
        self.short: dict[str, Found] = {}
        self.words: set[str] = set()  # of all terms, for those that leave letters open
        for category, term, words in _words_of(categories, "terms"):
            joined = "".join(words)
            self.words.update(words)
            if len(without_repeats(joined)) < _SHORT:
                self.short[joined] = Found(category, term)
            else:
                self.terms[without_repeats(joined)] = Found(category, term)
        self.allow = {words for _, _, words in _words_of(categories, "allow")}
        self.longest = max(map(len, self.allow), default=0)
        self.beginnings = {term[:end] for term in self.terms for end in range(1, len(term) + 1)}

    def matches(self, words: Sequence[str]) -> Iterator[Found]:
        """Yield the terms among words; words that are not apart in a term may be so here."""
        meant = [self._meant(word) for word in words]
        for start in range(len(words)):
            for word in meant[start]:
                if word in self.short and not self._allowed(words, start, start + 1):
                    yield self.short[word]
            begun = {""}
            for end in range(start, len(words)):
                joined = {without_repeats(left + word) for left in begun for word in meant[end]}
                begun = joined & self.beginnings
                if not begun:
                    break
                for term in begun & self.terms.keys():
                    if not self._allowed(words, start, end + 1):
                        yield self.terms[term]

    def _meant(self, word: str) -> Sequence[str]:
        """Return the words that a word may stand for, which leaves letters open as p*rn does."""
        if WILD not in word or 2 * word.count(WILD) > len(word):
            return (word,)
        return [
            each
            for each in self.words
            if len(each) == len(word)
            and all(mine in (WILD, theirs) for mine, theirs in zip(word, each, strict=True))
        ]

    def _allowed(self, words: Sequence[str], start: int, end: int) -> bool:
        """Say whether words lie within a phrase that is allowed."""
        return any(
            tuple(words[first:last]) in self.allow
            for first in range(max(0, end - self.longest), start + 1)
            for last in range(end, min(len(words), first + self.longest) + 1)
        )


class _Chinese:
    """Finds terms of Chinese characters, wherever they stand."""

    def __init__(self, categories: Sequence[Category]) -> None:
        self.terms = {
            spelt: Found(category, term)
            for category in categories
            for term in category.terms
            if (spelt := read_through(term).chinese)
        }
        self.allow = [
            spelt
            for category in categories
            for phrase in category.allow
            if (spelt := read_through(phrase).chinese)
        ]

    def spans(self, text: str) -> Iterator[tuple[int, int, Found]]:
        """Yield where each term stands."""
        for term, found in self.terms.items():
            for start in _places(text, term):
                yield start, start + len(term), found

    def allows(self, text: str, start: int, end: int) -> bool:
        """Say whether a place lies within a phrase that is allowed."""
        return any(
            phrase in text[max(0, end - len(phrase)) : start + len(phrase)] for phrase in self.allow
        )


def _places(text: str, part: str) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


def _words_of(
    categories: Sequence[Category], name: str
) -> Iterator[tuple[Category, str, tuple[str, ...]]]:
    """Yield each phrase of Latin letters, with its words."""
    for category in categories:
        for phrase in getattr(category, name):
            if words := read_through(phrase).ways[0]:
                yield category, phrase, words


@cache
def default_policy() -> Policy:
    """Return the policy that comes with limner."""
    return read_policy(DEFAULT)


def read_policy(path: str | Path) -> Policy:
    """Return the policy of a TOML file, as `limner/finish/policy/terms.toml` is one.

    Raises DataError for a file that cannot be read, ConfigError for what is no policy.
    """
    path, shown = Path(path), quote(str(path), 200)
    try:
        with path.open("rb") as file:
            data = file.read(_SIZE_LIMIT + 1)
    except OSError as error:
        raise DataError(f"cannot read {shown}: {error.strerror}") from error
    if len(data) > _SIZE_LIMIT:
        raise DataError(f"{shown} is larger than {_SIZE_LIMIT // 2**20} MiB; give a smaller file")
    try:
        stated = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the policy {shown} is not valid TOML: {error}") from None
    if stated.pop("version", None) != VERSION:
        raise ConfigError(f"the policy {shown} has no version = {VERSION}; add that line")
    return Policy(tuple(_category(name, table, shown) for name, table in stated.items()))


def _category(name: str, table: Any, shown: str) -> Category:
    if not isinstance(table, Mapping):
        raise ConfigError(f"the policy {shown} has the unknown key {quote(name)}; expected tables")
    known = ("about", "terms", "allow")
    for key, value in table.items():
        if key not in known:
            raise ConfigError(
                f"the policy {shown} has the unknown key {quote(f'{name}.{key}')}"
                f"{did_you_mean(key, known)}"
            )
        listed = value if isinstance(value, list) else [value]
        if isinstance(value, list) == (key == "about") or not all(
            isinstance(each, str) and each.strip() for each in listed
        ):
            wanted = "a text" if key == "about" else "a list of texts"
            raise ConfigError(
                f"the policy {shown}: {name}.{key} is {quote(value)}; expected {wanted}"
            )
    terms = tuple(table.get("terms", ()))
    for term in terms:
        spelt = read_through(term)
        if not spelt.chinese and not spelt.ways[0]:
            raise ConfigError(
                f"the policy {shown}: {name}.terms has {quote(term)}, which has neither Latin "
                "letters nor Chinese characters; write it otherwise"
            )
    return Category(
        name, table.get("about", ABOUT.get(name, name)), terms, tuple(table.get("allow", ()))
    )
