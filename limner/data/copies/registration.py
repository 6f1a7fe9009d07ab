"""Whether one picture is a copy of another: lay them over one another and look everywhere.

The fit is Lucas and Kanade's (1981) with an affine map, brightness and contrast taken out. A copy
then agrees in every part; a picture with the same background and another thing on it does not. Its
colours must agree too, as `limner.data.copies.colours` says. M pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from limner.data.copies.colours import compare_colours, look_at
from limner.data.copies.hashes import Bytes, Floats
from limner.data.copies.views import Maps, blur, look_up, places, shrink, unmoved

AGREEMENT = 0.9  # least correlation of the whole
DISAGREEMENT = 0.12  # most squared difference in any tile, where the picture's variance is 1
HOPELESS = 1.0  # of the same: no light explains it
LEAST_SCALE, STRETCH = 0.72, 1.25  # of the part that a piece may be, and its two scales
_STEPS = 6
_COARSE, _COARSE_PLACES = 32, 20
_FINE_PLACES, _TILES = 48, 6
_HALF = 0.42  # the outer 8 % is not looked at: a turned copy has filled corners there
_BATCH = 256


def are_copies(
    thumbnails: Bytes,
    colours: Bytes,
    wholes: npt.NDArray[np.int64],
    pieces: npt.NDArray[np.int64],
    mirrored: npt.NDArray[np.bool_],
    maps: Maps,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Say for each pair (M,) whether the piece shows a part of the whole, and if in unsure colours.

    Pictures are thumbnails (N, 64, 64) and colours (N, 32, 32, 3). `maps` (M, 6) say about where in
    the whole the piece lies; `mirrored` (M,) turns the piece.
    """
    copies, unsure = np.zeros((2, len(maps)), np.bool_)
    for first in range(0, len(maps), _BATCH):
        # 1. Some hundred pairs at a time: the slopes of a fit take 10 KiB a pair.
        some = slice(first, first + _BATCH)
        whole, piece = wholes[some], pieces[some]
        under = thumbnails[whole].astype(np.float32)
        over = _turned(thumbnails[piece], mirrored[some]).astype(np.float32)
        below, above = colours[whole], _turned(colours[piece], mirrored[some])
        # A fit may slide along a plain background, above all where brightening clips; most copies
        # are of the whole picture, and there is nothing to be fitted.
        for laid in (fit(under, over, maps[some]), unmoved(len(whole))):
            rows = np.flatnonzero(~copies[some])
            if not len(rows):
                break
            good, doubtful = _agree(under[rows], over[rows], below[rows], above[rows], laid[rows])
            copies[first + rows], unsure[first + rows] = good, doubtful
    return copies, unsure


