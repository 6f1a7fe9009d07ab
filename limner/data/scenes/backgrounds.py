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
# Of the wide world: they follow the others, whose numbers stay.
BY_NIGHT = "{} at night"
PLACES_LATER = (
    *map(BY_NIGHT.format, ("meadow", "beach", "snow", "desert")),
    *("forest", "mountains", "downtown"),
    *map(BY_NIGHT.format, ("forest", "mountains", "downtown")),
)
FINE = 4  # painted this many times larger, then averaged down: smooth edges at every size


def backgrounds(*, wide: bool = False) -> tuple[str, ...]:
    """Return the keys of the first backgrounds, or those of the wide world too, in their order."""
    return (*BACKGROUNDS, *PLACES_LATER) if wide else BACKGROUNDS


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


def _night_sky(side: int, ground: tuple[int, int, int], horizon: float) -> Image.Image:
    """Return a sky with stars and a moon down to the horizon, and the ground below it."""
    image = _vertical(side, [(0, (14, 20, 62)), (horizon, (52, 62, 122)), (1, (52, 62, 122))])
    draw = ImageDraw.Draw(image)
    for x, y in [(0.06, 0.1), (0.22, 0.05), (0.36, 0.12), (0.55, 0.05), (0.7, 0.1), (0.95, 0.3)]:
        _disc(draw, x * side, y * side, 0.012 * side, (255, 250, 214))
    _disc(draw, 0.87 * side, 0.12 * side, 0.075 * side, (255, 244, 190))
    draw.rectangle((0, horizon * side, side, side), fill=ground)
    return image


def _meadow_at_night(side: int, _: tuple[int, int, int]) -> Image.Image:
    image = _night_sky(side, (26, 74, 60), 0.72)
    draw = ImageDraw.Draw(image)
    draw.ellipse((-0.5 * side, 0.62 * side, 0.9 * side, 1.6 * side), fill=(34, 92, 70))
    draw.ellipse((0.3 * side, 0.68 * side, 1.7 * side, 1.8 * side), fill=(24, 76, 60))
    flowers = [(0.08, 0.9), (0.2, 0.78), (0.34, 0.94), (0.66, 0.92), (0.8, 0.78), (0.93, 0.93)]
    for x, y in flowers:
        _disc(draw, x * side, y * side, 0.02 * side, (150, 168, 206))
    return image


def _beach_at_night(side: int, _: tuple[int, int, int]) -> Image.Image:
    image = _night_sky(side, (136, 122, 106), 0.42)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0.42 * side, side, 0.66 * side), fill=(22, 58, 112))
    draw.rectangle((0, 0.62 * side, side, 0.67 * side), fill=(132, 154, 190))
    for y, left in ((0.46, 0.8), (0.51, 0.83), (0.56, 0.81)):  # the moon on the water
        box = (left * side, y * side, (left + 0.13) * side, (y + 0.02) * side)
        draw.rectangle(box, fill=(214, 214, 190))
    return image


def _snow_at_night(side: int, _: tuple[int, int, int]) -> Image.Image:
    image = _night_sky(side, (150, 166, 204), 0.8)
    draw = ImageDraw.Draw(image)
    draw.ellipse((-0.6 * side, 0.66 * side, 1.1 * side, 1.9 * side), fill=(168, 184, 220))
    draw.ellipse((0.1 * side, 0.72 * side, 1.7 * side, 2.0 * side), fill=(150, 168, 208))
    for x, y in [(0.08, 0.26), (0.93, 0.44), (0.05, 0.46), (0.95, 0.58), (0.07, 0.62), (0.3, 0.2)]:
        _disc(draw, x * side, y * side, 0.018 * side, (222, 230, 246))
    return image


def _desert_at_night(side: int, _: tuple[int, int, int]) -> Image.Image:
    image = _night_sky(side, (92, 74, 84), 0.8)
    draw = ImageDraw.Draw(image)
    draw.ellipse((-0.4 * side, 0.6 * side, 0.8 * side, 1.5 * side), fill=(116, 92, 92))
    draw.ellipse((0.3 * side, 0.66 * side, 1.5 * side, 1.7 * side), fill=(94, 74, 84))
    return image


def _forest(side: int, _: tuple[int, int, int]) -> Image.Image:
    image = _vertical(side, [(0, (170, 218, 236)), (0.7, (222, 240, 226)), (1, (222, 240, 226))])
    return _with_firs(image, (60, 128, 82), (36, 96, 62), (110, 148, 74))


def _forest_at_night(side: int, _: tuple[int, int, int]) -> Image.Image:
    return _with_firs(_night_sky(side, (18, 44, 44), 0.9), (26, 70, 70), (14, 46, 52), (24, 56, 50))


