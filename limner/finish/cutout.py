"""Things cut out of their background: a transparent background, and a sticker's white border.

The background is what can be reached from the edge of the picture without crossing a sharp change.
That finds plain and slowly changing backgrounds; patterns and places with things in them stay in
part. Pictures are RGB or RGBA; alpha is (H, W) in [0, 1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from limner.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = npt.NDArray[np.float32]
STEP = 0.045  # the greatest change from one background pixel to the next, of a range of 1
SPREAD = 0.16  # how far a background pixel may be from those of the edge
EMPTY, FULL = 0.01, 0.99  # shares of the picture that a thing must have at least, and at most


def cut_out(image: Image) -> Image:
    """Return the picture as RGBA with a transparent background, its edges soft.

    Raises UsageError where no background is found, or nothing but background.
    """
    from PIL import Image as images

    pixels: Floats = np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255)
    background = _background(pixels)
    share = float(background.mean())
    if not 1 - FULL <= share <= 1 - EMPTY:
        found = "no background" if share < 1 - FULL else "nothing but background"
        raise UsageError(
            f"{found} was found in the picture; a thing is cut out of a plain background, so ask "
            "for one, such as 'on a white background'",
            param="cut_out",
        )
    alpha, colours = _matte(pixels, background)
    both = np.dstack([colours, alpha])
    return images.fromarray((both.clip(0, 1) * 255).round().astype(np.uint8), "RGBA")


def sticker(image: Image, border: int | None = None) -> Image:
    """Return a cut-out with a white border around the thing and a soft shadow line, as RGBA.

    `border` is its width in pixels, by default a twentieth of the picture; a cut-out is made first
    of a picture without transparency. The picture grows where the border needs room.
    """
    from PIL import Image as images
    from PIL import ImageChops, ImageFilter, ImageOps

    thing = image if image.mode == "RGBA" else cut_out(image)
    width = max(2, round(min(thing.size) / 20)) if border is None else border
    room = ImageOps.expand(thing, width + 1, (255, 255, 255, 0))
    # A thing grown by a disc: blurred, then cut low, which rounds its corners.
    alpha = room.getchannel("A")
    grown = grow_alpha(alpha, width)
    edge = ImageChops.subtract(grow_alpha(alpha, width + 1), grown).point(lambda v: v * 5 // 16)
    sheet = images.new("RGBA", room.size, (0, 0, 0, 0))
    sheet.paste((96, 96, 104, 255), mask=edge.filter(ImageFilter.GaussianBlur(0.6)))
    white = images.new("RGBA", room.size, (255, 255, 255, 255))
    white.putalpha(grown)
    sheet = images.alpha_composite(sheet, white)
    return images.alpha_composite(sheet, room)


def grow_alpha(alpha: Image, radius: int) -> Image:
    """Return an alpha channel grown by a disc of so many pixels."""
    from PIL import Image as images

    solid = np.asarray(alpha, dtype=np.float32) / 255
    side = 2 * radius + 1
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    far = np.sqrt(x * x + y * y)
    disc = (radius + 0.5 - far).clip(0, 1)  # soft at its rim
    padded = np.pad(solid, radius)
    grown = np.zeros_like(solid)
    for row in range(side):
        for column in range(side):
            if disc[row, column] > 0:
                part = padded[row : row + solid.shape[0], column : column + solid.shape[1]]
                np.maximum(grown, part * disc[row, column], out=grown)
    return images.fromarray((grown * 255).round().astype(np.uint8), "L")


def _background(pixels: Floats) -> npt.NDArray[np.bool_]:
    """Return where the background is (H, W): reached from the edge, by small steps of colour."""
    height, width = pixels.shape[:2]
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    # 1. The colours of the edge, row by row: a gradient is another at each height.
    rows = np.stack([np.median(_around(pixels, row), axis=0) for row in range(height)])
    usual = np.median(border, axis=0)
    near = (
        np.minimum(np.abs(pixels - rows[:, None]).max(-1), np.abs(pixels - usual).max(-1)) < SPREAD
    )
    # 2. From the edge inwards, over pixels near those colours, in steps that are small.
    reached = np.zeros((height, width), bool)
    reached[[0, -1]] = near[[0, -1]]
    reached[:, [0, -1]] = near[:, [0, -1]]
    down = near[1:] & near[:-1] & (np.abs(np.diff(pixels, axis=0)).max(-1) < STEP)
    right = near[:, 1:] & near[:, :-1] & (np.abs(np.diff(pixels, axis=1)).max(-1) < STEP)
    known = -1
    while known != (now := int(reached.sum())):
        known = now
        # Each sweep carries what is reached all the way, so that a few rounds do.
        for area, ways in ((reached, down), (reached.T, right.T)):
            for line in range(1, len(area)):
                area[line] |= area[line - 1] & ways[line - 1]
            for line in range(len(area) - 2, -1, -1):
                area[line] |= area[line + 1] & ways[line]
    return reached


def _around(pixels: Floats, row: int) -> Floats:
    """Return the pixels (N, 3) at both ends of a row and its neighbours."""
    rows = slice(max(0, row - 1), row + 2)
    return np.concatenate([pixels[rows, :2].reshape(-1, 3), pixels[rows, -2:].reshape(-1, 3)])


def _matte(pixels: Floats, background: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return alpha (H, W) and the thing's own colours (H, W, 3).

    Pixels at the edge are a mixture of both sides: the share is how far they are from the nearby
    background on the way to the nearby thing, and the background is taken out of them.
    """
    inside = ~background
    core = inside & ~_beside(background)  # not touched by the background
    behind, before = _spread(pixels, background), _spread(pixels, core)
    way = before - behind
    length = np.maximum((way**2).sum(-1), 1e-4)
    share = (((pixels - behind) * way).sum(-1) / length).clip(0, 1)
    rim = inside & ~core
    alpha = np.where(core, 1.0, np.where(rim, share, 0.0)).astype(np.float32)
    # C = a F + (1 - a) B, so F is what remains; where little does, the thing's nearby colour.
    safe = np.maximum(alpha, 0.25)[..., None]
    own = ((pixels - (1 - alpha[..., None]) * behind) / safe).clip(0, 1)
    colours = np.where(core[..., None], pixels, np.where(rim[..., None], own, before))
    return alpha, colours.astype(np.float32)


def _beside(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    padded = np.pad(mask, 1, mode="edge")
    height, width = mask.shape
    near = [
        padded[row : row + height, column : column + width]
        for row in range(3)
        for column in range(3)
    ]
    return np.logical_or.reduce(near)


def _spread(pixels: Floats, known: npt.NDArray[np.bool_], rounds: int = 4) -> Floats:
    """Return pixels with those that are unknown filled by the mean of known neighbours."""
    filled, have = np.where(known[..., None], pixels, 0.0), known.astype(np.float32)
    if not known.any():
        return pixels
    height, width = known.shape
    for _ in range(rounds):
        colour = np.pad(filled * have[..., None], ((1, 1), (1, 1), (0, 0)))
        weight = np.pad(have, 1)
        total = sum(
            colour[row : row + height, column : column + width]
            for row in range(3)
            for column in range(3)
        )
        count = sum(
            weight[row : row + height, column : column + width]
            for row in range(3)
            for column in range(3)
        )
        mean = total / np.maximum(count, 1e-6)[..., None]
        new = (have == 0) & (count > 0)
        filled = np.where(new[..., None], mean, filled)
        have = np.where(new, 1.0, have)
    rest = np.median(pixels[known], axis=0)
    return np.where((have > 0)[..., None], filled, rest).astype(np.float32)
