"""Captions as files and tables give them, the columns that hold them, and words that matter.

Captions are strict UTF-8, one or several for a picture. Nothing is cleaned: what is no text is
refused with the place of the fault, and everything else stays as it was written.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from limner.errors import DataError, quote

FILE_LIMIT = 2**20  # bytes of one caption file
CAPTION_LIMIT = 64 * 2**10  # bytes of one caption
COUNT_LIMIT = 64  # captions of one picture
TEXTS = (".txt", ".text", ".caption")  # of several beside one picture the first of these is read

_BOM = b"\xef\xbb\xbf"
_NOTHING = frozenset(
    ("nan", "NaN", "NAN", "None", "none", "null", "NULL", "N/A", "n/a", "NA", "<NA>", "#N/A")
)
_BOXES = re.compile(r"\d+(?:\s+-?\d*\.\d+(?:[eE][-+]?\d+)?){4,}")  # of a detector's labels
_BETWEEN = re.compile(r"[\s!-/:-@\[-`{-~]+")  # words

Note = Callable[[str, str], None]  # of what kind something unused is, and its name
NO_CAPTION_COLUMN = "columns that look like captions by their names and are not read"
NO_TEXT_COLUMN = "columns of captions with a value that is no text, which is not read"
SECOND_TEXT = "caption files of a picture that has another, which is read"


def decode_caption_file(data: bytes) -> tuple[str, ...]:
    """Return the captions of a file, one a line; raises DataError that says which byte is bad."""
    if len(data) > FILE_LIMIT:
        raise DataError(f"the caption file is larger than {FILE_LIMIT // 2**20} MiB")
    skipped = len(_BOM) if data.startswith(_BOM) else 0
    try:
        text = data[skipped:].decode("utf-8")
    except UnicodeDecodeError as error:
        at = skipped + error.start
        if seems := _encoding_of(data):
            raise DataError(
                f"the caption is not UTF-8 at byte offset {at} and seems to be {seems}; save it as "
                "UTF-8"
            ) from error
        raise DataError(f"the caption is not UTF-8 at byte offset {at}") from error
    if b"\0" in data:
        raise DataError(f"the caption has a NUL at byte offset {data.index(0)}")
    # A detector's labels lie beside pictures just as captions do.
    captions = check_captions(text.splitlines())
    if all(_BOXES.fullmatch(each) for each in captions):
        raise DataError("the caption file holds the boxes of a detector; give words")
    return captions


def first_text(names: Sequence[str], note: Note) -> str:
    """Return which of the caption files of one picture is read; the others are noted.

    Raises DataError when two differ in the case of their suffixes alone.
    """
    suffixes = [PurePosixPath(name).suffix.lower() for name in names]
    chosen = min(suffixes, key=TEXTS.index)
    best = [name for name, suffix in zip(names, suffixes, strict=True) if suffix == chosen]
    if len(best) > 1:
        raise DataError(
            f"the picture has {len(best)} caption files; keep one of "
            f"{', '.join(map(quote, best[:3]))}"
        )
    for name in names:
        if name != best[0]:
            note(SECOND_TEXT, name)
    return best[0]


def captions_of(row: Mapping[str, Any], note: Note) -> tuple[str, ...]:
    """Return the captions of a table's row: its text, caption, text_zh columns, or lists of them.

    Columns that only look like it are noted, and those that hold no text. Raises DataError when
    there is no caption.
    """
    found: list[str] = []
    refusal = ""
    for key, value in row.items():
        if looks_like_caption(key):
            note(NO_CAPTION_COLUMN, key)
        if not is_caption(key) or value is None:
            continue
        texts = value if isinstance(value, list) else [value]
        wrong = [each for each in texts if not isinstance(each, str)]
        if not wrong:
            found += texts
        elif wrong[0] == wrong[0]:  # a NaN is an empty cell
            refusal = f"the caption under {key!r} is {type(wrong[0]).__name__}, not text"
            note(NO_TEXT_COLUMN, key)
    if refusal and not found:
        raise DataError(refusal)
    return check_captions(found)


def check_captions(texts: list[str]) -> tuple[str, ...]:
    """Return the texts without white space around them and without empty or repeated ones.

    Raises DataError when none is left, and for NUL, half surrogate pairs, GBK and wrong lengths.
    """
    written = tuple(dict.fromkeys(filter(None, (text.strip() for text in texts))))
    # Words that programs write for an empty cell, such as nan and None, count as empty.
    captions = tuple(text for text in written if text not in _NOTHING)
    if written and not captions:
        raise DataError(
            f"the caption is {quote(written[0])}, which programs write for an empty cell",
            code="no_caption",
        )
    if not captions:
        raise DataError("the caption is empty", code="no_caption")
    if len(captions) > COUNT_LIMIT:
        raise DataError(f"the picture has {len(captions)} captions; at most {COUNT_LIMIT}")
    for caption in captions:
        if "\0" in caption:
            raise DataError(f"the caption has a NUL at character {caption.index(chr(0))}")
        try:
            length = len(caption.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise DataError(
                f"the caption is not valid Unicode at character {error.start}; save it as UTF-8"
            ) from error
        if meant := _gbk_by_chance(caption):
            raise DataError(
                f"the caption is UTF-8 only by chance and seems to be GBK, {quote(meant)}; save it "
                "as UTF-8"
            )
        if length > CAPTION_LIMIT:
            raise DataError(
                f"the caption has {length} bytes; at most {CAPTION_LIMIT // 1024} KiB are read"
            )
    return captions


def _encoding_of(data: bytes) -> str:
    """Return what bytes that are no UTF-8 may be, or nothing."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    try:
        text = data.decode("gbk")
    except UnicodeDecodeError:
        return ""
    strange = [each for each in text if not each.isascii()]
    chinese = [each for each in strange if "\u4e00" <= each <= "\u9fff"]
    return "GBK" if len(chinese) * 2 > len(strange) else ""


