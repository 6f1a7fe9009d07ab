"""The 9,216 pictures of the rainbow-shapes benchmark, their captions, and the fixed split.

After the demonstration of DALLE-pytorch (examples/rainbow_dalle.ipynb), drawn here by code of our
own: 4 scales x 2 fills x 3 textures x 12 colours x 8 shapes x 4 rotations, 32 x 32 pixels on white,
without antialiasing. A circle and a square look the same in every rotation, so their four captions
share one picture; every other caption has a picture of its own (7,488 in all).

    python benchmarks/shapes.py FOLDER

writes FOLDER/trained and FOLDER/held_out, sources for `limner train` (configs/gan/shapes.toml).
"""

import hashlib
import itertools
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIZE = 32
SCALES = {"tiny": 6.0, "small": 9.0, "big": 12.0, "huge": 15.0}  # radius in pixels
FILLS = ("filled", "hollow")
TEXTURES = ("", "halftone", "striped")
COLOURS = {
    "red": (255, 0, 0),
    "orange": (255, 165, 0),
    "yellow": (255, 255, 0),
    "green": (0, 128, 0),
    "blue": (0, 0, 255),
    "indigo": (75, 0, 130),
    "violet": (238, 130, 238),
    "cyan": (0, 255, 255),
    "brown": (139, 69, 19),
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
    "rainbow": None,  # seven stripes, from red at the top to violet
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "crescent", "arrow", "house")
ROTATIONS = ("", "rotated clockwise", "rotated around", "rotated counterclockwise")
VOCABULARY = tuple(
    dict.fromkeys(" ".join([*SCALES, *FILLS, *TEXTURES, *COLOURS, *SHAPES, *ROTATIONS]).split())
)
ATTRIBUTES = ("scale", "fill", "texture", "colour", "shape", "rotation")

SPLIT_SEED = 1
TRAINED = 2764  # 30 % of the captions
SPLIT_SHA256 = "d7c426d94909ae69d758b7b78a41c96d1a8d7744ed153ae6a32f67cdb8013504"

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Plane = NDArray[np.float64]

_POLYGONS = {
    "square": ((-0.78, -0.78), (0.78, -0.78), (0.78, 0.78), (-0.78, 0.78)),
    "triangle": ((0.0, -0.95), (0.7, 0.8), (-0.7, 0.8)),
    "arrow": ((0, -1), (0.8, 0), (0.35, 0), (0.35, 0.95), (-0.35, 0.95), (-0.35, 0), (-0.8, 0)),
    "house": (
        (0.0, -0.95),
        (0.9, -0.1),
        (0.6, -0.1),
        (0.6, 0.9),
        (-0.6, 0.9),
        (-0.6, -0.1),
        (-0.9, -0.1),
    ),
    "star": tuple(
        (np.sin(turn * np.pi / 5) * radius, -np.cos(turn * np.pi / 5) * radius)
        for turn, radius in enumerate([1.0, 0.42] * 5)
    ),
}


@dataclass(frozen=True)
class Drawing:
    """What a caption says, each attribute as its index in the tables above."""

    scale: int
    fill: int
    texture: int
    colour: int
    shape: int
    rotation: int

    @property
    def caption(self) -> str:
        """The words in order, such as "big filled halftone orange crescent rotated clockwise"."""
        words = (
            tuple(SCALES)[self.scale],
            FILLS[self.fill],
            TEXTURES[self.texture],
            tuple(COLOURS)[self.colour],
            SHAPES[self.shape],
            ROTATIONS[self.rotation],
        )
        return " ".join(word for word in words if word)

    @property
    def values(self) -> tuple[int, ...]:
        """The six indices, in the order of ATTRIBUTES."""
        return (self.scale, self.fill, self.texture, self.colour, self.shape, self.rotation)


def every_drawing() -> list[Drawing]:
    """Return all 9,216, sorted by caption."""
    tables = (SCALES, FILLS, TEXTURES, COLOURS, SHAPES, ROTATIONS)
    indices = itertools.product(*(range(len(table)) for table in tables))
    return sorted((Drawing(*values) for values in indices), key=lambda drawing: drawing.caption)


