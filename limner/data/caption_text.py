"""Captions as files and tables give them: strict UTF-8, one or several for a picture.

It cleans nothing: what is no text is refused with the place of the fault, and everything else stays
as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from limner.errors import DataError

FILE_LIMIT = 2**20  # bytes of one caption file
CAPTION_LIMIT = 64 * 2**10  # bytes of one caption
COUNT_LIMIT = 64  # captions of one picture
PICTURE_KEYS = ("file_name", "image", "path")
CAPTION_KEY = re.compile(r"(text|caption)s?(_\w+)?")  # text, text_zh, captions, caption_en ...

_BOM = b"\xef\xbb\xbf"


def decode_caption_file(data: bytes) -> tuple[str, ...]:
    """Return the captions of a file, one a line; raises DataError that says which byte is bad."""
    if len(data) > FILE_LIMIT:
        raise DataError(f"the caption file is larger than {FILE_LIMIT // 2**20} MiB")
    skipped = len(_BOM) if data.startswith(_BOM) else 0
    try:
        text = data[skipped:].decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"the caption is not UTF-8 at byte offset {skipped + error.start}"
        ) from error
    if b"\0" in data:
        raise DataError(f"the caption has a NUL at byte offset {data.index(0)}")
    return check_captions(text.splitlines())


def captions_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the captions of a table's row: its text, caption, text_* columns, or lists of them.

    Raises DataError when there is none, or one is no text.
    """
    found: list[str] = []
    for key, value in row.items():
        if not CAPTION_KEY.fullmatch(key) or value is None:
            continue
        for each in value if isinstance(value, list) else [value]:
            if not isinstance(each, str):
                raise DataError(f"the caption under {key!r} is {type(each).__name__}, not text")
            found.append(each)
    return check_captions(found)


def check_captions(texts: list[str]) -> tuple[str, ...]:
    """Return the texts without white space around them and without empty or repeated ones.

    Raises DataError when none is left, and for NUL, half surrogate pairs and wrong lengths.
    """
    captions = tuple(dict.fromkeys(filter(None, (text.strip() for text in texts))))
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
        if length > CAPTION_LIMIT:
            raise DataError(
                f"the caption has {length} bytes; at most {CAPTION_LIMIT // 1024} KiB are read"
            )
    return captions
