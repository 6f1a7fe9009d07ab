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
    Blocks = tuple[tuple[slice, Array], ...]

LEAST_SIDE = 32  # pixels; a smaller picture has no room for the frequencies
THRESHOLD = 4.5  # standard deviations of chance: one in 150,000, were signs independent
_GRIDS = (64, 128)  # cells a side; the larger one for pictures of 128 pixels and more
_BLOCK = 8
# (down, across) of a block's transform, those first that outlive most.
_FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2))
_LINES = 3  # of each direction
_LUMINANCE = (0.299, 0.587, 0.114)
_SMALL = 2**17  # multiplications of a product
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
    pixels = _planes(image)
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
    drawn = Pictures.fromarray(best.astype(numpy.uint8).transpose(1, 2, 0).copy())
    if "A" in image.getbands():  # what is cut out stays so
        drawn.putalpha(image.getchannel("A"))
    return drawn


def _planes(image: Image) -> Array:
    """Return a picture's pixels (3, H, W), each colour in one piece, which is quick to go over."""
    import numpy

    pixels = numpy.asarray(image.convert("RGB")).transpose(2, 0, 1)
    return numpy.ascontiguousarray(pixels, numpy.float32)


def _marked(pixels: Array, cells: int, strength: float) -> Array:
    """Return (3, H, W) pixels with a mark whose coefficients reach a strength."""
    import numpy

    signs = _signs(cells)
    pattern = numpy.zeros_like(signs)
    chosen = _affordable(signs * _coefficients(pixels, cells), strength)
    marked = pixels.copy()
    for _ in range(_ROUNDS):
        # Rounding, clipping at white and black and the change of size each take some away.
        lacking = numpy.maximum(strength - signs * _coefficients(marked, cells), 0) * chosen
        pattern += signs * lacking
        numpy.add(pixels, _change(pattern, pixels.shape[1:]), out=marked)  # in place: no new memory
        numpy.rint(marked, out=marked)
        numpy.clip(marked, 0, 255, out=marked)
    return marked


def mark_score(image: Image) -> float | None:
    """Return how well a picture's signs agree with the mark, in standard deviations of chance.

    The mark is found from THRESHOLD on. None where a side is below 32 pixels.
    """

    if min(image.size) < LEAST_SIDE:
        return None
    pixels = _planes(image)
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

    # Frequency by frequency, as equal costs keep their order; on plain ground all are equal but for
    # what sums leave.
    listed = numpy.moveaxis(agreement, 2, 0).ravel().round(2)
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
    """Return (3, H, W) pixels as coefficients (block rows, block columns, frequencies)."""
    import numpy

    red, green, blue = numpy.array(_LUMINANCE, numpy.float32)
    luminance = red * pixels[0] + green * pixels[1] + blue * pixels[2]
    down, across = (_readers(length, cells) for length in luminance.shape)
    # A transform of blocks is one of columns, then one of rows, and so is a change of size.
    every = _read(across, _read(down, luminance).T).T.astype(numpy.float64)
    count = cells // _BLOCK
    by_block = every.reshape(count, _LINES, count, _LINES)
    return numpy.stack([by_block[:, one, :, other] for one, other in _FREQUENCIES], axis=-1)


def _change(coefficients: Array, size: tuple[int, ...]) -> Array:
    """Return what coefficients add to each of a size's (H, W) pixels."""
    import numpy

    count = len(coefficients)
    by_block = numpy.zeros((count, _LINES, count, _LINES), numpy.float32)
    for number, (one, other) in enumerate(_FREQUENCIES):
        by_block[:, one, :, other] = coefficients[..., number]
    down, across = (_writers(length, count * _BLOCK) for length in size)
    rows = _written(across, by_block.reshape(count * _LINES, -1).T, size[1]).T
    return _written(down, rows, size[0])


def _read(blocks: Blocks, pixels: Array) -> Array:
    """Return the coefficients (blocks * lines, N) of pixels (length, N)."""
    import numpy

    return numpy.concatenate([_product(weights, pixels[span]) for span, weights in blocks])


def _written(blocks: Blocks, coefficients: Array, length: int) -> Array:
    """Return the pixels (length, N) that coefficients (blocks * lines, N) bring."""
    import numpy

    found = numpy.zeros((length, coefficients.shape[1]), numpy.float32)
    for number, (span, weights) in enumerate(blocks):
        lines = coefficients[_LINES * number : _LINES * (number + 1)]
        found[span] += _product(weights.T, lines)
    return found


def _product(left: Array, right: Array) -> Array:
    """Return a product of matrices in parts for which no library takes threads from a drawing."""
    import numpy

    parts = -(-left.shape[0] * right.size // _SMALL)
    if parts == 1:
        small: Array = left @ right
        return small
    return numpy.concatenate([left @ part for part in numpy.array_split(right, parts, 1)], axis=1)


@cache
def _readers(length: int, cells: int) -> Blocks:
    """Return what reads coefficients from a line of pixels, block by block."""
    return _by_block(_resampling(length, cells).T)


@cache
def _writers(length: int, cells: int) -> Blocks:
    """Return what brings coefficients into a line of pixels, block by block."""
    return _by_block(_resampling(cells, length))


def _by_block(weights: Array) -> Blocks:
    """Return the cosines of every block of cells, seen through weights (pixels, cells).

    Of each block these are the pixels that it reaches, a few of all, and weights (lines, pixels).
    """
    import numpy

    at = numpy.arange(_BLOCK) + 0.5
    cosines = numpy.array([numpy.cos(numpy.pi * k * at / _BLOCK) for k in range(_LINES)])
    cosines /= numpy.linalg.norm(cosines, axis=1, keepdims=True)
    found: list[tuple[slice, Array]] = []
    for block in numpy.split(weights, weights.shape[1] // _BLOCK, axis=1):
        reached = numpy.flatnonzero(block.any(axis=1))
        span = slice(int(reached[0]), int(reached[-1]) + 1)
        found.append((span, (cosines @ block[span].T).astype(numpy.float32)))
    return tuple(found)


def _resampling(before: int, after: int) -> Array:
    """Return the weights (after, before) by which a line changes its length, bicubic as Pillow's.

    A line that gets shorter is smoothed first.
    """
    import numpy

    scale = before / after
    centres = (numpy.arange(after) + 0.5) * scale
    apart = numpy.abs(numpy.arange(before) + 0.5 - centres[:, None]) / max(scale, 1)
    near = (1.5 * apart - 2.5) * apart**2 + 1
    far = ((2.5 - 0.5 * apart) * apart - 4) * apart + 2
    weights = numpy.where(apart < 1, near, numpy.where(apart < 2, far, 0))
    found: Array = weights / weights.sum(axis=1, keepdims=True)
    return found


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
