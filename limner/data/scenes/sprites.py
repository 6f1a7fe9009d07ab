"""Sprites: one emoji as a small premultiplied RGBA picture, recoloured and restyled.

Knows the font; knows nothing of scenes, layouts or captions.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from limner.data.scenes.glyphs import glyph_table
from limner.data.scenes.kept import kept_within
from limner.errors import DataError

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

STRIKE = 109  # the only bitmap size inside Noto Color Emoji
CANVAS = 136
EMOJI_STYLE = "\ufe0f"  # the selector that asks for the coloured form, which the font always has
FONT_PLACES = (
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf",
    "/usr/share/fonts/google-noto-color-emoji-fonts/NotoColorEmoji.ttf",
    ".cache/fonts/NotoColorEmoji.ttf",
)
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 44, 50),
    "orange": (247, 134, 20),
    "yellow": (252, 210, 46),
    "green": (62, 166, 66),
    "blue": (40, 110, 226),
    "purple": (138, 62, 190),
    "pink": (250, 130, 180),
    "brown": (126, 78, 46),
    "black": (42, 42, 48),
    "white": (244, 244, 244),
    "gray": (144, 148, 154),
}
STYLES = ("plain", "sticker", "pixel art", "silhouette", "line art")


def find_font(path: str | os.PathLike[str] | None = None) -> str:
    """Return the path of the emoji font: `path`, `$LIMNER_FONT`, or a usual place.

    Raises DataError when there is none.
    """
    asked = path or os.environ.get("LIMNER_FONT")
    if asked and not Path(asked).is_file():
        raise DataError(f"no emoji font at {asked}; give the path of NotoColorEmoji.ttf")
    found = asked or next((place for place in FONT_PLACES if Path(place).is_file()), None)
    if found is None:
        raise DataError(
            "scenes need the font NotoColorEmoji.ttf and none was found; install the Debian "
            "package fonts-noto-color-emoji, or give --font PATH"
        )
    return str(found)


@kept_within(2**31)
def sprite(font: str, emoji: str, colour: str | None, style: str, side: int) -> Pixels:
    """Return the drawing as premultiplied RGBA, (side, side, 4); `colour` None keeps it natural."""
    picture = _glyph(font, emoji)
    if colour is not None:
        picture = _paint(_glyph_shading(font, emoji), COLOURS[colour])
    picture = _RESTYLE[style](picture)
    return _shrink(picture, side)


def sheet(font: str, emoji: str, side: int) -> Floats:
    """Return what all plain drawings of an emoji are made of, (side, side, 9), each times alpha.

    RGB by nature, RGB of what keeps its colour in any other one, how much of a colour shows, how
    much white lies on it, and alpha; a drawing in a colour is kept + colour * shown + white.
    """
    picture, shading = _glyph(font, emoji), _glyph_shading(font, emoji)
    parts = (picture[..., :3], shading.kept, shading.gain, shading.lift)
    maps = np.concatenate([each * shading.alpha for each in parts], axis=-1)
    return _resized(np.concatenate([maps, shading.alpha], axis=-1).astype(np.float32), side)


@lru_cache(maxsize=2048)
def _glyph(font: str, emoji: str) -> Floats:
    # Pillow shapes text only where it finds libfribidi. Without that, the selector after an emoji
    # becomes a glyph of its own, and the same scene another picture: so nothing is left to shape.
    emoji = emoji.replace(EMOJI_STYLE, "")
    if len(emoji) > 1:
        return _joined_glyph(font, emoji)
    try:
        typeface = ImageFont.truetype(font, STRIKE, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise DataError(
            f"{font} can't be opened as an emoji font ({error}); "
            "give the path of NotoColorEmoji.ttf of Debian's fonts-noto-color-emoji"
        ) from error
    image = Image.new("RGBA", (CANVAS, CANVAS), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = draw.textbbox((0, 0), emoji, font=typeface, embedded_color=True)
    corner = ((CANVAS - right - left) / 2, (CANVAS - bottom - top) / 2)
    draw.text(corner, emoji, font=typeface, embedded_color=True)
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def _joined_glyph(font: str, emoji: str) -> Floats:
    """Return one picture of several characters, as Pillow would draw it could it join them."""
    drawn = glyph_table(font).picture(emoji)
    if drawn is None:
        raise DataError(f"{font} has no picture of {emoji}; get the font anew (scripts/get-font)")
    picture = np.asarray(drawn, dtype=np.float32) / np.float32(255)
    # Pillow's pictures of one character have their edges times alpha: the same edges here.
    picture[..., :3] *= picture[..., 3:]
    canvas = np.zeros((CANVAS, CANVAS, 4), np.float32)
    top, left = (CANVAS - drawn.height) // 2, (CANVAS - drawn.width) // 2
    canvas[top : top + drawn.height, left : left + drawn.width] = picture
    return canvas


@dataclass(frozen=True)
class _Shading:
    """A drawing as an affine function of its main colour: kept + colour * gain + lift."""

    kept: Floats
    gain: Floats
    lift: Floats
    alpha: Floats


def _shading(picture: Floats) -> _Shading:
    # Only pixels near the dominant hue take another colour, so that leaves, wheels and eyes stay.
    rgb, alpha = picture[..., :3], picture[..., 3]
    weight = _main_region(rgb, alpha)
    light = rgb @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    middle = np.median(light[(weight > 0.5) & (alpha > 0.5)])
    shade = (light / max(float(middle), 0.05))[..., None]
    shine = np.clip((shade - 1) * 0.45, 0, 0.75)
    share = weight[..., None]
    gain = share * np.minimum(shade, 1) * (1 - shine)
    return _Shading(rgb * (1 - share), gain, share * shine, alpha[..., None])


def _paint(shading: _Shading, target: tuple[int, int, int]) -> Floats:
    goal = np.array(target, dtype=np.float32) / 255
    painted = shading.kept + goal * shading.gain + shading.lift
    return np.concatenate([painted, shading.alpha], axis=-1).astype(np.float32)


@lru_cache(maxsize=2048)
def _glyph_shading(font: str, emoji: str) -> _Shading:
    return _shading(_glyph(font, emoji))


def _main_region(rgb: Floats, alpha: Floats) -> Floats:
    area = float(alpha.sum())
    chroma = rgb.max(-1) - rgb.min(-1)
    hue = _hue(rgb)
    coloured = _ramp(chroma, 0.08, 0.2)
    # 1. Every pixel votes for its hue, in bins of 10 degrees, by how coloured it is.
    votes = np.bincount((hue.ravel() // 10).astype(int) % 36, (chroma * alpha).ravel(), 36)
    # 2. With its neighbours, since a hue may lie on the border of two bins.
    smooth = votes + np.roll(votes, 1) + np.roll(votes, -1)
    dominant = float(np.argmax(smooth)) * 10 + 5
    distance = np.abs((hue - dominant + 180) % 360 - 180)
    near = coloured * (1 - _ramp(distance, 30, 50))
    not_ink = _ramp(rgb.max(-1), 0.15, 0.3)
    # 3. Near that hue; where that is too little, all that is coloured; then all but black ink.
    for region in (near, coloured, not_ink):
        if float((region * alpha).sum()) >= 0.4 * area:
            return region
    return np.ones_like(alpha)


def _hue(rgb: Floats) -> Floats:
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    radians = np.arctan2(np.sqrt(3.0) * (green - blue), 2 * red - green - blue)
    return (np.degrees(radians) % 360).astype(np.float32)


def _ramp(values: Floats, low: float, high: float) -> Floats:
    return np.clip((values - low) / (high - low), 0, 1).astype(np.float32)


def _plain(picture: Floats) -> Floats:
    return picture


def _sticker(picture: Floats) -> Floats:
    outline = _image(picture).getchannel("A").filter(ImageFilter.MaxFilter(13))
    grown = np.asarray(outline, dtype=np.float32) / 255
    alpha = picture[..., 3:]
    white = np.ones_like(picture[..., :3])
    body = picture[..., :3] * alpha + white * (1 - alpha)
    return np.concatenate([body, np.maximum(grown[..., None], alpha)], axis=-1)


def _pixel_art(picture: Floats) -> Floats:
    coarse = _shrink(picture, 12).astype(np.float32) / 255
    alpha = coarse[..., 3:]
    rgb = coarse[..., :3] / np.maximum(alpha, 1e-3)
    hard = np.concatenate([np.clip(rgb, 0, 1), (alpha > 0.4).astype(np.float32)], axis=-1)
    return np.asarray(
        _image(hard).resize((CANVAS, CANVAS), Image.Resampling.NEAREST), dtype=np.float32
    ) / np.float32(255)


def _silhouette(picture: Floats) -> Floats:
    dark = np.broadcast_to(np.array([0.1, 0.1, 0.14], np.float32), picture[..., :3].shape)
    return np.concatenate([dark, picture[..., 3:]], axis=-1)


def _line_art(picture: Floats) -> Floats:
    alpha = picture[..., 3:]
    # On white, so that the outline is an edge too.
    flat = picture[..., :3] * alpha + (1 - alpha)
    gray = _image(np.concatenate([flat, np.ones_like(alpha)], axis=-1)).convert("L")
    edges = gray.filter(ImageFilter.GaussianBlur(1.2)).filter(ImageFilter.FIND_EDGES)
    ink = _ramp(np.asarray(edges, dtype=np.float32) / np.float32(255), 0.04, 0.12)
    paper = np.broadcast_to((1 - ink * 0.9)[..., None], flat.shape)
    return np.concatenate([paper, alpha], axis=-1).astype(np.float32)


_RESTYLE = dict(zip(STYLES, (_plain, _sticker, _pixel_art, _silhouette, _line_art), strict=True))


def _image(picture: Floats) -> Image.Image:
    return Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8), "RGBA")


def _shrink(picture: Floats, side: int) -> Pixels:
    # Premultiplied: else the colour of clear pixels would bleed into the edges.
    premultiplied = picture.copy()
    premultiplied[..., :3] *= picture[..., 3:]
    return (_resized(premultiplied, side) * 255 + 0.5).astype(np.uint8)


def _resized(premultiplied: Floats, side: int) -> Floats:
    """Return channels times alpha, which is the last, at (side, side)."""
    channels = [
        Image.fromarray(np.ascontiguousarray(premultiplied[..., channel])).resize(
            (side, side), Image.Resampling.LANCZOS
        )
        for channel in range(premultiplied.shape[-1])
    ]
    stacked = np.clip(np.stack([np.asarray(channel) for channel in channels], axis=-1), 0, 1)
    # Lanczos overshoots, and no colour may exceed its alpha.
    stacked[..., :-1] = np.minimum(stacked[..., :-1], stacked[..., -1:])
    return stacked.astype(np.float32)
