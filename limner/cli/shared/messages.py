"""Messages of the command line in the language of the locale: English, or Chinese.

The library raises plain English f-strings. Here, where they become a line on stderr, the entry of
`messages_zh.po` that a message was made by is found, and says it in Chinese with the same values.
What has no entry stays English. The file is read only when the locale asks for Chinese.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import typer

from limner.cli.shared.settings import language
from limner.errors import MESSAGE_LIMIT

_CATALOGUE = Path(__file__).with_name("messages_zh.po")
_LONGEST = 4 * MESSAGE_LIMIT  # an error's text ends long before; a help page is longer
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_VALUE = re.compile(r"\{(\d+)(!o|!t)?\}")


def say(text: str, *, before: str = "") -> None:
    """Tell a person an English message on stderr, in the language of the locale.

    What is said `before` it stays as it is. Where stderr takes nothing, the command goes on.
    """
    with contextlib.suppress(OSError):
        typer.echo(before + localised(text), err=True)


def localised(text: str) -> str:
    """Return an English message in the language that the locale asks for and stderr can show."""
    return to_chinese(text) if shows_chinese(sys.stderr) else text


def shows_chinese(stream: object) -> bool:
    """Say whether a stream can show Chinese, and a person asked for it.

    They ask by LIMNER_LANG, by their file of settings, or by the locale.
    """
    chosen = language(os.environ)
    if not (chosen == "zh" if chosen else wants_chinese(os.environ)):
        return False
    try:
        "中文".encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def wants_chinese(environment: Mapping[str, str]) -> bool:
    """Return whether messages shall be Chinese, by the variables and the order of GNU gettext.

    LANGUAGE, a list of which the first language that limner speaks counts, comes before LC_ALL,
    LC_MESSAGES and LANG, of which the first one set counts; where that is C, POSIX or none,
    messages are English whatever LANGUAGE says. Any kind of Chinese is Chinese.
    """
    kinds = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((found for kind in kinds if (found := environment.get(kind))), "C")
    if locale in ("C", "POSIX"):  # as gettext does, whatever LANGUAGE says
        return False
    wanted = environment.get("LANGUAGE") or locale
    languages = (re.split("[-_.@]", name)[0].lower() for name in wanted.split(":"))
    return next((name for name in languages if name in ("zh", "en", "c")), "en") == "zh"


@contextmanager
def usage_localised() -> Iterator[None]:
    """Let the argument parser's complaints pass with their text in the language of the locale."""
    try:
        yield
    except Exception as error:
        # Releases of typer differ in whose class it is, click's or their own copy of it.
        if callable(format_message := getattr(error, "format_message", None)):
            text = localised(format_message())
            error.format_message = lambda: text  # type: ignore[attr-defined]
        raise


@dataclass(frozen=True)
class Entry:
    """One entry of the catalogue: an English template, and the Chinese one.

    `context` tells where it is said: "" is a whole message, "arguments" one of the argument
    parser, "place" what stands before a message, "part" what stands in a value, "system" what the
    operating system and Pillow say there, and "help" a text of help.
    """

    english: str
    chinese: str
    context: str = ""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What an English message of this entry looks like, with a group for each value."""
        # A value with no word before it is a hint, as did_you_mean gives: it begins with "; ".
        text = re.sub(r"(?<=\\\})\\\{\d+\\\}", "((?:; .*?)?)", re.escape(self.english))
        return re.compile(re.sub(r"\\\{\d+\\\}", "(.*?)", text), re.DOTALL)

    @property
    def literal(self) -> str:
        """The English text without its values."""
        return re.sub(r"\{\d+\}", "", self.english)

    def render(self, text: str) -> str | None:
        """Return a text of this entry in Chinese; None if it is another's.

        Values marked `!o` are translated too if they can be, and those marked `!t` must be. A
        value with a semicolon that is not quoted has taken in words of a longer sentence.
        """
        fits = self.pattern.fullmatch(text)
        if fits is None:
            return None
        words, end = list[str](), 0
        for mark in _VALUE.finditer(self.chinese):
            value = fits[int(mark[1]) + 1]
            translated = None
            if mark[2] and value:  # words of limner or of the system, or a message within one
                translated = _first(value, "part", "system") or _whole(value)
            refused = (value and mark[2] == "!t") or "; " in _QUOTED.sub("", value)
            if translated is None and refused:
                return None
            words += [self.chinese[end : mark.start()], translated or value]
            end = mark.end()
        return "".join([*words, self.chinese[end:]])


def to_chinese(text: str) -> str:
    """Return an English message in Chinese, or unchanged when no entry fits."""
    return (_whole(text) if len(text) <= _LONGEST else None) or text


def _whole(text: str) -> str | None:
    """Translate a message, or all of it that follows a `place: ` such as a file and a line."""
    before = text.partition("; ")[0]  # further on a colon is the message's own
    starts = [0, *(match.end() for match in re.finditer(": ", before))][::-1]
    for entry in catalogue("", "arguments"):
        for start in starts:
            rendered = entry.render(text[start:])
            if rendered is not None:
                # The message is what is furthest right that an entry fits; before it stand places.
                return "：".join([*map(_place, text[:start].split(": ")[:-1]), rendered])
    return None


def _place(text: str) -> str:
    """Translate what stands before a message: a place, or a message that tells another."""
    found = _first(text, "place") or _whole(f"{text}: ")
    return found.removesuffix("：") if found else text


def _first(text: str, *contexts: str) -> str | None:
    rendered = (entry.render(text) for entry in catalogue(*contexts))
    return next((found for found in rendered if found is not None), None)


@cache
def catalogue(*contexts: str) -> list[Entry]:
    """Return the entries of some contexts, first those that say the most of a text themselves."""
    entries = read_catalogue(_CATALOGUE.read_text(encoding="utf-8"))
    chosen = [each for each in entries if each.context in contexts]
    return sorted(chosen, key=lambda each: (-len(each.literal), each.english.count("{")))


def read_catalogue(text: str) -> list[Entry]:
    """Return the entries of a PO file of which every string stands on one line, but its header."""
    entries, words = list[Entry](), dict[str, str]()
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key in ("msgctxt", "msgid", "msgstr"):
            words[key] = json.loads(value)
        if key == "msgstr":
            if words["msgid"]:  # not the header of the file
                entries.append(Entry(words["msgid"], words["msgstr"], words.get("msgctxt", "")))
            words = {}
    return entries
