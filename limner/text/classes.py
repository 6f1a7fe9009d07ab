"""A text as the one class that it names, for models that draw classes and read no words.

Id 0 is no class; that of a class is one higher than its number. A text names a class by one of its
names, or as "class 207".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar, Self

from limner.errors import CheckpointError, UsageError, quote, shorten
from limner.text import tokenizer
from limner.text.lexicon import COMMAS, STOPS, tokens

Names = tuple[str, ...]
_SHOWN = 3  # names that are near
_NUMBER = re.compile(r"\bclass\s+#?(\d{1,9})\b|^\s*#?(\d{1,9})\s*$", re.IGNORECASE)
_LIMIT = 100_000  # classes


class ClassTokenizer(tokenizer.Tokenizer):
    """Text to the id of one class, and back.

    `classes` are the names of each; a class without any is drawn by its number. Of several that a
    text names it is the first, and there of several names the longest; a last word may be a plural.
    """

    unread: ClassVar[str] = "left_out"

    def __init__(self, classes: Sequence[Names]) -> None:
        self.classes = [tuple(names) for names in classes]
        self.keywords = False
        self.vocabulary = 1 + len(classes)
        self._numbers: dict[Names, list[int]] = {}
        for number, names in enumerate(self.classes):
            for words in dict.fromkeys(map(_words, names)):
                self._numbers.setdefault(words, []).append(number)
        self._longest = max(map(len, self._numbers), default=0)

    @classmethod
    def from_json(cls, text: str, *, source: str = "tokenizer.json") -> Self:
        """Build one from what `save` wrote; CheckpointError, naming `source`, for anything else."""
        _, settings = tokenizer.split_settings(text, source, {"classes": []})
        classes = settings["classes"]
        for each in classes:
            if not isinstance(each, list) or not all(isinstance(name, str) for name in each):
                raise CheckpointError(f"{source} has a class {quote(each)}; expected its names")
        if not 0 < len(classes) <= _LIMIT:
            raise CheckpointError(f"{source} has {len(classes)} classes; expected 1 to {_LIMIT}")
        return cls(classes)

    def to_json(self) -> str:
        """Return the whole tokenizer as JSON."""
        named = {tokenizer.SETTINGS: {"classes": self.classes}}
        return json.dumps(named, ensure_ascii=False, indent=1)

    def encode(self, text: str) -> list[int]:
        """Return the id of the class that a text names; UsageError for none, [] for no text."""
        if not text.strip():
            return []
        number, _ = self._find(text)
        if number is None:
            raise UsageError(self._unknown(text), param="prompt")
        return [1 + number]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the names of classes, or their numbers where they have none."""
        numbers = [index - 1 for index in ids if index != tokenizer.PAD]
        return ", ".join((*self.classes[each], f"class {each}")[0] for each in numbers)

    def unseen_words(self, text: str) -> list[str]:
        """Return the words of a text beside the name of its class, each once, in order."""
        number, rest = self._find(text)
        unread = [word for word in rest if word not in STOPS and word not in COMMAS]
        return [] if number is None else list(dict.fromkeys(unread))

    def _find(self, text: str) -> tuple[int | None, list[str]]:
        """Return the class that a text names, None for none, and the words beside its name."""
        if (told := _NUMBER.search(text)) is not None:
            number = int(told[1] or told[2])
            if number >= len(self.classes):
                raise UsageError(
                    f"there is no class {number}; this model draws the classes 0 to "
                    f"{len(self.classes) - 1}",
                    param="prompt",
                )
            return number, tokens(f"{text[: told.start()]} {text[told.end() :]}")
        words = tokens(text)
        for first in range(len(words)):
            for last in range(min(len(words), first + self._longest), first, -1):
                found = self._of(words[first:last])
                if len(found) > 1:
                    named = " ".join(words[first:last])
                    raise UsageError(
                        f"{quote(named)} is the name of several classes; write one by its number, "
                        f"as {' or '.join(repr(f'class {each}') for each in found)}",
                        param="prompt",
                    )
                if found:
                    return found[0], words[:first] + words[last:]
        return None, words

    def _of(self, words: Sequence[str]) -> list[int]:
        """Return the classes that words are the name of, as they stand or in the plural."""
        *before, last = words
        for end, single in (("", ""), ("ies", "y"), ("es", ""), ("s", "")):
            if last.endswith(end):
                found = self._numbers.get((*before, last.removesuffix(end) + single))
                if found:
                    return found
        return []

    def _unknown(self, text: str) -> str:
        count, shown = len(self.classes), quote(shorten(text, 80), 90)
        if not self._numbers:
            return (
                f"this model knows its {count} classes by number alone; in place of {shown} write "
                "one, as 'class 207'"
            )
        near = self._near(tokens(text))
        if not near:
            return (
                f"{shown} names none of the {count} classes that this model draws; name one, or "
                "write its number, as 'class 207'"
            )
        return (
            f"{shown} names none of the {count} classes that this model draws; near are "
            f"{', '.join(map(repr, near))}; name one, or write its number, as 'class 207'"
        )

    def _near(self, words: Sequence[str]) -> list[str]:
        """Return a few names that share a word with a text, or have one that is spelt nearly so."""
        asked = [word for word in words if word not in STOPS and word not in COMMAS]
        held = dict.fromkeys(word for name in self._numbers for word in name)
        for word in asked:
            alike = [word, *get_close_matches(word[:100], held, n=_SHOWN, cutoff=0.7)]
            found = [name for each in alike for name in self._numbers if each in name]
            if found:
                return [" ".join(name) for name in dict.fromkeys(found)][:_SHOWN]
        return []


def _words(name: str) -> Names:
    return tuple(word for word in tokens(name) if word not in COMMAS)


def names_of(labels: Sequence[Any], source: str) -> list[Names]:
    """Return the names of classes of labels such as "tench, Tinca tinca"; CheckpointError."""
    for each in labels:
        if not isinstance(each, str):
            raise CheckpointError(f"{source} has a label {quote(each)}; expected its names")
    return [tuple(filter(None, map(str.strip, each.split(",")))) for each in labels]
