"""What is known of words without any model: synonyms, colours, emoji, spellings, scripts.

The tables lie beside this file. They say which words mean the same; which of them a model can draw
is the model's business (`limner.text.words`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

from limner.text.keywords import STOP_WORDS

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# A word may hold apostrophes and hyphens; a Han character is a token of its own.
_TOKEN = re.compile(rf"[{_HAN}]|[^\W\d_{_HAN}]+(?:['’-]+[^\W\d_{_HAN}]+)*|\d+[a-z]*|[,;、&+]")
COMMAS = frozenset(",;、")
_EMOJI_JOINTS = "\ufe0f\u200d"
_MORE_STOP_WORDS = (
    "both against across among around along before after outside through toward towards off out up "
    "see there's let's it's i'd i'll i'm you're me my of in on at to into inside onto from is are "
    "am be being been thing things one's who's whose want wants wanted need needs like create "
    "generate render produce drawing painting photograph illustration images pictures photos "
    "pic pics art artwork depicting showing featuring shows lovely-looking hi hello hey thanks "
    "thank thx pls plz kindly actually really some any another other front back side s t "
    "colored coloured color colour kind type looking look looks scene scenery view image "
    "picture "
    "您 来 吧 哦 哈 谢谢 帮 帮我 想 想要 想看 要 看 一下 生成 绘制 画个 画一 画出 "
    "幅 张 个 只 颜色 色 里 上 中 下 这里 那里 那 有着 并 时 时候 "
    "地方 样子 一 麻烦 能 可以 不 帮忙 给我 来个"
)
_DOUBLED = re.compile(r"(.)\1")
STOPS = STOP_WORDS | frozenset(_MORE_STOP_WORDS.split())


@dataclass(frozen=True)
class Synonyms:
    """One thing: the emoji that show it, and its names in English and Chinese, the usual first."""

    emoji: tuple[str, ...]
    english: tuple[str, ...]
    chinese: tuple[str, ...]


@dataclass(frozen=True)
class Usual:
    """Phrases that usually mean `name`, which is of the `kind` number, size, place and so on."""

    kind: str
    name: str
    phrases: tuple[str, ...]


def tokens(text: str) -> list[str]:
    """Return words, digits, single Han characters and commas of `text`, in lower case."""
    normal = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return [found[0].replace("’", "'").lower() for found in _TOKEN.finditer(normal)]


def join(words: Iterable[str]) -> str:
    """Return words as text: with spaces between, but not between Han characters."""
    text = ""
    for word in filter(None, words):
        # Chinese is written without spaces.
        glued = not text or (not text[-1].isascii() and not word.isascii())
        text += word if glued else f" {word}"
    return text


@cache
def synonyms() -> tuple[Synonyms, ...]:
    """Return the table of things, each with all its names."""
    rows = [line.split("\t") for line in _lines("synonyms.tsv")[1:]]
    return tuple(
        Synonyms(tuple(emoji.split()), _split(english), _split(chinese))
        for emoji, english, chinese in rows
    )


@cache
def usual_phrases() -> tuple[Usual, ...]:
    """Return phrases for numbers, sizes, places, relations and the like."""
    rows = [line.split("\t") for line in _lines("phrases.tsv")[1:]]
    return tuple(Usual(kind, name, _split(phrases)) for kind, name, phrases in rows)


@cache
def ideas() -> tuple[Usual, ...]:
    """Return the phrases of ideas, such as love, by names of what may stand for them."""
    rows = [line.split("\t") for line in _lines("ideas.tsv")[1:]]
    return tuple(
        Usual("idea", things, (*_split(english), *_split(chinese)))
        for things, english, chinese in rows
    )


@cache
def idea_words() -> frozenset[str]:
    """Return the English words in the phrases of ideas."""
    phrases = (phrase for usual in ideas() for phrase in usual.phrases if phrase.isascii())
    return frozenset(word for phrase in phrases for word in phrase.split())


@cache
def colour_names() -> dict[str, str]:
    """Return which of eleven plain English colours a name means: CSS names, shades, Chinese."""
    return dict(tuple(line.split("\t")) for line in _lines("colours.tsv")[1:])  # type: ignore[misc]


@cache
def chinese_words() -> frozenset[str]:
    """Return words that name nothing to draw, though a character of theirs would (微信, 马上)."""
    named = (phrase for usual in ideas() for phrase in usual.phrases if not phrase.isascii())
    return frozenset([*_lines("chinese.txt"), *named])


@cache
def english_words() -> frozenset[str]:
    """Return common English words, which are no misspellings of others."""
    return frozenset(_lines("english.txt"))


def simplify(text: str) -> str:
    """Return `text` with traditional Chinese characters as simplified ones, one for one."""
    return text.translate(_simplified()) if not text.isascii() else text


def spell_emoji(
    text: str, things: frozenset[str] = frozenset()
) -> tuple[str, list[tuple[str, str]]]:
    """Return `text` with each emoji of the tables as a thing's English name, and which these were.

    Those of the wide world count where a model knows them among its `things`: elsewhere a poodle
    is a dog. An emoji that stands for nothing known stays.
    """
    if text.isascii():
        return text, []
    table, pattern = _emoji(things)
    found: list[tuple[str, str]] = []

    def spell(match: re.Match[str]) -> str:
        emoji = match[0].strip(_EMOJI_JOINTS)
        found.append((emoji, table[emoji]))
        return f" {table[emoji]} "

    return pattern.sub(spell, text.replace("\ufe0f", "")), found


def plurals(name: str) -> Iterator[str]:
    """Yield the regular English plurals of a name, of its last word or of that before "of"."""
    head, of, rest = name.partition(" of ")
    tail = of + rest
    yield f"{head}s{tail}"
    if head.endswith(("s", "x", "z", "ch", "sh", "o")):
        yield f"{head}es{tail}"
    if head.endswith("y") and head[-2:-1] not in "aeiou":
        yield f"{head[:-1]}ies{tail}"
    if head.endswith("f"):
        yield f"{head[:-1]}ves{tail}"
    if head.endswith("fe"):
        yield f"{head[:-2]}ves{tail}"


def correct(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` misspells: one slip, or two in a long word; else None.

    A slip is a letter too many, missing, wrong, or exchanged with its neighbour. Words of English
    are no misspellings, and in words of three letters only an exchange is taken for one.
    """
    # Short words and words of English are left alone: mending them does more harm than good.
    if len(word) < 3 or not word.isalpha() or not word.isascii() or word in english_words():
        return None
    best: tuple[int, int, int, int, str] | None = None
    for candidate in known:
        if len(candidate) < 3 or abs(len(candidate) - len(word)) > 2:
            continue
        # Two slips in a short word make another word of it.
        limit = 2 if min(len(word), len(candidate)) >= 7 else 1
        slips = _slips(word, candidate, limit)
        if slips > limit or (len(word) == 3 and sorted(word) != sorted(candidate)):
            continue
        # Of words that are as near, first those with a letter doubled or not, or with the same
        # letters: penguinn is one penguin, hores one horse. Letters are forgotten more often than
        # added: thre is three.
        other = sorted(candidate) != sorted(word)
        other = other and _DOUBLED.sub(r"\1", candidate) != _DOUBLED.sub(r"\1", word)
        rank = (slips, int(candidate[0] != word[0]), int(other), -len(candidate), candidate)
        if best is None or rank < best:
            best = rank
    return best[-1] if best else None


