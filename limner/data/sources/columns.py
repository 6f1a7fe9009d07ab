"""Which columns of a table, or keys of a JSON object, name the picture and hold its captions.

A column is known by its name alone, in any case: `text`, `caption`, their plurals, and these with a
language after them (`text_zh`, `caption_en`, `text_zh_hans`). All else that begins like one
(`caption_source`, `text_len`) holds something about captions, and is told, not trained on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

PICTURE_KEYS = (
    *("file_name", "image", "path", "filename", "image_file", "image_name", "image_path"),
    *("file", "file_path", "filepath"),
)
# ISO 639-1 without `id`, `no` and `ts`, which are numbers and times in tables, and some more.
_LANGUAGES = """
    aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da
    de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz
    ia ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo
    lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn nr nv ny oc oj om or os pa pi pl ps
    pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl
    tn to tr tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo yue za zh zu
    eng zho chi cmn jpn kor deu ger fra fre spa ita por rus ara hin ind vie tha
    english chinese japanese korean german french spanish italian portuguese russian arabic hindi
    cn
"""
_CAPTION = re.compile(r"(?:text|caption)s?(?:[_-](?P<language>[a-z]+)(?:[_-](?P<kind>[a-z]+))?)?")
_KINDS = "hans hant latn cyrl cn tw hk sg mo us gb uk ca au in br pt mx"
_LIKE_CAPTION = re.compile(
    r"(?:text|caption)s?(?:[^a-z].*)?|[^,]*[^a-z](?:text|caption)s?"
    r"|(?:prompt|description|sentence|comment|title|label|alt|tag)s?"
)


def plain(key: str) -> str:
    """Return a column's name without white space around it, in small letters."""
    return key.strip().casefold()


@lru_cache(4096)
def is_caption(key: str) -> bool:
    """Say whether a column holds captions to train on."""
    found = _CAPTION.fullmatch(plain(key))
    if found is None:
        return False
    language, kind = found["language"], found["kind"]
    return language is None or (
        language in _LANGUAGES.split() and (kind is None or kind in _KINDS.split())
    )


@lru_cache(4096)
def looks_like_caption(key: str) -> bool:
    """Say whether a column looks as if it held captions or something about them, and is none."""
    return bool(_LIKE_CAPTION.fullmatch(plain(key))) and not is_caption(key)


def is_picture(key: str) -> bool:
    """Say whether a column names picture files."""
    return plain(key) in PICTURE_KEYS


def twice(columns: Iterable[str]) -> str | None:
    """Return the first column of pictures or captions whose name occurs twice, or None."""
    known: set[str] = set()
    for each in map(plain, columns):
        if each in known and (is_caption(each) or is_picture(each)):
            return each
        known.add(each)
    return None
