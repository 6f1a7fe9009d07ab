"""Perceptual hashes: 64 bits that say how a picture looks, and the join of near ones.

The hash is the sign pattern of the 8 x 8 lowest DCT coefficients of the luminance about their
median (pHash; Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions").
It stays through JPEG, resizing, grey and brightness; crops and turns change it, which is what
`limner.data.copies.views` is for. N pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 64  # pixels of a thumbnail
NEAR = 10  # bits that two hashes of one picture may differ in
_LOW = 8  # frequencies in each direction
_BANDS, _BAND_BITS = 4, 16
_CHUNK = 2**22  # pairs compared at once

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Hashes = npt.NDArray[np.uint64]
Pairs = npt.NDArray[np.int64]


def thumbnail(image: Image) -> Bytes:
    """Return a picture's luminance as (64, 64) uint8, squashed to a square."""
    from PIL.Image import Resampling

    return np.asarray(image.convert("L").resize((SIDE, SIDE), Resampling.LANCZOS), dtype=np.uint8)


def cosines(size: int, frequencies: int) -> Floats:
    """Return the first rows (frequencies, size) of the orthonormal DCT-II, the zeroth unscaled."""
    angles = np.outer(np.arange(frequencies), 2 * np.arange(size) + 1) * np.pi / (2 * size)
    return (np.cos(angles) * np.sqrt(2 / size)).astype(np.float32)


def perceptual_hashes(thumbnails: Bytes) -> tuple[Hashes, Hashes]:
    """Return the hashes (N,) of thumbnails (N, 64, 64) and those of their mirror images."""
    rows = cosines(SIDE, _LOW)
    low = np.einsum("ui,nij,vj->nuv", rows, thumbnails.astype(np.float32), rows, optimize=True)
    # Mirroring turns the sign of the odd horizontal frequencies, and changes nothing else.
    mirrored = low * np.where(np.arange(_LOW) % 2, -1, 1).astype(np.float32)
    return _signs(low), _signs(mirrored)


def distance(first: Hashes, second: Hashes) -> npt.NDArray[np.uint8]:
    """Return in how many of 64 bits hashes differ."""
    return np.bitwise_count(first ^ second)


def join(table: Hashes, queries: Hashes, near: int = NEAR) -> Pairs:
    """Return every (query, entry) pair of indices (M, 2) at most `near` bits apart, sorted."""
    # Exact: of four bands of 16 bits, one differs in at most near // 4 bits (multi-index hashing,
    # Norouzi 2012), so looking each band up with so many bits turned misses nothing.
    found = [np.empty(0, np.int64)]
    turned = [
        np.uint64(sum(1 << bit for bit in bits))
        for count in range(near // _BANDS + 1)
        for bits in combinations(range(_BAND_BITS), count)
    ]
    for band in range(_BANDS):
        shift, mask = np.uint64(band * _BAND_BITS), np.uint64(2**_BAND_BITS - 1)
        entries, wanted = (table >> shift) & mask, (queries >> shift) & mask
        # Entries sorted by their band: those of one value lie between two starts.
        order = np.argsort(entries, kind="stable")
        starts = np.searchsorted(entries[order], np.arange(2**_BAND_BITS + 1, dtype=np.uint64))
        for bits in turned:
            buckets = (wanted ^ bits).astype(np.int64)
            for rows, places in _expand(starts[buckets], starts[buckets + 1]):
                columns = order[places]
                close = distance(queries[rows], table[columns]) <= near
                found.append(rows[close] * len(table) + columns[close])
    codes = np.unique(np.concatenate(found))
    return np.stack(np.divmod(codes, max(len(table), 1)), axis=1)


def _signs(low: Floats) -> Hashes:
    flat = low.reshape(len(low), _LOW * _LOW)
    bits = flat > np.median(flat, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64).ravel()


def _expand(
    starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Yield (row, place) for each place in starts[row] to ends[row] - 1, millions at a time."""
    counts = ends - starts
    totals = np.concatenate([[0], np.cumsum(counts)])
    first = 0
    while first < len(counts):
        last = int(np.searchsorted(totals, totals[first] + _CHUNK, side="right")) - 1
        last = min(max(last, first + 1), len(counts))
        some = counts[first:last]
        rows = np.repeat(np.arange(first, last), some)
        offsets = np.arange(len(rows)) - np.repeat(totals[first:last] - totals[first], some)
        yield rows, starts[rows] + offsets
        first = last
