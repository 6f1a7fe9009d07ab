"""Messages of the command line in the language of the locale: English, or Chinese.

The library raises English sentences; here, where they become a line on stderr, each is looked up
among the templates of `messages_zh.po`, and said in Chinese with the same values. What has no
template stays English. The file is read only when the locale asks for Chinese.
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
_TOLD_ENGLISH = re.compile(r": \{\d+\}$")
_TOLD_CHINESE = re.compile(r"：\{\d+!.\}$")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_PLACEHOLDER = re.compile(r"\{(\d+)(!o|!t)?\}")


def say(text: str, *, before: str = "") -> None:
    """Tell a person an English message on stderr, in the language of the locale.

    What is said `before` it stays as it is. Where stderr takes nothing, the command goes on.
    """
    with contextlib.suppress(OSError):
        typer.echo(before + localised(text), err=True)


def localised(text: str) -> str:
    """Return an English message in the language that the locale asks for and stderr can show."""
    return to_chinese(text) if speaks_chinese() and _shows_chinese() else text


def speaks_chinese() -> bool:
    """Say whether a person asked for Chinese: by LIMNER_LANG, the user's file, or the locale."""
    told = language(os.environ)
    return told == "zh" if told else wants_chinese(os.environ)


def wants_chinese(environment: Mapping[str, str]) -> bool:
    """Return whether messages shall be Chinese, by the variables and the order of GNU gettext.

    LANGUAGE, a list of which the first language that limner speaks counts, comes before LC_ALL,
    LC_MESSAGES and LANG, of which the first one set counts; where that is C, POSIX or none,
    messages are English whatever LANGUAGE says. Any kind of Chinese is Chinese.
    """
    kinds = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((found for kind in kinds if (found := environment.get(kind))), "C")
    if locale in ("C", "POSIX"):
        return False
    wanted = environment.get("LANGUAGE") or locale
    languages = (re.split("[-_.@]", name)[0].lower() for name in wanted.split(":"))
    return next((name for name in languages if name in ("zh", "en", "c")), "en") == "zh"


def _shows_chinese() -> bool:
    try:
        "中文".encode(getattr(sys.stderr, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


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
class Template:
    """One entry of the catalogue: English literals around values, and the Chinese pattern.

    `context` tells where it is said: "" is a whole message, "arguments" one of the argument
    parser, "place" what stands before a message, "part" what stands in a value, and "system" what
    the operating system and Pillow say there.
    """

    english: str
    chinese: str
    context: str = ""

    @cached_property
    def literals(self) -> list[str]:
        """The English text between the values, one more than there are values."""
        return re.split(r"\{\d+\}", self.english)

    def values(self, text: str) -> list[str] | None:
        """Return what stands in a text where this template has values; None if it is another."""
        first, *others = self.literals
        if not text.startswith(first):
            return None
        if not others:
            return [] if text == first else None
        found, at, last = list[str](), len(first), len(others) - 1
        for number, literal in enumerate(others):
            if not literal and number < last:  # a hint follows without a word between
                end = text.find("; ", at)
                if end < 0:
                    end = len(text) - len(others[last])
            elif number < last:
                end = text.find(literal, at)
            else:
                end = len(text) - len(literal)
                if not text.endswith(literal):
                    return None
            if end < at:
                return None
            found.append(text[at:end])
            at = end + len(literal)
        return found

    def render(self, text: str) -> str | None:
        """Return a text of this template in Chinese; None if it is another's.

        Values marked `!o` are translated too if they can be, and those marked `!t` must be. A
        value with a semicolon that is not quoted has taken in words of a longer sentence.
        """
        values = self.values(text)
        if values is None:
            return None
        words, end = list[str](), 0
        for match in _PLACEHOLDER.finditer(self.chinese):
            value = values[int(match[1])]
            translated = _part(value) if match[2] and value else None
            refused = (value and match[2] == "!t") or "; " in _QUOTED.sub("", value)
            if translated is None and refused:
                return None
            words += [self.chinese[end : match.start()], translated or value]
            end = match.end()
        return "".join([*words, self.chinese[end:]])


def to_chinese(text: str) -> str:
    """Return an English message in Chinese, or unchanged when no template fits."""
    if len(text) > _LONGEST:
        return text
    return _whole(text) or text


def _whole(text: str) -> str | None:
    """Translate a message, or all of it that follows a `place: ` such as a file and a line."""
    before = text.partition("; ")[0]  # further on a colon is the message's own
    starts = [0, *(match.end() for match in re.finditer(": ", before))][::-1]
    for template in catalogue("", "arguments"):
        for start in starts:
            rendered = template.render(text[start:])
            if rendered is not None:
                places = [_place(each) for each in text[:start].split(": ")]
                return "：".join([*places[:-1], rendered])
    return None


def _place(text: str) -> str:
    rendered = (each.render(text) for each in _places())
    return next((found for found in rendered if found is not None), text)


def _part(text: str) -> str | None:
    """Translate a value: words of limner or of the system, or a message within a message."""
    for template in catalogue("part", "system"):
        rendered = template.render(text)
        if rendered is not None:
            return rendered
    return _whole(text)


@cache
def catalogue(*contexts: str) -> tuple[Template, ...]:
    """Return the templates of some contexts, first those with the most literal text."""
    templates = read_catalogue(_CATALOGUE.read_text(encoding="utf-8"))
    chosen = [each for each in templates if each.context in contexts]
    return tuple(sorted(chosen, key=_generality))


@cache
def _places() -> list[Template]:
    """Return what may stand before a message: places, and messages that tell another at the end."""
    ends = [
        (each, _TOLD_ENGLISH.search(each.english), _TOLD_CHINESE.search(each.chinese))
        for each in catalogue("", "arguments")
    ]
    told = [
        Template(each.english[: first.start()], each.chinese[: second.start()])
        for each, first, second in ends
        if first and second
    ]
    return [*catalogue("place"), *told]


def _generality(template: Template) -> tuple[int, int]:
    """Order templates so that the one that says the most of a text itself comes first."""
    return -len("".join(template.literals)), len(template.literals)


def read_catalogue(text: str) -> list[Template]:
    """Return the entries of a PO file of which every string stands on one line, but its header."""
    templates, words = list[Template](), dict[str, str]()
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key in ("msgctxt", "msgid", "msgstr"):
            words[key] = json.loads(value)
        if key == "msgstr" and not words["msgid"]:
            words = {}  # the header of the file
        elif key == "msgstr":
            templates.append(Template(words["msgid"], words["msgstr"], words.get("msgctxt", "")))
            words = {}
    return templates
