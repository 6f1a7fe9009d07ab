"""The label of GB 45438-2025: the AIGC field of a file's metadata, and words that people see.

The standard has duties of whoever offers pictures to the public in China; limner writes what it
asks for, and does not know whether that is all that a law asks of you.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from limner.errors import UsageError, quote
from limner.finish.provenance.xmp import AIGC_KEYS

if TYPE_CHECKING:
    from PIL.Image import Image

GB45438 = "gb45438"
LABELS = (GB45438,)
_SHARE = 0.05  # of the short side, the least height of letters
_PRODUCER = "limner"
# "AI生成", made by AI, drawn here: fonts with Chinese are not everywhere. Rows of each letter.
_SMALL = (
    (".###.", "#...#", "#...#", "#...#", "#####", "#...#", "#...#", "#...#"),
    ("###", ".#.", ".#.", ".#.", ".#.", ".#.", ".#.", "###"),
    ("...#...", ".#.#...", ".######", "#..#...", "...#...", ".#####.", "...#...", "#######"),
    (
        "....#.#.", ".#######", ".#..#...", ".####.#.", ".#.##.#.", ".#.#.#..", ".#.##.##",
        "#.....##",
    ),
)  # fmt: skip
_LARGE = (
    (
        "....#....", "....#....", "...#.#...", "...#.#...", "...#.#...", "..#...#..", "..#...#..",
        "..#...#..", ".#.....#.", ".#######.", ".#.....#.", ".#.....#.", "#.......#", "#.......#",
        "#.......#", ".........",
    ),
    ("#####", *["..#.."] * 13, "#####", "....."),
    (
        "........#.......", "...#....#.......", "...#....#.......", "..##....#.......",
        "..#############.", "..#.....#.......", ".#......#.......", ".#......#.......",
        "#.......#.......", "..############..", "........#.......", "........#.......",
        "........#.......", "........#.......", "###############.", "................",
    ),
    (
        ".........#.#....", ".........#..#...", ".........#......", ".##############.",
        ".#.......#......", ".#.......#......", ".#.......#...#..", ".#####...#...#..",
        ".#...#...#..#...", ".#...#....#.#...", ".#...#....##....", ".#...#....#...#.",
        ".#.#.#...#.#..#.", "#...#...#...#.#.", "#......#.....##.", "................",
    ),
)  # fmt: skip


def check_label(label: object) -> None:
    """Raise UsageError unless a label is `gb45438`, or that, a colon, and a producer's name."""
    if not isinstance(label, str) or label.partition(":")[0] not in LABELS:
        raise UsageError(
            f"label is {quote(label)}; expected gb45438, or gb45438:NAME with the name or code of "
            "whoever makes pictures",
            param="label",
        )


def aigc_field(label: str, image: Image) -> dict[str, str]:
    """Return the AIGC field: surely generated, by whom, and a number made from the pixels."""
    number = hashlib.sha256(image.tobytes()).hexdigest()[:32]
    said = {"Label": "1", "ContentProducer": label.partition(":")[2] or _PRODUCER}
    said["ProduceID"] = number
    return {key: said.get(key, "") for key in AIGC_KEYS}


def add_label(image: Image) -> Image:
    """Return an RGB picture with "AI生成" in its lower right corner.

    Letters have at least a twentieth of the short side. Raises UsageError for a picture that is too
    small for the words.
    """
    from PIL import Image as Pictures

    least = _SHARE * min(image.size)
    letters = _SMALL if least <= len(_SMALL[0]) else _LARGE
    scale = 1 if letters is _SMALL else -(-int(least + 0.999) // len(_LARGE[0]))
    gap = len(letters[0]) // 8
    width = sum(len(each[0]) + gap for each in letters) + gap
    words = Pictures.new("L", (width, len(letters[0]) + 2 * gap))
    left = gap
    for each in letters:
        for top, row in enumerate(each):
            for across, sign in enumerate(row):
                if sign == "#":
                    words.putpixel((left + across, top + gap), 255)
        left += len(each[0]) + gap
    words = words.resize((words.width * scale, words.height * scale), Pictures.Resampling.NEAREST)
    if words.width > image.width or words.height > image.height:
        raise UsageError(
            f"a picture of {image.width} x {image.height} pixels has no room for a label of "
            f"{words.width} x {words.height}; draw larger ones, or leave the label out",
            param="label",
        )
    labelled = image.convert("RGB")
    corner = (image.width - words.width, image.height - words.height)
    # White on black is read on any ground.
    labelled.paste(words.convert("RGB"), corner)
    return labelled
