"""Keywords: a prompt without its stop words, in its own order, as an optional first step of text.

Words are split at white space and punctuation, Chinese ones by the dictionary of `jieba` (extra
`text`). Words that say where or how many stay, because a picture depends on them. It knows no
grammar: "not" stays, and negates nothing.
"""

from __future__ import annotations

import re
import warnings
from functools import cache
from typing import Any

from limner.errors import MissingExtraError

_ENGLISH = (
    "a an the this that these those some any such it its his her their my your our "
    "i me we you he she they them is are was were be been being am has have had do does did "
    "will would can could should may might must of on at to from for by as and or but if so "
    "then than there here which who whom what when while where very just also too please "
    "show draw make paint give image picture photo"
)
_CHINESE = (
    "的 了 着 地 得 是 在 有 和 与 及 跟 同 或 也 都 就 而 且 但 很 把 被 让 给 从 到 对 于 为 以 "
    "这 那 这个 那个 这些 那些 我 你 他 她 它 们 我们 你们 他们 她们 它们 请 画 图 图片 图像 照片 "
    "一张 一幅 啊 吗 呢 吧 呀 嘛 之 其 将"
)
STOP_WORDS = frozenset(f"{_ENGLISH} {_CHINESE}".split())
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SCRIPTS = re.compile(f"[{_HAN}]+|[^{_HAN}]+")
_QUOTES = "'’-"  # part of a word within it, punctuation at its ends
_PUNCTUATION = re.compile(
    r"[\s!-&(-,./:-@\[-`{-~\xa1-\xbf\u2010-\u2018\u201a-\u206f\u3000-\u303f"
    "\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]+"
)


def keep_keywords(text: str) -> str:
    """Return the words of `text` that are no stop words, joined by spaces; all if none is left.

    Raises MissingExtraError for Chinese text where `jieba` is not installed.
    """
    kept = [word for word in split_words(text) if word.lower() not in STOP_WORDS]
    return " ".join(kept) or text


def split_words(text: str) -> list[str]:
    """Return the words, numbers and signs of `text` in order, without punctuation."""
    words: list[str] = []
    for run in _PUNCTUATION.split(text):
        for part in _SCRIPTS.findall(run):
            if re.match(f"[{_HAN}]", part):
                # Without the model of unknown words, so that a text is cut the same everywhere.
                words += _segmenter().cut(part, HMM=False)
            elif word := part.strip(_QUOTES):
                words.append(word)
    return words


@cache
def _segmenter() -> Any:
    """Return jieba's segmenter; its own way to start writes to the temporary folder and the log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is of 2020: newer Pythons warn of its spelling
        try:
            import jieba
        except ImportError:
            raise MissingExtraError(
                "keywords of Chinese text need jieba; run pip install 'limner[text]'"
            ) from None
    segmenter = jieba.Tokenizer()
    segmenter.FREQ, segmenter.total = segmenter.gen_pfdict(segmenter.get_dict_file())
    segmenter.initialized = True
    return segmenter
