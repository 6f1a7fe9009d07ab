"""Pictures of emoji of several characters (flags, professions), read from the font's own tables.

Pillow joins such characters into one glyph only where it finds libraqm and libfribidi; the font
says itself which glyph they become (its table GSUB) and holds that glyph as a PNG (CBLC, CBDT).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from PIL import Image

from limner.errors import DataError

_LIGATURES = 4  # the type of a lookup of GSUB that joins glyphs
_PNG = 17  # the image format of CBDT: 5 bytes of measures, the length, a PNG


@lru_cache(maxsize=2)
def glyph_table(font: str) -> GlyphTable:
    """Return the table of the font at a path; DataError when it is none of coloured pictures."""
    try:
        table = GlyphTable(Path(font).read_bytes())
        table.picture("")  # which reads all of the tables
    except (OSError, struct.error, KeyError, StopIteration) as error:
        raise DataError(
            f"{font} can't be read as a font of coloured pictures; give the path of "
            "NotoColorEmoji.ttf of Debian's fonts-noto-color-emoji"
        ) from error
    return table


@dataclass(frozen=True)
class GlyphTable:
    """A font file's bytes; `picture` finds what a sequence of characters looks like."""

    data: bytes

    def picture(self, text: str) -> Image.Image | None:
        """Return the one glyph that `text` becomes, as RGBA; None when it becomes none."""
        glyphs = tuple(self._characters.get(ord(character), 0) for character in text)
        glyph = self._ligatures.get(glyphs, glyphs[0] if len(glyphs) == 1 else 0)
        place = self._pictures.get(glyph)
        if not place:
            return None
        start = self._tables["CBDT"] + place
        (length,) = struct.unpack_from(">I", self.data, start + 5)
        return Image.open(io.BytesIO(self.data[start + 9 : start + 9 + length])).convert("RGBA")

    @cached_property
    def _tables(self) -> dict[str, int]:
        """Where each table begins."""
        (count,) = struct.unpack_from(">H", self.data, 4)
        rows = (struct.unpack_from(">4s3I", self.data, 12 + 16 * row) for row in range(count))
        return {name.decode("latin-1"): start for name, _, start, _ in rows}

    @cached_property
    def _characters(self) -> dict[int, int]:
        """The glyph of each character: of cmap, its part in format 12."""
        cmap = self._tables["cmap"]
        (count,) = struct.unpack_from(">H", self.data, cmap + 2)
        starts = (self._u32(cmap + 8 + 8 * row) + cmap for row in range(count))
        start = next(start for start in starts if self._u16(start) == 12)
        groups = (
            struct.unpack_from(">3I", self.data, start + 16 + 12 * row)
            for row in range(self._u32(start + 12))
        )
        return {
            character: glyph + character - first
            for first, last, glyph in groups
            for character in range(first, last + 1)
        }

    @cached_property
    def _ligatures(self) -> dict[tuple[int, ...], int]:
        """The glyph that each sequence of glyphs becomes."""
        gsub = self._tables["GSUB"]
        lookups = gsub + self._u16(gsub + 8)
        found: dict[tuple[int, ...], int] = {}
        for lookup in self._offsets(lookups, lookups):
            if self._u16(lookup) != _LIGATURES:
                continue
            for part in self._offsets(lookup, lookup + 4):
                firsts = self._coverage(part + self._u16(part + 2))
                sets = self._offsets(part, part + 4)
                for first, rows in zip(firsts, sets, strict=True):
                    for row in self._offsets(rows, rows):
                        glyph, length = struct.unpack_from(">2H", self.data, row)
                        rest = struct.unpack_from(f">{length - 1}H", self.data, row + 4)
                        found.setdefault((first, *rest), glyph)
        return found

    @cached_property
    def _pictures(self) -> dict[int, int]:
        """Where in CBDT the picture of each glyph is: of the font's first size."""
        cblc = self._tables["CBLC"]
        listed, _, count = struct.unpack_from(">3I", self.data, cblc + 8)
        found = {}
        for row in range(count):
            at = cblc + listed + 8 * row
            first, last, more = struct.unpack_from(">2HI", self.data, at)
            part = cblc + listed + more
            kind, image, base = struct.unpack_from(">2HI", self.data, part)
            if kind != 1 or image != _PNG:
                continue
            for number, glyph in enumerate(range(first, last + 1)):
                begin, end = struct.unpack_from(">2I", self.data, part + 8 + 4 * number)
                if end > begin:
                    found[glyph] = base + begin
        return found

    def _coverage(self, start: int) -> list[int]:
        kind, count = struct.unpack_from(">2H", self.data, start)
        if kind == 1:
            return list(struct.unpack_from(f">{count}H", self.data, start + 4))
        rows = (struct.unpack_from(">3H", self.data, start + 4 + 6 * row) for row in range(count))
        return [glyph for first, last, _ in rows for glyph in range(first, last + 1)]

    def _offsets(self, base: int, at: int) -> Iterator[int]:
        """Yield where each part of a list at `at` begins; its offsets count from `base`."""
        for offset in struct.unpack_from(f">{self._u16(at)}H", self.data, at + 2):
            yield base + offset

    def _u16(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 2], "big")

    def _u32(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 4], "big")
