"""An invisible mark in a picture's luminance, and the test that finds it. It carries no message.

The picture is looked at as 64 or 128 cells a side, whatever its size, in blocks of 8 x 8. Of each
block's cosine transform some low frequencies get the signs of a fixed random sequence, where that
costs little: a low frequency outlives JPEG and a change of size, and costs are lowest on plain
ground, where little else stands against them. The test counts how well signs agree with the
sequence.

The sequence is in this file: who reads it can take the mark out, or put it into any picture. It
does not outlive cropping, turning, mirroring, or being drawn anew.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image

    Array = numpy.ndarray[Any, numpy.dtype[Any]]

LEAST_SIDE = 32  # pixels; a smaller picture has no room for the frequencies
THRESHOLD = 4.5  # standard deviations of chance: one in 150,000, were signs independent
_GRIDS = (64, 128)  # cells a side; the larger one for pictures of 128 pixels and more
_BLOCK = 8
# (down, across) of a block's transform, those first that outlive most.
_FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2))
# What a marked coefficient reaches; a pixel changes by a quarter of it.
_STRENGTHS = (6.0, 4.5)
# Where a cell has four pixels or more, which outlive JPEG together: on plain ground a pixel changes
# by one of 255, and less would be lost in rounding.
_FAINT_FROM, _FAINT_STRENGTHS = 256, (3.6, 3.0)
_ENOUGH = 8.0  # a score that JPEG of quality 75 leaves above the threshold
_FULL = 3.0  # from here on a coefficient counts fully
_DEAREST = 40.0  # the most that a coefficient is changed by
_BUDGET = 5.0  # mean squared change of a cell: 41 dB
_AIM = 12.0  # the score at which enough is marked: JPEG and resizing take up to half of it
_ROUNDS = 6


def add_mark(image: Image) -> Image:
    """Return an RGB or RGBA picture with the mark; one with a side below 32 pixels as it is.

    The same picture gives the same pixels. A busy one may have no room for a mark that is found.
    """
    import numpy
    from PIL import Image as Pictures

    if min(image.size) < LEAST_SIDE:
        return image
    pixels = numpy.asarray(image.convert("RGB"), numpy.float64)
    cells = _GRIDS[min(image.size) >= _GRIDS[1]]
    # Strong marks outlive more; of weaker ones a busy picture has room for more.
    tried: list[tuple[float, Array]] = []
    for strength in _FAINT_STRENGTHS if min(image.size) >= _FAINT_FROM else _STRENGTHS:
        marked = _marked(pixels, cells, strength)
        score = _score(_signs(cells) * _votes(_coefficients(marked, cells)))
        tried.append((score, marked))
        if score >= _ENOUGH:
            break
    best = tried[-1][1] if tried[-1][0] >= _ENOUGH else max(tried, key=lambda each: each[0])[1]
    drawn = Pictures.fromarray(best.astype(numpy.uint8))
    if "A" in image.getbands():  # what is cut out stays so
        drawn.putalpha(image.getchannel("A"))
    return drawn


def _marked(pixels: Array, cells: int, strength: float) -> Array:
    """Return (H, W, 3) pixels with a mark whose coefficients reach a strength."""
    import numpy

    signs, pattern = _signs(cells), numpy.zeros((cells, cells))
    chosen = _affordable(signs * _coefficients(pixels, cells), strength)
    marked = pixels.copy()
    for _ in range(_ROUNDS):
        # Rounding, clipping at white and black and the change of size each take some away.
        lacking = numpy.maximum(strength - signs * _coefficients(marked, cells), 0) * chosen
        pattern += _from_coefficients(signs * lacking)
        change = _resized(pattern, (pixels.shape[1], pixels.shape[0]))
        # In one length and in place: new memory and a loop over three colours would take longest.
        numpy.add(pixels, numpy.repeat(change, 3).reshape(pixels.shape), out=marked)
        numpy.rint(marked, out=marked)
        numpy.clip(marked, 0, 255, out=marked)
    return marked


def mark_score(image: Image) -> float | None:
    """Return how well a picture's signs agree with the mark, in standard deviations of chance.

    The mark is found from THRESHOLD on. None where a side is below 32 pixels.
    """
    import numpy

    if min(image.size) < LEAST_SIDE:
        return None
    pixels = numpy.asarray(image.convert("RGB"), numpy.float64)
    # Both grids, as the picture may have had another size.
    return max(
        _score(_signs(cells) * _votes(_coefficients(pixels, cells)))
        for cells in _GRIDS
        if cells <= 2 * min(image.size)
    )


def _votes(coefficients: Array) -> Array:
    """Return coefficients as -1 to 1: large ones are edges, and say no more than others."""
    import numpy

    return numpy.clip(coefficients / _FULL, -1, 1)


def _score(agreement: Array) -> float:
    import numpy

    # The 1 keeps faint traces on plain ground from counting as much as strong ones.
    return float(agreement.sum() / numpy.sqrt(1 + (agreement**2).sum()))


def _affordable(agreement: Array, strength: float) -> Array:
    """Return which coefficients are brought to full strength: the cheapest that are needed.

    They are as many as the aim takes, or the budget allows.
    """
    import numpy

    # Frequency by frequency, as equal costs keep their order.
    listed = numpy.moveaxis(agreement, 2, 0).ravel()
    cost = numpy.maximum(strength - listed, 0)
    order = numpy.argsort(cost, kind="stable")
    cost, votes = cost[order], _votes(listed[order])
    sums = votes.sum() + numpy.cumsum(1 - votes)
    squares = 1 + (votes**2).sum() + numpy.cumsum(1 - votes**2)
    reached = numpy.concatenate([[False], sums >= _AIM * numpy.sqrt(squares)])[:-1]
    spent = numpy.cumsum(cost**2) / (agreement.shape[0] * _BLOCK) ** 2
    chosen = numpy.zeros(cost.size)
    chosen[order[~reached & (spent <= _BUDGET) & (cost <= _DEAREST)]] = 1
    return numpy.moveaxis(chosen.reshape(-1, *agreement.shape[:2]), 0, 2)


def _coefficients(pixels: Array, cells: int) -> Array:
    """Return (H, W, 3) pixels as coefficients (block rows, block columns, frequencies)."""
    import numpy

    return numpy.einsum("ayxb,fyb->axf", _blocks(pixels, cells), _basis())


def _blocks(pixels: Array, cells: int) -> Array:
    """Return (H, W, 3) pixels as luminance (block rows, 8, block columns, 8)."""
    import numpy

    luminance = pixels @ numpy.array([0.299, 0.587, 0.114])
    count = cells // _BLOCK
    return _resized(luminance, (cells, cells)).reshape(count, _BLOCK, count, _BLOCK)


def _from_coefficients(values: Array) -> Array:
    import numpy

    side = values.shape[0] * _BLOCK
    return numpy.einsum("axf,fyb->ayxb", values, _basis()).reshape(side, side)


def _resized(values: Array, size: tuple[int, int]) -> Array:
    """Return (H, W) values in another (width, height); the same where they have it."""
    import numpy
    from PIL import Image as Pictures

    if values.shape == (size[1], size[0]):
        return values
    resized = Pictures.fromarray(values.astype(numpy.float32)).resize(
        size, Pictures.Resampling.BICUBIC
    )
    return numpy.asarray(resized, numpy.float64)


@cache
def _basis() -> Array:
    """Return the cosines (frequencies, 8, 8) of a block, each of length 1."""
    import numpy

    at = numpy.arange(_BLOCK) + 0.5
    lines = numpy.array([numpy.cos(numpy.pi * k * at / _BLOCK) for k in range(_BLOCK)])
    lines /= numpy.linalg.norm(lines, axis=1, keepdims=True)
    return numpy.array([numpy.outer(lines[down], lines[across]) for down, across in _FREQUENCIES])


@cache
def _signs(cells: int) -> Array:
    """Return the sequence (rows, columns, frequencies) of +1 and -1, of each frequency half each.

    So a slope or a pattern that is the same in every block agrees with it by chance alone.
    """
    import numpy

    side = cells // _BLOCK
    blocks = range(side**2)
    signs = numpy.empty((side**2, len(_FREQUENCIES)))
    for number, (down, across) in enumerate(_FREQUENCIES):
        # Hashes are the same in every version of every library.
        named = [f"limner mark 1: {cells} {down} {across} {block}" for block in blocks]
        hashed = [hashlib.sha256(each.encode()).digest() for each in named]
        order = sorted(blocks, key=hashed.__getitem__)
        signs[order, number] = [1] * (side**2 // 2) + [-1] * (side**2 // 2)
    return signs.reshape(side, side, len(_FREQUENCIES))
