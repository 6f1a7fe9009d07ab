"""Drawing styles as people say them: "in pixel art style", "as line art", 贴纸."""

from __future__ import annotations

from functools import cache

from limner.errors import UsageError, did_you_mean, quote
from limner.text import lexicon

PLAIN = "plain"
_PLAIN = ("plain", "normal", "ordinary", "no style", "普通", "原样")
# What a person says around the name of a style.
_SAID_AROUND = (
    "style styled styles drawing art picture version turn turned make made like "
    "风格 样子 变成 换成 风 格 的 画 式 成 变 换 转 为 做 作 用 以 样 子 种 版 图"
)
_AROUND = frozenset(_SAID_AROUND.split())


def read_style(said: object) -> str:
    """Return the style that a person means: plain, sticker, pixel art, silhouette or line art.

    Raises UsageError for one that is not known. It does not know which of them a model has.
    """
    words = _mended(said) if isinstance(said, str) else []
    # The longest phrase of all that are said: "line art" and not the "art" of another.
    found = [
        (len(phrase), style, at)
        for phrase, style in _phrases().items()
        for at in range(len(words) - len(phrase) + 1)
        if tuple(words[at : at + len(phrase)]) == phrase
    ]
    if found:
        length, style, at = max(found)
        rest = words[:at] + words[at + length :]
        if all(each in _AROUND or each in lexicon.STOPS for each in rest):
            return style
    names = ", ".join(styles())
    hint = did_you_mean(lexicon.join(words), _hints()) if words else ""
    raise UsageError(f"style is {quote(said)}; expected one of {names}{hint}", param="style")


@cache
def styles() -> tuple[str, ...]:
    """Return the names of all styles that are known by words."""
    return (PLAIN, *(each.name for each in lexicon.usual_phrases() if each.kind == "style"))


def _hints() -> list[str]:
    """Return what may be meant by a style that is not known: each name, and its Chinese ones."""
    usual = [each for each in lexicon.usual_phrases() if each.kind == "style"]
    chinese = [text for each in usual for text in each.phrases if not text.isascii()]
    return [*styles(), *chinese]


@cache
def _phrases() -> dict[tuple[str, ...], str]:
    """Return what each phrase means, by its words."""
    said = [(text, PLAIN) for text in _PLAIN]
    for usual in lexicon.usual_phrases():
        if usual.kind == "style":
            said += [(text, usual.name) for text in (usual.name, *usual.phrases)]
    found = dict[tuple[str, ...], str]()
    for text, style in said:
        words = lexicon.tokens(text)
        bare = words[:-1] if words[-1] == "of" else words
        for each in (words, bare, _joined(words), [*bare[:-1], f"{bare[-1]}s"]):
            found.setdefault(tuple(each), style)
    return found


def _joined(words: list[str]) -> list[str]:
    """Return words as one, as "pixelart"; Han characters stay apart."""
    return ["".join(words)] if "".join(words).isascii() else words


def _mended(said: str) -> list[str]:
    """Return the words of a text in simplified characters, hyphens apart and slips mended."""
    known = {word for phrase in _phrases() for word in phrase}
    words = list[str]()
    for word in lexicon.tokens(lexicon.simplify(said)):
        parts = [word] if word in known else [each for each in word.split("-") if each]
        words += [
            each if each in known else lexicon.correct(each, sorted(known)) or each
            for each in parts
        ]
    return words
