"""Whether two pictures that have one form have one colouring too, once they lie over one another.

What all colours of a picture share is the light's: one gain and one offset for brightness and
contrast, a small gain of each channel for the white balance, all clipped at black and white. What
a part has for itself is its own colour: where the best light leaves more than `APART` levels in
any part, one form is shown in two colours. A picture that has no colour at all is the grey copy of
a coloured one only where it is as light everywhere, with no light taken out; a thing painted grey
is so by chance alone. It does not see a thing below a twentieth of the side, nor other hues that
are nearly as far apart as a white balance makes them. M pairs, P places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from limner.data.copies.hashes import Bytes, Floats
from limner.data.copies.views import Maps, blur, look_up, places, unmoved

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 32  # pixels of a colour thumbnail
APART = 21.0  # most levels of 255 that the best light may leave in a part of a copy
SURE = 10.0  # the same of a copy whose light is not fitted, after JPEG
GREY_APART = 8.0  # the same of a grey copy, whose light is not fitted
GREY = 10.0  # levels between the channels of a part that has no colour, after JPEG
GAIN, OFFSET, TINT = (0.55, 1.8), 0.12, 0.12  # how far light may go, of values from 0 to 1
BRIGHTER = (1.1, 1.2, 1.3)
_HALF = 0.42  # as in `limner.data.copies.registration`
_PLACES, _PARTS, _TILES = 24, 12, 6
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_ROUNDS, _SPREAD = 4, 0.04  # of the robust fit: what strays further from it counts less
# What the fit pays for straying from (gain, offset, tints): a copy's light seldom does.
_PRICE = np.diag(np.array([0.5, 20, 8, 8, 8], np.float32))
_BRIGHT = 160.0  # levels; a part as light as this may hold spots that clip, and so stay behind


def colour_thumbnail(image: Image) -> Bytes:
    """Return a picture's colours as (32, 32, 3) uint8, squashed to a square."""
    from PIL.Image import Resampling

    small = image.convert("RGB").resize((SIDE, SIDE), Resampling.LANCZOS)
    return np.asarray(small, dtype=np.uint8)


def look_at(pictures: Bytes, maps: Maps | None = None) -> Floats:
    """Return the colours (M, P, 3), 0 to 255, of pictures (M, 32, 32, 3) at mapped places."""
    count = len(pictures)
    channels = pictures.astype(np.float32).transpose(0, 3, 1, 2).reshape(-1, SIDE, SIDE)
    mapped = unmoved(3 * count) if maps is None else np.repeat(maps, 3, axis=0)
    found = look_up(blur(channels), mapped, places(_PLACES, _HALF))
    return found.reshape(count, 3, -1).transpose(0, 2, 1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of M pairs: of one colouring, grey copies, and how far their forms agree."""

    same: npt.NDArray[np.bool_]
    grey: npt.NDArray[np.bool_]
    # Colours agree in another light only, or there are none: a caption knows better.
    unsure: npt.NDArray[np.bool_]
    # Squared difference of luminance that the best light leaves in any tile, where the picture's
    # variance is 1.
    form: Floats


def compare_colours(first: Floats, second: Floats) -> Verdict:
    """Return the verdict on colours (M, P, 3) of places that lie over one another."""
    same, grey = np.zeros((2, len(first)), np.bool_)
    unsure = _worst_part(first - second) > SURE
    form = np.full(len(first), np.inf, np.float32)
    # Either may be the copy, and where light has clipped one way explains more than the other.
    for one, other in ((first, second), (second, first)):
        # 1. One light for all of the picture must bring the colours of every part together.
        left = left_over(one, other)
        same |= _worst_part(left) <= APART
        # 2. A picture without colour must be as light as the other everywhere, no light fitted: a
        # thing painted grey is that by chance alone.
        light = other @ _LUMA
        parts = _parts(one)
        plain = (parts.max(axis=2) - parts.min(axis=2)).max(axis=1) <= GREY
        grey |= plain & (_worst_part(one - light[..., None]) <= GREY_APART)
        unsure |= plain
        # 3. How far forms are apart once the light is out.
        squares = np.square(left @ _LUMA / (light.std(axis=1, keepdims=True) + 1))
        form = np.minimum(form, _means(squares[..., None], _TILES).max(axis=(1, 2)))
    return Verdict(same, grey & ~same, unsure, form)


def left_over(one: Floats, other: Floats) -> Floats:
    """Return what the best light on `one` (M, P, 3) does not explain of `other`, in levels."""
    # One gain, as Pillow and others brighten, beside a fit of all that light may do: clipping pulls
    # the fit away from a plain gain.
    lights = [np.clip(one * gain, 0, 255) for gain in BRIGHTER]
    best = _unexplained(one, other, _lit(one, other))
    worst = _worst_part(best)
    for lit in lights:
        left = _unexplained(one, other, lit)
        found = _worst_part(left)
        best = np.where((found < worst)[:, None, None], left, best)
        worst = np.minimum(found, worst)
    return best


def _unexplained(one: Floats, other: Floats, lit: Floats) -> Floats:
    """Return by how much `other` is not in the range that light may have brought it to."""
    # Where a light part gets lighter still, its lightest spots clip, and the part is left behind.
    least = np.where((lit > one) & (lit > _BRIGHT), one + 0.4 * (lit - one), lit)
    return np.asarray(other - np.clip(other, least, lit), np.float32)


def _lit(one: Floats, other: Floats) -> Floats:
    """Return colours in the light that brings most of them closest to the others."""
    x, y = one / 255, other / 255
    count = len(x)
    known = ((y > 0.02) & (y < 0.98)).astype(np.float32)  # a clipped value may have been any
    # 1. What may change in a channel: its gain, its offset, and the tint of each channel.
    basis = np.zeros((*x.shape, 5), np.float32)
    basis[..., 0], basis[..., 1] = x, 1
    for channel in range(3):
        basis[:, :, channel, 2 + channel] = x[:, :, channel]
    basis = basis.reshape(count, -1, 5)
    gap, weights = (y - x).reshape(count, -1, 1), known
    # 2. Least squares, again and again with less weight for what strays: a part of another colour
    # must not bend the light of the rest towards itself.
    for _ in range(_ROUNDS):
        turned = np.ascontiguousarray((basis * weights.reshape(count, -1, 1)).transpose(0, 2, 1))
        found = np.linalg.solve(turned @ basis + _PRICE, turned @ gap)
        left = (gap - basis @ found).reshape(x.shape)
        weights = known / (1 + (left / _SPREAD) ** 2)
    found = found[:, :, 0]
    # 3. No more light than a copy may have.
    gain = np.clip(1 + found[:, :1], *GAIN) + np.clip(found[:, 2:], -TINT, TINT)
    offset = np.clip(found[:, 1:2], -OFFSET, OFFSET)
    return np.asarray(np.clip(x * gain[:, None] + offset[:, None], 0, 1) * 255, np.float32)


def _worst_part(gaps: Floats) -> Floats:
    """Return the largest mean (M,) of a part of gaps (M, P, 3), in any channel."""
    return np.asarray(np.abs(_parts(gaps)).max(axis=(1, 2)), np.float32)


def _parts(values: Floats) -> Floats:
    return _means(values, _PARTS)


def _means(values: Floats, side: int) -> Floats:
    """Return the means (M, side * side, C) of square parts of values (M, P, C)."""
    across = _PLACES // side
    parts = values.reshape(len(values), side, across, side, across, -1).mean(axis=(2, 4))
    return np.asarray(parts.reshape(len(values), side * side, -1), np.float32)
