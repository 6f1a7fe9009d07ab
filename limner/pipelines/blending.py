"""Pictures with holes: covered by windows, filled for what looks, closed so that no seam is seen.

Shapes: B pictures, H and W pixels; pictures are (B, 3, H, W) in [-1, 1], shares (B, 1, H, W) in
[0, 1] of how much of a pixel is redrawn.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

CONTEXT = 0.2  # of a window shall show what is there, where a picture is longer than wide
_SURE = 0.5  # of a neighbourhood: from here on what is known there counts in full


def fill_hole(picture: Tensor, share: Tensor) -> Tensor:
    """Return a picture whose hole continues what lies around it, smoothly, and knows nothing else.

    Where nothing is kept at all, the hole is grey. Pull and push: ever coarser means of the kept
    pixels, and back (Gortler 1996, SIGGRAPH, section 3.3).
    """
    weight = (share == 0).float()  # a part of a pixel of the old picture would show through
    levels = [(picture * weight, weight)]
    while min(levels[-1][1].shape[-2:]) > 1:
        value, weight = (F.avg_pool2d(each, 2, ceil_mode=True) for each in levels[-1])
        levels.append((value, weight))
    filled = torch.zeros_like(levels[-1][0])
    for value, weight in reversed(levels):
        grown = F.interpolate(filled, weight.shape[-2:], mode="bilinear", align_corners=False)
        trust = weight.clamp(0, 1)
        filled = torch.where(weight > 0, value / weight.clamp_min(1e-6), grown) * trust + grown * (
            1 - trust
        )
    return filled


def close_hole(picture: Tensor, drawn: Tensor, share: Tensor, reach: float) -> Tensor:
    """Return the picture with what was drawn in its hole; where the share is 0 no value changes.

    Near the edge the drawing is moved towards the picture by what they differ by just outside of
    the hole, less and less within `reach` pixels, so that no seam is seen. Only the masked side
    gives way.
    """
    kept = (share == 0).float()
    differs = blur(torch.cat([(picture - drawn) * kept, kept], dim=1), reach)
    moved = differs[:, :3] / differs[:, 3:].clamp_min(_SURE)
    closed = picture + share * ((drawn + moved).clamp(-1, 1) - picture)
    return torch.where(share > 0, closed, picture)


def blur(maps: Tensor, sigma: float) -> Tensor:
    """Return maps (B, C, H, W) after a Gaussian of `sigma` pixels; beyond the edge they go on."""
    radius = max(1, math.ceil(2.5 * sigma))
    places = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    weights = (-0.5 * (places / sigma) ** 2).exp()
    weights = weights / weights.sum()
    channels = maps.shape[1]
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        kernel = weights.view(shape).expand(channels, -1, -1, -1)
        pads = (0, 0, radius, radius) if shape[2] < 0 else (radius, radius, 0, 0)
        maps = F.conv2d(F.pad(maps, pads, mode="replicate"), kernel, groups=channels)
    return maps


def resize(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a picture or a share at another size; the same one where it has the size."""
    if picture.shape[-2:] == torch.Size(size):
        return picture
    coloured = picture.shape[1] == 3
    # A picture is shrunk as its share is, so that where that is 0 nothing of the hole shows.
    mode = "bicubic" if coloured and size[0] > picture.shape[-2] else "bilinear"
    scaled = F.interpolate(picture, size, mode=mode, align_corners=False, antialias=True)
    return scaled.clamp(-1 if coloured else 0, 1)


def windows(share: Tensor) -> Iterator[tuple[int, int, int]]:
    """Yield top, left and side of square windows that cover a hole, in the order of drawing.

    They are as wide as the picture's shorter side. A hole that is longer is covered from where
    something is known, each window with a part of what is there already.
    """
    height, width = share.shape[-2:]
    side, length = min(height, width), max(height, width)
    along = share[0, 0].amax(0 if width > height else 1) > 0  # (length,)
    while bool(along.any()):
        places = along.nonzero()[:, 0]
        first, end = int(places[0]), int(places[-1]) + 1
        reach = round((1 - CONTEXT) * side)
        start = max(0, min((first + end - side) // 2, length - side))
        if end - first <= side and _kept(share, width > height, start, side) >= CONTEXT:
            pass  # all in one window, amid what is around it
        elif end < length:  # from the known end backwards
            start = end - reach
        else:
            start = first - (side - reach)
        start = max(0, min(start, length - side))
        yield (0, start, side) if width > height else (start, 0, side)
        along[start : start + side] = False


def _kept(share: Tensor, wide: bool, start: int, side: int) -> float:
    """Return how much of a window is kept."""
    here = share[..., start : start + side] if wide else share[..., start : start + side, :]
    return float((here == 0).float().mean())
