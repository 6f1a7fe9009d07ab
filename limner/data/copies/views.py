"""Pictures seen through many windows, to find crops and turned copies that a hash misses.

Every window of a picture (cut, shifted, turned) becomes a unit vector of its low frequencies, every
whole picture one too; where they agree, the whole picture may be a piece of the other. No network:
the vectors are linear in the pixels. N pictures, D numbers, V windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt

from limner.data.copies.hashes import Bytes, Floats, cosines

CANDIDATES = 8  # most similar pictures looked at, for each picture and its mirror image
LEAST_COSINE = 0.85
_SIDE = 32  # pixels of what is embedded
_HALF = 0.44  # of a window; the rim is left out: a turned copy has filled corners there
_LOW = 8
_CHUNK = 1024
_PER_LEVEL, _MOST = 0.003, 0.15  # of likeness, for mean colours that differ

# An affine map (a, b, c, d, e, f): a place (x, y), both in -0.5 to 0.5, is looked up in the other
# picture at (a x + b y + c, d x + e y + f).
Maps = npt.NDArray[np.float32]


def window(scale: float, x: float = 0.0, y: float = 0.0, degrees: float = 0.0) -> Maps:
    """Return the map (6,) of a window `scale` wide about (x, y), turned by `degrees`."""
    angle = np.deg2rad(degrees)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([cosine, -sine, x, sine, cosine, y], np.float32)


def unmoved(count: int) -> Maps:
    """Return maps (count, 6) that leave every place where it is."""
    return np.tile(window(1.0), (count, 1))


@cache
def windows() -> Maps:
    """Return the maps (V, 6): the whole, cuts of 8 and 16 % turns of 5 degrees."""
    # Between two of them a copy is still near enough to be found: cuts of up to about 22 % of each
    # side, turns of up to about 8 degrees.
    edge, deep = 0.04, 0.08
    found = [window(1.0), window(0.92)]
    found += [window(0.92, x, y) for x in (-edge, edge) for y in (-edge, edge)]
    found += [window(0.84, x, y) for x in (-deep, 0, deep) for y in (-deep, 0, deep)]
    found += [window(scale, degrees=turn) for scale in (1.0, 0.92) for turn in (-5, 5)]
    return np.stack(found)


def places(count: int, half: float = 0.5) -> Floats:
    """Return a lattice (count * count, 2) of places (x, y) in -half to half, row by row."""
    line = ((np.arange(count) + 0.5) / count * 2 - 1) * half
    y, x = np.meshgrid(line, line, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def look_up(pictures: Floats, maps: Maps, points: Floats) -> Floats:
    """Return pictures (N, S, S) at points (M, 2) mapped by (N, 6): values (N, M), bilinear."""
    size = pictures.shape[1]
    mapped = maps.reshape(-1, 2, 3)[:, :, :2] @ points.T + maps.reshape(-1, 2, 3)[:, :, 2:]
    spots = np.clip((mapped + 0.5) * size - 0.5, 0, size - 1.001)  # (N, 2, M)
    # Bilinear by hand: four look-ups in the flat pixels, for all pictures at once.
    corners = spots.astype(np.int32)
    right, down = spots[:, 0] - corners[:, 0], spots[:, 1] - corners[:, 1]
    flat = pictures.reshape(-1)
    at = corners[:, 1] * size + corners[:, 0]
    at += (np.arange(len(pictures), dtype=np.int32) * size * size)[:, None]
    above = flat[at] * (1 - right) + flat[at + 1] * right
    below = flat[at + size] * (1 - right) + flat[at + size + 1] * right
    return above * (1 - down) + below * down


def shrink(pictures: Bytes | Floats, size: int) -> Floats:
    """Return square pictures (N, S, S) as means (N, size, size); `size` divides S."""
    step = pictures.shape[1] // size
    tiles = pictures.astype(np.float32).reshape(-1, size, step, size, step)
    return np.asarray(tiles.mean(axis=(2, 4)), np.float32)


def blur(pictures: Floats) -> Floats:
    """Return pictures (N, S, S) smoothed by 1-2-1 in both directions."""
    wide = np.pad(pictures, ((0, 0), (1, 1), (1, 1)), "edge")
    tall = wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]
    return np.asarray((tall[:, :, :-2] + 2 * tall[:, :, 1:-1] + tall[:, :, 2:]) / 16, np.float32)


def embed(thumbnails: Bytes, window_map: Maps) -> Floats:
    """Return what thumbnails (N, 64, 64) show in one window as unit vectors (N, 63)."""
    small = blur(shrink(thumbnails, _SIDE)).reshape(len(thumbnails), -1)
    vectors = small @ _embedding(tuple(window_map.tolist()))
    return vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-3)


def similar(thumbnails: Bytes, colours: Bytes) -> Iterator[tuple[int, int, bool, int]]:
    """Yield (whole, piece, mirrored, window): in that window, `whole` looks like `piece`.

    The time grows with the square of the number of pictures, memory with the number.
    """
    # 1. Each picture as a whole, and mirrored, is what may be a piece of another.
    pieces = embed(thumbnails, windows()[0])
    means = colours.mean(axis=(1, 2), dtype=np.float32)
    for mirrored in (False, True):
        targets = embed(thumbnails[:, :, ::-1], windows()[0]) if mirrored else pieces
        for first in range(0, len(thumbnails), _CHUNK):
            chunk = thumbnails[first : first + _CHUNK]
            # 2. What some pictures show in each window, and how like it is to every piece at best.
            seen = np.stack([embed(chunk, each) for each in windows()])  # (V, n, 63)
            best = seen[0] @ targets.T
            for vectors in seen[1:]:
                np.maximum(best, vectors @ targets.T, out=best)
            rows = np.arange(len(chunk))
            best[rows, first + rows] = -1  # a picture is no copy of itself
            # 3. Of each picture's pieces the most similar, those of its mean colour first: a set
            # may have one form in many colours.
            for row, piece in _nearest(best, means[first : first + _CHUNK], means):
                which = int((seen[:, row] @ targets[piece]).argmax())
                yield first + row, piece, mirrored, which


def _nearest(cosine: Floats, here: Floats, there: Floats) -> Iterator[tuple[int, int]]:
    """Yield (row, column) of each row's largest cosines, less for mean colours (N, 3) far apart."""
    rows, columns = np.nonzero(cosine >= LEAST_COSINE)
    apart = np.abs(here[rows] - there[columns]).max(axis=1)
    likeness = cosine[rows, columns] - np.minimum(_PER_LEVEL * apart, _MOST)
    order = np.lexsort((columns, -likeness, rows))
    rows, columns = rows[order], columns[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = rank < CANDIDATES
    yield from zip(rows[kept].tolist(), columns[kept].tolist(), strict=True)


@cache
def _embedding(window_map: tuple[float, ...]) -> Floats:
    """Return the matrix (1024, 63) from pixels to the weighted low frequencies in a window."""
    basis = np.eye(_SIDE * _SIDE, dtype=np.float32).reshape(-1, _SIDE, _SIDE)
    maps = np.tile(np.array(window_map, np.float32), (len(basis), 1))
    seen = look_up(basis, maps, places(_SIDE, _HALF)).reshape(-1, _SIDE, _SIDE)
    rows = cosines(_SIDE, _LOW)
    low = np.einsum("ui,nij,vj->nuv", rows, seen, rows, optimize=True)
    squares = np.arange(_LOW) ** 2
    # Pictures have most of their energy in the lowest frequencies; this evens it out by half.
    weights = np.add.outer(squares, squares).astype(np.float32) ** 0.25
    return (low * weights).reshape(len(basis), -1)[:, 1:]
