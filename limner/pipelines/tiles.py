"""Tiles: pictures whose left edge goes on at the right one, and the upper at the lower.

The codes of a picture are painted four times, moved around its edges by half a picture in each
direction or not, and of every place those paintings count most that have it in their middle: there
the codec sees what stands on both sides of an edge. The codes stay as they were drawn.

Shapes: B pictures, h and w cells, H and W pixels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limner.errors import UsageError
from limner.types import Codec

USUAL = 0.95  # what share of the lines inside a seam is compared with


def check_tiles(codec: Codec) -> None:
    """Raise UsageError unless codes can be moved by half a picture: those of one map."""
    if len(codec.maps) > 1 or min(codec.grid) < 2:
        raise UsageError(
            "tile is given, but the codes of this model stand in several maps and cannot be moved "
            "around the edges; leave tile out, or give a model such as 'default'",
            param="tile",
        )


def paint_tile(codec: Codec, codes: Tensor, told: Sequence[Any] = ()) -> Tensor:
    """Return the tile (1, 3, H, W) in [-1, 1] that codes (1, h, w[, G]) stand for.

    `told` is what words say of it, as of `Codec.decode_each`.
    """
    rows, columns = codes.shape[1:3]
    total: Tensor | None = None
    for down in (0, rows // 2):
        for right in (0, columns // 2):
            image = codec.decode_each(codes.roll((down, right), (1, 2)), told)
            height, width = image.shape[2:]
            # The weight of a place falls to nothing at this painting's own edges.
            weight = _ramp(height, down / rows)[:, None] * _ramp(width, right / columns)
            back = (-height * down // rows, -width * right // columns)
            part = (image * weight.to(image)).roll(back, (2, 3))
            total = part if total is None else total + part
    assert total is not None
    return total


def _ramp(length: int, moved: float) -> Tensor:
    """Return weights of places that with those of the other painting make 1 everywhere."""
    place = (torch.arange(length) + 0.5) / length
    middle = (torch.pi * place).sin().square()
    # An odd number of cells is not moved by half: the other's weights decide what is left.
    return middle if not moved else 1 - middle.roll(round(length * moved))


def seam(images: Tensor) -> Tensor:
    """Return how much pictures (B, 3, H, W) change across their edges (B, 2): sides, then ends.

    The mean change there, beside that of the lines inside that change most: one in twenty is
    above 1. A change that belongs to what is drawn, as from sky to grass, counts too.
    """
    found = []
    for dimension in (3, 2):
        change = (images.roll(1, dimension) - images).abs().mean((1, 5 - dimension))
        inside = change[:, 1:].quantile(USUAL, dim=1)
        found.append(change[:, 0] / inside.clamp_min(1 / 255))
    return torch.stack(found, dim=1)
