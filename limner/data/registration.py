"""Whether one picture is a copy of another: lay them over one another and look everywhere.

The fit is Lucas and Kanade's (1981) with an affine map, brightness and contrast taken out. A copy
then agrees in every part; a picture with the same ground and another thing on it does not. M pairs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from limner.data.hashes import Bytes, Floats
from limner.data.views import Maps, blur, look_up, places, shrink

AGREEMENT = 0.9  # least correlation of the whole
DISAGREEMENT = 0.12  # most squared difference in any tile, where the picture's variance is 1
_STEPS = 6
_COARSE, _COARSE_PLACES = 32, 20
_FINE_PLACES, _TILES = 48, 6
_HALF = 0.42  # the outer 8 % is not looked at: a turned copy has filled corners there
_BATCH = 256


def are_copies(
    thumbnails: Bytes,
    wholes: npt.NDArray[np.int64],
    pieces: npt.NDArray[np.int64],
    mirrored: npt.NDArray[np.bool_],
    maps: Maps,
) -> npt.NDArray[np.bool_]:
    """Say for each pair (M,) of thumbnails (N, 64, 64) whether the piece shows a part of the whole.

    `maps` (M, 6) say about where in the whole the piece lies; `mirrored` (M,) turns the piece.
    """
    verdicts = [np.empty(0, np.bool_)]
    for first in range(0, len(maps), _BATCH):
        some = slice(first, first + _BATCH)
        whole = thumbnails[wholes[some]].astype(np.float32)
        piece = thumbnails[pieces[some]].astype(np.float32)
        piece = np.where(mirrored[some, None, None], piece[:, :, ::-1], piece)
        correlation, worst = compare(whole, piece, fit(whole, piece, maps[some]))
        verdicts.append((correlation >= AGREEMENT) & (worst <= DISAGREEMENT))
    return np.concatenate(verdicts)


def fit(wholes: Floats, pieces: Floats, maps: Maps) -> Maps:
    """Return the maps (M, 6), begun at `maps`, that lay the pieces best on their wholes."""
    wholes, pieces = blur(shrink(wholes, _COARSE)), blur(shrink(pieces, _COARSE))
    points = places(_COARSE_PLACES, _HALF)
    wanted = _standard(look_up(pieces, _unmoved(len(pieces)), points))
    down = np.asarray(np.gradient(wholes, axis=1), np.float32) * _COARSE
    right = np.asarray(np.gradient(wholes, axis=2), np.float32) * _COARSE
    for _ in range(_STEPS):
        seen = look_up(wholes, maps, points)
        spread = seen.std(axis=1, keepdims=True) + 1e-3
        across, along = look_up(right, maps, points) / spread, look_up(down, maps, points) / spread
        x, y = points[:, 0], points[:, 1]
        slopes = np.stack([across * x, across * y, across, along * x, along * y, along], axis=2)
        slopes -= slopes.mean(axis=1, keepdims=True)
        turned = np.ascontiguousarray(slopes.transpose(0, 2, 1))
        square = turned @ slopes + 0.1 * np.eye(6, dtype=np.float32)
        gap = turned @ (wanted - _standard(seen))[:, :, None]
        maps = maps + np.clip(np.linalg.solve(square, gap)[:, :, 0], -0.05, 0.05)
    return maps


def compare(wholes: Floats, pieces: Floats, maps: Maps) -> tuple[Floats, Floats]:
    """Return for each pair the correlation (M,) and the squared difference of the worst tile."""
    points = places(_FINE_PLACES, _HALF)
    first = _standard(look_up(blur(pieces), _unmoved(len(pieces)), points))
    second = _standard(look_up(blur(wholes), maps, points))
    correlation = (first * second).mean(axis=1)
    across = _FINE_PLACES // _TILES
    gaps = []
    for one, other in ((first, second), (second, first)):
        squares = _unexplained(one, other) ** 2
        tiles = squares.reshape(-1, _TILES, across, _TILES, across).mean(axis=(2, 4))
        gaps.append(tiles.reshape(len(maps), -1).max(axis=1))
    return correlation, np.minimum(*gaps)


def _unexplained(values: Floats, by: Floats) -> Floats:
    """Return what is left of `values` (M, P) after the best parabola of `by`.

    A parabola, because brightening clips: then the lighter picture is no line of the darker.
    """
    basis = np.stack([np.ones_like(by), by, by**2], axis=2)
    turned = np.ascontiguousarray(basis.transpose(0, 2, 1))
    square = turned @ basis + 1e-3 * np.eye(3, dtype=np.float32)
    weights = np.linalg.solve(square, turned @ values[:, :, None])
    return values - (basis @ weights)[:, :, 0]


def _standard(values: Floats) -> Floats:
    centred = values - values.mean(axis=1, keepdims=True)
    return centred / (centred.std(axis=1, keepdims=True) + 1e-3)


def _unmoved(count: int) -> Maps:
    return np.tile(np.array([1, 0, 0, 0, 1, 0], np.float32), (count, 1))