def _agree(
    wholes: Floats, pieces: Floats, below: Bytes, above: Bytes, maps: Maps
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Say of pairs whether form and colours agree, and whether the latter are unsure."""
    # 1. Forms: alike as a whole, in no part hopelessly apart, and a part that a copy may be of.
    correlation, worst = correlate(wholes, pieces, maps)
    copies, unsure = np.zeros((2, len(maps)), np.bool_)
    rows = np.flatnonzero((correlation >= AGREEMENT) & (worst <= HOPELESS) & _is_a_part(maps))
    if len(rows):
        # 2. Colours, of these alone: they cost more.
        verdict = compare_colours(look_at(above[rows]), look_at(below[rows], maps[rows]))
        # 3. One light may explain a form that a parabola of the luminance does not.
        formed = np.minimum(worst[rows], np.where(verdict.same, verdict.form, np.inf))
        copies[rows] = (formed <= DISAGREEMENT) & (verdict.same | verdict.grey)
        unsure[rows] = copies[rows] & verdict.unsure
    return copies, unsure


def _is_a_part(maps: Maps) -> npt.NDArray[np.bool_]:
    """Say whether maps (M, 6) lead to a part of the whole, not beside it or to a strip of it."""
    # A fit may slide along a plain background to where no copy comes from: over the edge, where a
    # thing is laid on another one somewhere else, or past what makes the difference of two flags.
    matrix = maps.reshape(-1, 2, 3)
    # How far the corners of the piece reach from the middle of the whole.
    reach = np.abs(matrix[:, :, :2]).sum(axis=2) * _HALF + np.abs(matrix[:, :, 2])
    scales = np.linalg.norm(matrix[:, :, :2], axis=1)
    least, most = scales.min(axis=1), scales.max(axis=1)
    inside = (reach <= 0.5).all(axis=1)
    return np.asarray(inside & (least >= LEAST_SCALE) & (most <= STRETCH * least), np.bool_)


def _turned(pictures: Bytes, mirrored: npt.NDArray[np.bool_]) -> Any:
    """Return pictures (M, S, S, ...), those to be mirrored so."""
    which = mirrored.reshape(-1, *[1] * (pictures.ndim - 1))
    return np.where(which, pictures[:, :, ::-1], pictures)


def fit(wholes: Floats, pieces: Floats, maps: Maps) -> Maps:
    """Return the maps (M, 6), begun at `maps`, that lay the pieces best on their wholes."""
    # 1. Small and smooth: a slope then leads to the right place from farther away.
    wholes, pieces = blur(shrink(wholes, _COARSE)), blur(shrink(pieces, _COARSE))
    points = places(_COARSE_PLACES, _HALF)
    # 2. What is to be met, brightness and contrast taken out.
    wanted = _standard(look_up(pieces, unmoved(len(pieces)), points))
    # 3. The slopes of the whole, once for all steps.
    down = np.asarray(np.gradient(wholes, axis=1), np.float32) * _COARSE
    right = np.asarray(np.gradient(wholes, axis=2), np.float32) * _COARSE
    for _ in range(_STEPS):
        # 4. Where the piece lies now, and how what is seen there changes with each number of the
        # map: moving right by x changes it by the slope to the right, and so on.
        seen = look_up(wholes, maps, points)
        spread = seen.std(axis=1, keepdims=True) + 1e-3
        across, along = look_up(right, maps, points) / spread, look_up(down, maps, points) / spread
        x, y = points[:, 0], points[:, 1]
        slopes = np.stack([across * x, across * y, across, along * x, along * y, along], axis=2)
        slopes -= slopes.mean(axis=1, keepdims=True)
        turned = np.ascontiguousarray(slopes.transpose(0, 2, 1))
        # 5. Gauss and Newton's step, held back a little: a plain picture has no slopes.
        square = turned @ slopes + 0.1 * np.eye(6, dtype=np.float32)
        gap = turned @ (wanted - _standard(seen))[:, :, None]
        # 6. No step farther than a twentieth of the picture: slopes hold near by alone.
        maps = maps + np.clip(np.linalg.solve(square, gap)[:, :, 0], -0.05, 0.05)
    return maps


def correlate(wholes: Floats, pieces: Floats, maps: Maps) -> tuple[Floats, Floats]:
    """Return for each pair the correlation (M,) and the squared difference of the worst tile."""
    points = places(_FINE_PLACES, _HALF)
    first = _standard(look_up(blur(pieces), unmoved(len(pieces)), points))
    second = _standard(look_up(blur(wholes), maps, points))
    correlation = (first * second).mean(axis=1)
    across = _FINE_PLACES // _TILES
    gaps = []
    # Either may have clipped, and the worst tile is judged the way that explains more of it.
    for one, other in ((first, second), (second, first)):
        squares = _unexplained(one, other) ** 2
        tiles = squares.reshape(-1, _TILES, across, _TILES, across).mean(axis=(2, 4))
        gaps.append(tiles.reshape(len(maps), -1).max(axis=1))
    return correlation, np.minimum(*gaps)


def _unexplained(values: Floats, by: Floats) -> Floats:
    """Return what is left of `values` (M, P) after the best parabola of `by`."""
    # A parabola, because brightening clips: then the lighter picture is no line of the darker.
    basis = np.stack([np.ones_like(by), by, by**2], axis=2)
    turned = np.ascontiguousarray(basis.transpose(0, 2, 1))
    square = turned @ basis + 1e-3 * np.eye(3, dtype=np.float32)
    weights = np.linalg.solve(square, turned @ values[:, :, None])
    return values - (basis @ weights)[:, :, 0]


def _standard(values: Floats) -> Floats:
    centred = values - values.mean(axis=1, keepdims=True)
    return centred / (centred.std(axis=1, keepdims=True) + 1e-3)