def _gbk_by_chance(caption: str) -> str | None:
    """Return what a caption is in GBK where its UTF-8 makes no sense, else None.

    A single character, or a word in one script by chance, is not told apart from a foreign word.
    """
    # 1. Two bytes of GBK may be one letter of UTF-8, from Latin to N'Ko; no other letter can.
    if caption.isascii() or max(caption) >= "\u0800":
        return None
    strange = [each for each in caption if not each.isascii()]
    pairs = [each.encode("utf-8") for each in strange]
    # 2. Each pair of bytes must be one of the 3,755 commonest Chinese characters.
    if not all(0xB0 <= pair[0] <= 0xD7 and pair[1] >= 0xA1 for pair in pairs):
        return None
    # 3. No word of any language mixes two of these scripts.
    for word in _BETWEEN.split(caption):
        foreign = (each for each in word if not each.isascii() and each not in "ªº")
        letters = [each for each in foreign if unicodedata.category(each)[0] in "LM"]
        if len({unicodedata.name(each, "").split(" ")[0] for each in letters} - {"COMBINING"}) > 1:
            return caption.encode("utf-8").decode("gbk", "replace")
    return None


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


# A caption with one of these is false once its picture is mirrored.
_SIDES = re.compile(
    r"\b(left|right|east|west|(counter|anti-?)?clockwise|mirror(ed)?|port|starboard)"
    r"(s|most|wards?|ern|erly|-?hand(ed)?)?\b|[左右]|[東东](?!西)|(?<![東东])西|順時|顺时|逆時|逆时",
    re.IGNORECASE,
)
_COLOURS = re.compile(
    r"\b(red|orange|yellow|green|blue|purple|pink|brown|black|white|gr[ae]y|gold|silver|violet|"
    r"cyan|magenta|turquoise|teal|beige|crimson|scarlet|maroon|navy|indigo|lilac|lavender|ivory|"
    r"khaki|olive|bronze|copper|blond|ginger|colou?r|pale|dark|bright|light|sepia|monochrome|neon|"
    r"pastel|rainbow)(s|ed|en|dish|ish|y|er|est|ful|less|e)?\b"
    r"|[红紅橙黄黃绿綠蓝藍紫粉棕褐黑白灰金银銀青彩色暗亮]",
    re.IGNORECASE,
)


def mentions_sides(captions: Sequence[str]) -> bool:
    """Say whether a caption would be wrong for the mirrored picture."""
    return any(_SIDES.search(caption) for caption in captions)


def mentions_colours(captions: Sequence[str]) -> bool:
    """Say whether a caption names a colour or how light something is."""
    return any(_COLOURS.search(caption) for caption in captions)


def colour_words(captions: Sequence[str]) -> Counter[str]:
    """Return how often captions have each word of colour or light, in lower case."""
    return Counter(found[0].lower() for each in captions for found in _COLOURS.finditer(each))
