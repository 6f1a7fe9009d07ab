"""Residual token maps: what each adds to the finest grid, and what a coarser one sees of the sum.

Shapes: B batch, D dimensions of a code, h and w rows and columns. Tian 2024, "Visual autoregressive
modeling" (VAR), arXiv 2404.02905, algorithms 1 and 2.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Phi(nn.Module):
    """Mend what upsampling blurs: half the map, half a convolution of it, at first the map."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dimensions, dimensions, 3, padding=1)
        nn.init.dirac_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D, h, w) to the same shape."""
        return 0.5 * x + 0.5 * self.conv(x)


def raise_map(values: Tensor, phi: nn.Module, grid: tuple[int, int]) -> Tensor:
    """Return what the vectors (B, D, h, w) of a map add to the finest grid, in fp32."""
    # In fp32 even under autocast: each map refines the rounding of those before it.
    with torch.autocast(values.device.type, enabled=False):
        raised: Tensor = phi(F.interpolate(values.float(), grid, mode="bicubic"))
    return raised


def lower_map(known: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return what vectors (B, D, h, w) of the finest grid are in the mean on a coarser one."""
    return F.interpolate(known, shape, mode="area")


def phi_of_map(which: int, maps: int, phis: int) -> int:
    """Return which of a few phis, spread evenly over the maps, is that of map `which`.

    As VAR shares them (github.com/FoundationVision/VAR at 78b9539, models/quant.py): each stands at
    a tick between 0, the coarsest map, and 1, the finest, and a map takes the nearest. Of N the
    outer ticks lie 1 / 2N from the ends; of four 1 / 3N.
    """
    first = 1 / (3 if phis == 4 else 2) / phis
    last = 1 - first
    # Two of ten maps stand half way between ticks: rounding decides, so its order is that of
    # NumPy's linspace, by which the published codec was trained.
    step = (last - first) / max(1, phis - 1)
    ticks = [index * step + first for index in range(phis)]
    ticks[-1] = last
    place = which / max(1, maps - 1)
    return min(range(phis), key=lambda index: abs(ticks[index] - place))


def bits_as_vectors(bits: Tensor) -> Tensor:
    """Return vectors (..., D) of length 1 of bits (..., D), each 0 or 1 (arXiv 2406.07548)."""
    return F.normalize(2.0 * bits - 1, dim=-1)


def raise_bits(values: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return vectors (B, D, h, w) of a map on another grid, as Infinity goes both ways."""
    return F.interpolate(values.float(), grid, mode="bilinear", align_corners=False)
