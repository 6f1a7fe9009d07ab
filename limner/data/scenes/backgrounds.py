"""Backgrounds: a closed set of small paintings, each named by a key such as "striped:blue"."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Pixels = npt.NDArray[np.uint8]

TINTS: dict[str, tuple[int, int, int]] = {
    "red": (236, 112, 106),
    "orange": (250, 178, 102),
    "yellow": (252, 230, 132),
    "green": (146, 206, 140),
    "blue": (128, 180, 240),
    "purple": (184, 148, 222),
    "pink": (250, 190, 212),
    "white": (250, 250, 250),
    "gray": (178, 182, 188),
    "black": (38, 38, 44),
}
PATTERNS = ("plain", "gradient", "striped", "dotted", "checkered")
PLACES = ("meadow", "night", "beach", "snow", "desert", "sea", "sunset")
_WITH_COLOUR = {
    "plain": tuple(TINTS),
    "gradient": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black"),
    "striped": ("red", "yellow", "green", "blue", "purple", "pink"),
    "dotted": ("red", "yellow", "green", "blue", "purple", "pink"),
    "checkered": ("red", "yellow", "green", "blue", "purple", "pink"),
}
BACKGROUNDS: tuple[str, ...] = (
    *(f"{pattern}:{tint}" for pattern in PATTERNS for tint in _WITH_COLOUR[pattern]),
    *PLACES,
)
FINE = 4  # painted this many times larger, then averaged down: smooth edges at every size


@lru_cache(maxsize=256)
def background(key: str, side: int) -> Pixels:
    """Return the background named `key` as RGB pixels (side, side, 3)."""
    pattern, _, tint = key.partition(":")
    painter = _PAINTERS[pattern]
    large = painter(side * FINE, TINTS[tint]) if tint else painter(side * FINE, (0, 0, 0))
    small = large.convert("RGB").resize((side, side), Image.Resampling.BOX)
    pixels = np.asarray(small).copy()
    pixels.setflags(write=False)
    return pixels


def _plain(side: int, tint: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (side, side), tint)


def _gradient(side: int, tint: tuple[int, int, int]) -> Image.Image:
    return _vertical(side, [(0.0, tint), (1.0, (252, 252, 252))])


def _vertical(side: int, stops: list[tuple[float, tuple[int, int, int]]]) -> Image.Image:
    rows = np.linspace(0, 1, side)
    places = [place for place, _ in stops]
    columns = [np.interp(rows, places, [tint[c] for _, tint in stops]) for c in range(3)]
    column = np.stack(columns, axis=-1)[:, None, :]
    return Image.fromarray(np.broadcast_to(column, (side, side, 3)).astype(np.uint8), "RGB")


def _striped(side: int, tint: tuple[int, int, int]) -> Image.Image:
    image = Image.new("RGB", (side, side), (250, 250, 250))
    draw = ImageDraw.Draw(image)
    width = side // 8
    for left in range(0, side, 2 * width):
        draw.rectangle((left, 0, left + width - 1, side), fill=tint)
    return image


def _dotted(side: int, tint: tuple[int, int, int]) -> Image.Image:
    image = Image.new("RGB", (side, side), (250, 250, 250))
    draw = ImageDraw.Draw(image)
    step, radius = side / 4, side / 14
    for row in range(4):
        for column in range(4):
            x, y = (column + 0.5) * step, (row + 0.5) * step
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tint)
    return image


def _checkered(side: int, tint: tuple[int, int, int]) -> Image.Image:
    image = Image.new("RGB", (side, side), (250, 250, 250))
    draw = ImageDraw.Draw(image)
    cell = side // 4
    for row in range(4):
        for column in range(row % 2, 4, 2):
            x, y = column * cell, row * cell
            draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=tint)
    return image


def _meadow(side: int, _: tuple[int, int, int]) -> Image.Image:
    image = _vertical(side, [(0, (142, 206, 250)), (0.62, (214, 240, 252)), (1, (214, 240, 252))])
    draw = ImageDraw.Draw(image)
    draw.ellipse((-0.5 * side, 0.58 * side, 0.9 * side, 1.6 * side), fill=(120, 196, 92))
    draw.ellipse((0.2 * side, 0.64 * side, 1.6 * side, 1.8 * side), fill=(98, 176, 78))
    flowers = [(0.08, 0.9, 0), (0.2, 0.78, 1), (0.34, 0.94, 2), (0.66, 0.92, 1), (0.8, 0.78, 0)]
    for x, y, kind in [*flowers, (0.93, 0.93, 2)]:
        petal = [(255, 255, 255), (255, 226, 92), (250, 160, 190)][kind]
        _disc(draw, x * side, y * side, 0.022 * side, petal)
    return image


def _night(side: int, _: tuple[int, int, int]) -> Image.Image:
    image = _vertical(side, [(0, (10, 14, 52)), (0.8, (38, 44, 106)), (1, (56, 56, 120))])
    draw = ImageDraw.Draw(image)
    stars = [(0.1, 0.12), (0.28, 0.05), (0.45, 0.1), (0.62, 0.04), (0.06, 0.4), (0.95, 0.42)]
    more = [(0.93, 0.66), (0.07, 0.68), (0.5, 0.94), (0.2, 0.9), (0.78, 0.92), (0.96, 0.88)]
    for x, y in stars + more:
        _disc(draw, x * side, y * side, 0.012 * side, (255, 250, 214))
    _disc(draw, 0.86 * side, 0.14 * side, 0.09 * side, (255, 244, 190))
    _disc(draw, 0.825 * side, 0.12 * side, 0.075 * side, (18, 22, 64))
    return image


def _beach(side: int, _: tuple[int, int, int]) -> Image.Image:
    image = _vertical(side, [(0, (120, 204, 250)), (0.4, (208, 238, 252)), (1, (208, 238, 252))])
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0.42 * side, side, 0.66 * side), fill=(48, 150, 206))
    draw.rectangle((0, 0.62 * side, side, 0.67 * side), fill=(226, 246, 250))
    draw.rectangle((0, 0.67 * side, side, side), fill=(244, 220, 158))
    _disc(draw, 0.13 * side, 0.13 * side, 0.09 * side, (255, 226, 96))
    return image


def _snow(side: int, _: tuple[int, int, int]) -> Image.Image:
    image = _vertical(side, [(0, (150, 176, 208)), (0.7, (204, 218, 234)), (1, (204, 218, 234))])
    draw = ImageDraw.Draw(image)
    draw.ellipse((-0.6 * side, 0.66 * side, 1.1 * side, 1.9 * side), fill=(244, 248, 252))
    draw.ellipse((0.1 * side, 0.72 * side, 1.7 * side, 2.0 * side), fill=(232, 240, 248))
    flakes = [(0.08, 0.1), (0.3, 0.06), (0.55, 0.09), (0.8, 0.05), (0.94, 0.22), (0.05, 0.34)]
    for x, y in [*flakes, (0.95, 0.5), (0.07, 0.56), (0.9, 0.66)]:
        _disc(draw, x * side, y * side, 0.018 * side, (255, 255, 255))
    return image


def _desert(side: int, _: tuple[int, int, int]) -> Image.Image:
    image = _vertical(side, [(0, (252, 196, 120)), (0.65, (254, 230, 180)), (1, (254, 230, 180))])
    draw = ImageDraw.Draw(image)
    draw.ellipse((-0.4 * side, 0.6 * side, 0.8 * side, 1.5 * side), fill=(226, 168, 92))
    draw.ellipse((0.3 * side, 0.66 * side, 1.5 * side, 1.7 * side), fill=(208, 146, 74))
    _disc(draw, 0.87 * side, 0.13 * side, 0.085 * side, (255, 246, 206))
    return image


def _sea(side: int, _: tuple[int, int, int]) -> Image.Image:
    image = _vertical(side, [(0, (96, 200, 230)), (0.85, (16, 84, 156)), (1, (14, 70, 138))])
    draw = ImageDraw.Draw(image)
    draw.ellipse((-0.3 * side, 0.88 * side, 1.3 * side, 1.3 * side), fill=(214, 196, 140))
    bubbles = [(0.08, 0.2, 0.03), (0.12, 0.1, 0.018), (0.93, 0.3, 0.028), (0.9, 0.16, 0.02)]
    for x, y, radius in bubbles:
        _disc(draw, x * side, y * side, radius * side, (190, 236, 248))
    return image


def _sunset(side: int, _: tuple[int, int, int]) -> Image.Image:
    stops = [(0.0, (92, 60, 140)), (0.4, (232, 104, 112)), (0.68, (254, 190, 98))]
    image = _vertical(side, [*stops, (1.0, (254, 190, 98))])
    draw = ImageDraw.Draw(image)
    _disc(draw, 0.5 * side, 0.7 * side, 0.2 * side, (255, 236, 150))
    draw.rectangle((0, 0.72 * side, side, side), fill=(74, 62, 110))
    draw.rectangle((0.36 * side, 0.76 * side, 0.64 * side, 0.79 * side), fill=(226, 150, 110))
    draw.rectangle((0.42 * side, 0.85 * side, 0.58 * side, 0.88 * side), fill=(190, 120, 110))
    return image


def _disc(
    draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: tuple[int, int, int]
) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


_PAINTERS = {
    **dict(zip(PATTERNS, (_plain, _gradient, _striped, _dotted, _checkered), strict=True)),
    **dict(zip(PLACES, (_meadow, _night, _beach, _snow, _desert, _sea, _sunset), strict=True)),
}

# The colours that objects are lost in, by place; a background of a tint hides that colour.
NEAR_COLOURS = {
    "meadow": {"green"},
    "night": {"black"},
    "beach": {"blue"},
    "snow": {"white", "gray"},
    "desert": {"orange", "yellow"},
    "sea": {"blue"},
    "sunset": {"orange"},
}
