"""A collection as an image folder: square PNG files, metadata.jsonl, a README with the licence."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from limner.data.collections.clipart import CLIPART
from limner.data.collections.entries import Catalogue, Collection, Entry
from limner.data.collections.stamps import STAMPS
from limner.data.collections.svg import draw_svg
from limner.data.sources.caption_text import is_caption
from limner.data.sources.folders import read_bytes
from limner.data.sources.tables import METADATA
from limner.errors import DataError, ImageError, UsageError, quote
from limner.files.atomic import new_folder
from limner.images import decode_cut_out, encode_png

if TYPE_CHECKING:
    from PIL.Image import Image

SIZES = (16, 1024)
FIRST = 3  # names that stand for the files that were left out
BROKEN = "a picture that is broken"
UNUSABLE = {  # the codes of an ImageError
    "image_too_large": "larger than limner reads",
    "image_too_small": "too small, or empty",
}


@dataclass(frozen=True)
class CollectionFolder:
    """Which pictures go into a folder and how. Raises UsageError for a wrong value."""

    name: str  # of the collection
    source: Path | None = None  # None looks where the package is installed
    languages: tuple[str, ...] = ("en",)  # of the captions
    size: int = 128  # pixels of a side
    count: int = 0  # 0 for all, else those with the lowest hash of their names
    background: str = "white"  # a colour as CSS names it

    def __post_init__(self) -> None:
        from PIL import ImageColor

        least, most = SIZES
        if not least <= self.size <= most:
            raise UsageError(f"size {self.size} is out of range; give {least} to {most} pixels")
        if self.count < 0:
            raise UsageError(f"count {self.count} is out of range; give 1 or more, or 0 for all")
        if not self.languages or not all(re.fullmatch(r"[\w@-]+", each) for each in self.languages):
            raise UsageError(
                f"languages are {quote(','.join(self.languages))}; give codes with commas between "
                "them, as en,zh"
            )
        try:
            ImageColor.getrgb(self.background)
        except ValueError:
            raise UsageError(
                f"background is {quote(self.background)}; give a colour, as white or '#f0e0d0'"
            ) from None


class MadeCollection:
    """A collection on its way into a folder: what was found, written and left out."""

    def __init__(self, settings: CollectionFolder) -> None:
        self.settings = settings
        self.collection: Collection = COLLECTIONS[settings.name]
        self.root = self.collection.find(settings.source)
        unique = tuple(dict.fromkeys(settings.languages))
        self.settings = replace(settings, languages=unique)
        self.catalogue: Catalogue = self.collection.read(self.root, unique)
        self.entries = chosen(self.catalogue.entries, settings.count)
        self.written = 0
        self.captions: Counter[str] = Counter()
        if not self.entries:
            raise DataError(
                f"{quote(str(self.root), 160)} has no picture with a caption in "
                f"{', '.join(unique)}; give another --from, or other languages"
            )

    def write(self, out: Path) -> Generator[int, None, None]:
        """Write the folder `out`, yielding how many pictures are done; stop iterating to stop.

        As with `make_scenes`, `out` is whole or absent. Raises UsageError when something is there,
        ResourceError when the disk refuses, DataError when no picture could be read.
        """
        with new_folder(out) as partial:
            yield from self._write(partial)
            if not self.written:
                raise DataError(
                    f"none of the {len(self.entries)} pictures in {quote(str(self.root), 160)} "
                    f"could be read, as {quote(self.entries[0].name)}; unpack the package again"
                )
            (partial / "README.md").write_text(self.readme(), encoding="utf-8")

    def _write(self, folder: Path) -> Iterator[int]:
        taken: set[str] = set()
        with (folder / METADATA[0]).open("w", encoding="utf-8") as metadata:
            for done, entry in enumerate(self.entries, start=1):
                if (data := self._picture(entry)) is not None:
                    name = free_name(entry.name, taken)
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / name).write_bytes(data)
                    row = {"file_name": name, **entry.captions, **entry.about}
                    metadata.write(json.dumps(row, ensure_ascii=False) + "\n")
                    self.written += 1
                    self.captions.update(key for key in entry.captions if is_caption(key))
                yield done

    def _picture(self, entry: Entry) -> bytes | None:
        size, background = self.settings.size, self.settings.background
        try:
            if entry.path.suffix == ".svg":
                image = draw_svg(entry.path, 4 * size)
            else:
                image = decode_cut_out(read_bytes(entry.path), entry.name)
            return encode_png(to_square(image, size, background, entry.name))
        except ImageError as error:
            self.catalogue.skip(entry.name, UNUSABLE.get(error.code or "", BROKEN))
            return None

    def report(self) -> dict[str, Any]:
        """Return what was written and left out as JSON values."""
        skipped = self.catalogue.skipped
        return {
            "collection": self.collection.name,
            "from": str(self.root),
            "pictures": self.written,
            "captions": [
                {"column": column, "count": count} for column, count in self.captions.items()
            ],
            "left_out": [
                {"reason": reason, "count": len(names), "first": names[:FIRST]}
                for reason, names in skipped.items()
            ],
            "licence": self.collection.licence,
            "notice": self.collection.notice,
        }

    def readme(self) -> str:
        """Return the README of the folder: where its pictures come from, and their licence."""
        made, skipped = self.collection, self.catalogue.skipped
        lines = [
            f"# {made.name}",
            f"{self.written} pictures, {self.settings.size} pixels wide, of the Debian packages "
            f"{made.packages}, written by `limner data make {made.name}`. Captions: "
            + ", ".join(f"{count} under `{key}`" for key, count in self.captions.items())
            + ".",
            f"Licence: {made.licence}; {made.notice}.",
            "## Left out",
            *(
                f"{len(names)}, {reason}:\n\n" + "\n".join(f"- {name}" for name in names)
                for reason, names in skipped.items()
            ),
        ]
        return "\n\n".join(lines) + "\n"


def chosen(entries: list[Entry], count: int) -> list[Entry]:
    """Return `count` entries, or all of them for 0, by the lowest hash of their names, in order."""
    if not count or count >= len(entries):
        return entries
    # By hash, so that a larger count only adds pictures, and new ones in the package move few.
    ordered = sorted(entries, key=lambda each: hashlib.sha256(each.name.encode()).digest())
    kept = {each.name for each in ordered[:count]}
    return [each for each in entries if each.name in kept]


def free_name(name: str, taken: set[str]) -> str:
    """Return a name in .png that is not taken, whatever its capitals; from then on it is."""
    stem = str(PurePosixPath(name).with_suffix(""))
    number = 1
    while (free := f"{stem}-{number}.png" if number > 1 else f"{stem}.png").casefold() in taken:
        number += 1
    taken.add(free.casefold())
    return free


LEAST_SIDE = 16  # pixels of the longer side; what is smaller shows nothing
MARGIN = 16  # a cut-out keeps this part of the square free on each side
CLEAR = 8  # of 255: alpha below it is not seen


def to_square(image: Image, size: int, background: str, name: str) -> Image:
    """Return an RGBA picture as RGB, `size` pixels square, its empty border cut off.

    Raises ImageError for a picture in which nothing is seen, and for one of fewer than 16 pixels.
    """
    from PIL import Image

    alpha = image.getchannel("A")
    box = alpha.point(lambda value: 255 * (value >= CLEAR)).getbbox()
    if box is None:
        raise ImageError(
            f"nothing is seen in {quote(name)}; give a picture that is not empty",
            code="image_too_small",
        )
    # A picture that is transparent somewhere is cut to what is seen and gets a margin; one that is
    # opaque keeps its border and fills the square from side to side.
    framed = alpha.histogram()[0] > 0
    image = image.crop(box)
    if max(image.size) < LEAST_SIDE:
        raise ImageError(
            f"{quote(name)} is {image.width} x {image.height} pixels; at least {LEAST_SIDE} on its "
            "longer side are needed",
            code="image_too_small",
        )
    room = size - 2 * (size // MARGIN) if framed else size
    scale = room / max(image.size)
    across, down = (max(1, round(side * scale)) for side in image.size)
    # Laid on the background before it shrinks: else edges mix with the colour that transparent
    # pixels happen to have.
    plain = Image.new("RGBA", image.size, background)
    drawn = Image.alpha_composite(plain, image).convert("RGB")
    drawn = drawn.resize((across, down), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (size, size), background)
    square.paste(drawn, ((size - across) // 2, (size - down) // 2))
    return square


COLLECTIONS = {each.name: each for each in (STAMPS, CLIPART)}
