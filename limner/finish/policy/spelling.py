"""What a person reads in a text, whatever its characters are: disguises are taken off.

Words come in the letters a to z, Chinese apart from them in simplified characters. It reads no
meaning: other languages, pinyin, and other words for a thing are as they are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from limner.text.lexicon import simplify

WILD = "*"  # stands for a letter within a word

# Letters that look like those of Latin, after NFKC, in lower case and without accents.
_ALIKE = {
    "a": "аαɑᴀ∂ⲁ", "b": "вьбβʙᏼƅ", "c": "сϲᴄⅽ¢ς", "d": "ԁᴅɗđ", "e": "еєεєҽᴇ℮ɛəэ€", "f": "ғƒꜰ",
    "g": "ɡɢցԍ", "h": "һнʜհ", "i": "іιɪıї¡ɩ", "j": "јϳᴊʝ", "k": "кκᴋĸ", "l": "ӏʟɭłו£", "m": "мᴍ",
    "n": "пոɴйиη", "o": "оοᴏօσøθ○●◯", "p": "рρᴘþ", "q": "ԛգ", "r": "гʀяɾ", "s": "ѕꜱʂș§",
    "t": "тτᴛŧ†", "u": "υᴜսцʊ", "v": "ѵνᴠ", "w": "ѡԝᴡωшщ", "x": "хχ×", "y": "уүʏγ¥", "z": "ᴢʐ",
}  # fmt: skip
_ALIKE_TABLE = {ord(each): letter for letter, alike in _ALIKE.items() for each in alike}
# Letters in boxes, circles and flags, which NFKC leaves as they are.
_ALIKE_TABLE |= {
    first + place: chr(ord("a") + place)
    for first in (0x1F130, 0x1F150, 0x1F170, 0x1F1E6)
    for place in range(26)
}
_DIGITS = str.maketrans("0345678920", "oeasgtbgzo")
_SIGNS = str.maketrans("@$+", "ast")
_UPRIGHT = "1!|"  # i or l
_WORD = re.compile(r"[a-z*]+")
_RUN = re.compile(r"(.)\1+")


@dataclass(frozen=True)
class Spelt:
    """A text as it reads: words of Latin letters in up to three ways, and its Chinese as one row.

    The ways differ in what signs are: letters, of which 1, ! and | may be i or l, or nothing.
    """

    ways: tuple[tuple[str, ...], ...]
    chinese: str


def read_through(text: str) -> Spelt:
    """Return a text as a person reads it, without its disguises."""
    plain = "".join(_plain(text))
    # 1. Signs may stand for letters, or only between letters.
    ways = dict[tuple[str, ...], None]()
    apart = re.sub(r"[@$+!|*]", " ", plain)
    for letters in (apart.replace("1", "i"), *(_as_letters(plain, each) for each in "il")):
        ways[tuple(_words(letters.translate(_DIGITS)))] = None
    # 2. Whatever stands between Chinese characters says nothing.
    chinese = "".join(each for each in plain if "㐀" <= each <= "鿿" or "豈" <= each <= "\ufaff")
    return Spelt(tuple(ways), simplify(chinese))


def without_repeats(word: str) -> str:
    """Return a word in which no letter stands twice in a row."""
    return _RUN.sub(r"\1", word)


def _plain(text: str) -> Iterator[str]:
    """Yield the characters of a text in lower case, without accents and what is not seen."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    for each in unicodedata.normalize("NFD", folded):
        kind = unicodedata.category(each)
        if kind == "Cc":  # a line break is a blank
            yield " "
        elif kind not in ("Mn", "Me", "Cf"):
            yield _ALIKE_TABLE.get(ord(each), each)


def _as_letters(text: str, upright: str) -> str:
    """Return a text in which signs within a word, and $ and @ beside one, are letters."""
    text = re.sub(r"[@$](?=[\w@$+])|(?<=\w)[@$]", lambda sign: sign[0].translate(_SIGNS), text)
    text = re.sub(r"(?<=\w)\+(?=\w)", "t", text)
    # A mark of exclamation ends a sentence; within a word it is a letter.
    text = re.sub(r"(?<=[\w!|])[!|](?=\w)", upright, text)
    text = re.sub(r"(?<![\w*])\*+|\*+(?![\w*])", " ", text)
    return text.replace("1", upright)


def _words(text: str) -> Iterator[str]:
    for found in _WORD.finditer(text):
        yield found[0]
