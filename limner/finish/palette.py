"""Few colours: every pixel as the nearest of a palette, with or without dither."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from limner.options import parse_palette

if TYPE_CHECKING:
    from PIL.Image import Image

_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], dtype=np.float64)

Colour = tuple[int, int, int]


def to_palette(image: Image, colours: Sequence[str], *, dither: bool = False) -> Image:
    """Return an RGB or RGBA picture of the palette's colours alone; alpha stays as it is.

    Nearest is in the space OKLab, where equal distances look about equally far. With `dither` a
    fixed pattern mixes the two colours that lie on either side, so that a smooth change stays one.
    """
    from PIL import Image as images

    rgba = image if image.mode in ("RGB", "RGBA") else image.convert("RGB")
    pixels = np.asarray(rgba)
    table = np.array([_rgb(each) for each in parse_palette(list(colours))], dtype=np.uint8)
    chosen = _nearest(pixels[..., :3], table, dither=dither)
    painted = table[chosen]
    if rgba.mode == "RGBA":
        painted = np.dstack([painted, pixels[..., 3]])
    return images.fromarray(painted, rgba.mode)


def _rgb(colour: str) -> Colour:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _nearest(
    pixels: npt.NDArray[np.uint8], table: npt.NDArray[np.uint8], *, dither: bool
) -> npt.NDArray[np.intp]:
    """Return the number (H, W) of the palette's colour for each pixel (H, W, 3)."""
    colours, places = oklab(table), oklab(pixels)
    far = np.stack([((places - each) ** 2).sum(-1) for each in colours], axis=-1)  # (H, W, K)
    first = far.argmin(-1)
    if not dither or len(table) == 1:
        return first
    # The best pair: the nearest colour and the one whose mixture with it comes nearest; the share
    # of the second is compared with the pattern.
    height, width = pixels.shape[:2]
    least = colours[first]
    best, share, other = far.min(-1), np.zeros((height, width)), first.copy()
    for number, colour in enumerate(colours):
        way = colour - least
        length = np.maximum((way**2).sum(-1), 1e-9)
        along = (((places - least) * way).sum(-1) / length).clip(0, 0.5)
        left = ((places - least - along[..., None] * way) ** 2).sum(-1)
        # Colours far apart make a coarse pattern: it must be worth it.
        better = left + 0.02 * length * along < best
        best = np.where(better, left + 0.02 * length * along, best)
        share, other = np.where(better, along, share), np.where(better, number, other)
    pattern = (np.tile(_BAYER, (height // 4 + 1, width // 4 + 1))[:height, :width] + 0.5) / 16
    return np.where(share > pattern, other, first)


def oklab(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return sRGB colours (..., 3) in the space OKLab (Ottosson 2020)."""
    value = rgb.astype(np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    cones = np.cbrt(linear @ _TO_CONES.T)
    return cones @ _TO_LAB.T


_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
