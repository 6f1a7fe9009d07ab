"""One reading of a source, and what it tells: sizes, captions, languages, copies, a sheet."""

from __future__ import annotations

import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from limner.data.copies.copies import Likeness, Looks, as_captioned, find_copies, group
from limner.data.sources.base import Sample, Source, read_pictures
from limner.decoding import PIXELS_LIMIT, full_size

if TYPE_CHECKING:
    from PIL.Image import Image

SHEET = 48  # pictures on the contact sheet, at most
SHEET_SIDE = 128  # pixels of each
EXAMPLES = 5  # pictures whose captions are shown
LANGUAGES = ("latin", "chinese", "japanese", "korean", "cyrillic", "arabic", "other")
_SCRIPTS = {  # the first word of a character's Unicode name
    "LATIN": "latin",
    "CJK": "chinese",
    "HIRAGANA": "japanese",
    "KATAKANA": "japanese",
    "HANGUL": "korean",
    "CYRILLIC": "cyrillic",
    "ARABIC": "arabic",
}


class Survey:
    """What a source holds, gathered by `read`; of the pictures only their looks are kept."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.keys: list[str] = []
        self.captions: list[tuple[str, ...]] = []
        self.sizes: list[tuple[int, int]] = []
        self.looks = Looks()
        self._shown: list[Image] = []
        self._step = 1

    def __len__(self) -> int:
        return len(self.keys)

    def read(self) -> Iterator[int]:
        """Read the whole source, yielding how many good pictures there were so far."""
        for sample, image in read_pictures(self.source, strict=False):
            self.add(sample, image)
            yield len(self)

    def add(self, sample: Sample, image: Image) -> None:
        """Take in one picture."""
        if len(self) % self._step == 0:
            self._show(image)
        self.keys.append(sample.key)
        self.captions.append(sample.captions)
        self.sizes.append(full_size(image))
        self.looks.add(image)

    def find_copies(self, mirrors: bool = False) -> list[Likeness]:
        """Return every two pictures that are copies by look and captions, in order."""
        return as_captioned(find_copies(self.looks), self.captions, mirrors)

    def sheet(self) -> Image | None:
        """Return some pictures from the whole source side by side; None without any."""
        from limner.images import grid

        return grid(self._shown[:SHEET]) if self._shown else None

    def examples(self) -> list[dict[str, Any]]:
        """Return a few pictures from the whole source by their names, each with its captions."""
        count = min(EXAMPLES, len(self))
        rows = [place * (len(self) - 1) // max(count - 1, 1) for place in range(count)]
        return [{"file": self.keys[row], "captions": list(self.captions[row])} for row in rows]

    def _show(self, image: Image) -> None:
        small = image.copy()
        small.thumbnail((SHEET_SIDE, SHEET_SIDE))
        self._shown.append(small)
        if len(self._shown) == 2 * SHEET:  # the length may be unknown: go on with every second
            self._shown = self._shown[::2]
            self._step *= 2


def size_report(sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return the spread of widths and heights in pixels, and the commonest sizes.

    `reduced` is how many are so large that they are read at a part of their size.
    """
    return {
        "reduced": sum(width * height > PIXELS_LIMIT for width, height in sizes),
        "width": extent([width for width, _ in sizes]),
        "height": extent([height for _, height in sizes]),
        "commonest": [
            {"width": width, "height": height, "pictures": count}
            for (width, height), count in commonest(Counter(sizes), 5)
        ],
    }


def caption_report(captions: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """Return number, lengths, languages and repetitions of the captions of all pictures."""
    texts = [text for each in captions for text in each]
    counted = Counter(texts)
    languages = Counter(map(language_of, texts))
    return {
        "total": len(texts),
        "characters": extent([len(text) for text in texts]),
        "languages": {name: languages[name] for name in LANGUAGES},
        "repeated": sum(count for count in counted.values() if count > 1),
        "commonest": [
            {"caption": text, "pictures": count}
            for text, count in commonest(counted, 5)
            if count > 1
        ],
    }


def commonest(counted: Counter[Any], most: int) -> list[tuple[Any, int]]:
    """Return the commonest keys with their counts; of equal counts the smaller key comes first."""
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:most]


def extent(values: Sequence[int]) -> dict[str, float]:
    """Return least, median and most; zeros for no values."""
    if not values:
        return {"least": 0, "median": 0, "most": 0}
    return {"least": min(values), "median": statistics.median(values), "most": max(values)}


def language_of(text: str) -> str:
    """Return the script that most letters of a text are in, one of LANGUAGES.

    It cannot tell English from French.
    """
    counted = Counter(
        _SCRIPTS.get(unicodedata.name(each, "").split(" ")[0].split("-")[0], "other")
        for each in text
        if each.isalpha()
    )
    # Chinese characters with any kana are Japanese: no Chinese text has kana.
    if counted["japanese"]:
        return "japanese"
    return commonest(counted, 1)[0][0] if counted else "other"


def extra_pictures(likenesses: Iterable[Likeness], count: int, *, near: bool) -> int:
    """Return how many pictures too many there are: all but one of each group of copies."""
    chosen = [each for each in likenesses if near or each.how == "pixels"]
    return sum(len(members) - 1 for members in group(count, chosen))
