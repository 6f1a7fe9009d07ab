"""Which words of a caption, in English or Chinese, hang on how its picture is shown.

It goes by words, so "all right" and 西瓜 count too (东西, a thing, does not); it does not know of
writing in the picture.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

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