def split() -> tuple[list[int], list[int]]:
    """Return the trained and the held-out positions in `every_drawing`; the same on any machine."""
    drawings = every_drawing()
    trained = sorted(random.Random(SPLIT_SEED).sample(range(len(drawings)), TRAINED))
    text = "".join(f"{drawings[index].caption}\n" for index in trained)
    found = hashlib.sha256(text.encode()).hexdigest()
    if found != SPLIT_SHA256:
        raise SystemExit(f"the split has SHA-256 {found}; published is {SPLIT_SHA256}")
    chosen = set(trained)
    return trained, [index for index in range(len(drawings)) if index not in chosen]


def draw(drawing: Drawing) -> Pixels:
    """Return the picture (32, 32, 3)."""
    mask = _shape(SHAPES[drawing.shape], tuple(SCALES.values())[drawing.scale])
    mask = np.rot90(mask, -drawing.rotation)
    if FILLS[drawing.fill] == "hollow":
        mask = mask & ~_shrink(_shrink(mask))
    rows, columns = np.indices((SIZE, SIZE))
    texture = TEXTURES[drawing.texture]
    if texture == "halftone":
        mask = mask & ((rows + columns) % 2 == 0)
    elif texture == "striped":
        mask = mask & (rows % 4 < 2)
    picture = np.full((SIZE, SIZE, 3), 255, np.uint8)
    picture[mask] = _paint(tuple(COLOURS)[drawing.colour], mask)[mask]
    return picture


def same_pictures(pictures: Pixels) -> NDArray[np.int64]:
    """Return for each picture (N, 32, 32, 3) the position of the first one that looks the same."""
    first: dict[bytes, int] = {}
    return np.array(
        [first.setdefault(each.tobytes(), index) for index, each in enumerate(pictures)]
    )


def _paint(colour: str, mask: Mask) -> Pixels:
    flat = COLOURS[colour]
    if flat is not None:
        return np.broadcast_to(np.array(flat, np.uint8), (SIZE, SIZE, 3))
    rows = np.flatnonzero(mask.any(axis=1))
    stripes = [colours for colours in COLOURS.values() if colours is not None][:7]
    share = (np.arange(SIZE) - rows[0]) * len(stripes) // (rows[-1] - rows[0] + 1)
    striped = np.array(stripes, np.uint8)[share.clip(0, len(stripes) - 1)]
    return np.broadcast_to(striped[:, None], (SIZE, SIZE, 3))


def _shape(name: str, radius: float) -> Mask:
    centres = (np.arange(SIZE) + 0.5 - SIZE / 2) / radius
    x, y = np.meshgrid(centres, centres)
    if name == "circle":
        return np.asarray(np.hypot(x, y) <= 0.95, bool)
    if name == "crescent":
        return np.asarray((np.hypot(x, y) <= 1) & (np.hypot(x - 0.5, y) > 0.65), bool)
    if name == "heart":
        a, b = x * 1.25, 0.25 - y * 1.2
        return np.asarray((a * a + b * b - 1) ** 3 - a * a * b**3 <= 0, bool)
    return _inside(x, y, _POLYGONS[name])


def _inside(x: Plane, y: Plane, corners: tuple[tuple[float, float], ...]) -> Mask:
    crossings = np.zeros(x.shape, np.int64)
    for (x0, y0), (x1, y1) in zip(corners, (*corners[1:], corners[0]), strict=True):
        if y0 != y1:
            between = (y0 <= y) != (y1 <= y)
            crossings += between & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return np.asarray(crossings % 2 == 1, bool)


def _shrink(mask: Mask) -> Mask:
    padded = np.pad(mask, 1)
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.asarray(mask & np.logical_and.reduce(neighbours), bool)


def write_folder(folder: Path, positions: list[int]) -> None:
    """Write some pictures of `every_drawing` as PNG files, and their captions beside them."""
    from PIL import Image

    folder.mkdir(parents=True)
    drawings, lines = every_drawing(), []
    for position in positions:
        name = f"{position:04d}.png"
        Image.fromarray(draw(drawings[position])).save(folder / name)
        lines.append(json.dumps({"file_name": name, "text": drawings[position].caption}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Write both parts of the split into the folder that is named."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python benchmarks/shapes.py FOLDER")
    for name, positions in zip(("trained", "held_out"), split(), strict=True):
        write_folder(Path(sys.argv[1]) / name, positions)


if __name__ == "__main__":
    main()