def _with_firs(
    image: Image.Image, far: tuple[int, int, int], near: tuple[int, int, int],
    ground: tuple[int, int, int],
) -> Image.Image:  # fmt: skip
    side, draw = image.width, ImageDraw.Draw(image)
    draw.rectangle((0, 0.8 * side, side, side), fill=ground)
    rows = (
        (far, 0.84, 0.46, [0.12, 0.3, 0.48, 0.66, 0.84]),
        (near, 0.94, 0.6, [0.0, 0.2, 0.8, 1.0]),
    )
    for fill, foot, height, middles in rows:
        for x in middles:
            for top, width in ((foot - height, 0.07), (foot - 0.7 * height, 0.1)):
                peak, corners = (x * side, top * side), ((x - width) * side, (x + width) * side)
                low = foot * side
                draw.polygon([peak, (corners[1], low), (corners[0], low)], fill=fill)
    return image


def _mountains(side: int, _: tuple[int, int, int]) -> Image.Image:
    image = _vertical(side, [(0, (126, 190, 240)), (0.7, (224, 238, 250)), (1, (224, 238, 250))])
    return _with_peaks(image, (134, 146, 176), (248, 250, 252), (128, 176, 112))


def _mountains_at_night(side: int, _: tuple[int, int, int]) -> Image.Image:
    image = _night_sky(side, (30, 58, 60), 0.9)
    return _with_peaks(image, (58, 66, 104), (158, 172, 210), (30, 62, 64))


def _with_peaks(
    image: Image.Image, rock: tuple[int, int, int], snow: tuple[int, int, int],
    ground: tuple[int, int, int],
) -> Image.Image:  # fmt: skip
    side, draw = image.width, ImageDraw.Draw(image)
    for x, top, slope in ((0.5, 0.34, 0.9), (0.16, 0.2, 0.62), (0.84, 0.26, 0.62)):
        for foot, fill in ((0.86, rock), (top + 0.13, snow)):
            half = (foot - top) * slope
            corners = [(x, top), (x + half, foot), (x - half, foot)]
            draw.polygon([(across * side, down * side) for across, down in corners], fill=fill)
    draw.rectangle((0, 0.84 * side, side, side), fill=ground)
    return image


def _city(side: int, _: tuple[int, int, int]) -> Image.Image:
    image = _vertical(side, [(0, (164, 206, 240)), (0.8, (236, 240, 244)), (1, (236, 240, 244))])
    return _with_houses(image, (146, 160, 184), (118, 130, 158), (222, 236, 246))


def _city_at_night(side: int, _: tuple[int, int, int]) -> Image.Image:
    image = _night_sky(side, (40, 42, 58), 0.9)
    return _with_houses(image, (44, 48, 84), (30, 32, 60), (255, 220, 120))


def _with_houses(
    image: Image.Image, far: tuple[int, int, int], near: tuple[int, int, int],
    windows: tuple[int, int, int],
) -> Image.Image:  # fmt: skip
    side, draw = image.width, ImageDraw.Draw(image)
    houses = ((0.0, 0.34), (0.17, 0.2), (0.34, 0.44), (0.5, 0.3), (0.67, 0.4), (0.84, 0.26))
    for number, (left, top) in enumerate(houses):
        fill = (far, near)[number % 2]
        draw.rectangle((left * side, top * side, (left + 0.17) * side, 0.9 * side), fill=fill)
        for row in range(round((0.88 - top) / 0.1)):
            y = top + 0.04 + 0.1 * row
            for x in (left + 0.035, left + 0.1):
                box = (x * side, y * side, (x + 0.035) * side, (y + 0.04) * side)
                draw.rectangle(box, fill=windows)
    draw.rectangle((0, 0.88 * side, side, side), fill=tuple(each * 3 // 4 for each in near))
    return image


def _disc(
    draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: tuple[int, int, int]
) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


_PAINTERS = {
    **dict(zip(PATTERNS, (_plain, _gradient, _striped, _dotted, _checkered), strict=True)),
    **dict(zip(PLACES, (_meadow, _night, _beach, _snow, _desert, _sea, _sunset), strict=True)),
}
_LATER = (
    *(_meadow_at_night, _beach_at_night, _snow_at_night, _desert_at_night),
    *(_forest, _mountains, _city, _forest_at_night, _mountains_at_night, _city_at_night),
)
_PAINTERS |= dict(zip(PLACES_LATER, _LATER, strict=True))

# The colours that objects are lost in, by place; a background of a tint hides that colour.
NEAR_COLOURS = {
    "meadow": {"green"},
    "night": {"black"},
    "beach": {"blue"},
    "snow": {"white", "gray"},
    "desert": {"orange", "yellow"},
    "sea": {"blue"},
    "sunset": {"orange"},
    **{key: {"black"} for key in PLACES_LATER},
    "snow at night": {"gray"},
    "forest": {"green"},
    "mountains": {"gray"},
    "downtown": {"gray"},
}