def _slips(a: str, b: str, limit: int) -> int:
    """Return the Damerau-Levenshtein distance (neighbours may be exchanged), or limit + 1."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        last, row, older = row, [i], before
        for j, right in enumerate(b, start=1):
            # A letter missing, one too many, or a wrong one; the next line exchanges neighbours.
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        before = last
        if min(row) > limit:
            return limit + 1
    return row[-1]


@cache
def _simplified() -> dict[int, str]:
    traditional, simplified = _lines("traditional.txt")
    return {ord(old): new for old, new in zip(traditional, simplified, strict=True)}


@lru_cache(maxsize=8)
def _emoji(things: frozenset[str]) -> tuple[dict[str, str], re.Pattern[str]]:
    table = {emoji: row.english[0] for row in synonyms() for emoji in row.emoji}
    wide = (line.split("\t") for line in _lines("emoji.tsv")[1:])
    table |= {emoji: name for emoji, name in wide if name in things}
    # An emoji may begin as another does, as those with a skin tone.
    longest_first = sorted(table, key=len, reverse=True)
    return table, re.compile("|".join(map(re.escape, longest_first)))


def _split(cell: str) -> tuple[str, ...]:
    return tuple(part for part in cell.split("|") if part)


def _lines(name: str) -> list[str]:
    tables = resources.files("limner.text").joinpath("tables", name)
    return tables.read_text(encoding="utf-8").splitlines()
