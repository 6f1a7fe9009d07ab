"""Drawing styles as functions of a plain drawing: of whatever is known plain, all are known.

Shapes: N drawings, F pixels of a side. A drawing (N, 4, F, F) is RGB times alpha, and alpha, in
[0, 1]. Each is the same function as that of the scenes' sprites (`limner.data.scenes.sprites`), on
a canvas of the same size, in torch.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

PLAIN = "plain"
CANVAS = 136  # pixels of a side, on which borders, blocks and lines are measured
_BORDER = 6  # of a sticker
_BLOCKS = 12  # of pixel art, along a side
_SOLID = 0.4  # alpha from which on a block is there
_DARK = (0.1, 0.1, 0.14)  # of a silhouette
_BLUR = 1.2  # standard deviation, before lines are looked for
_FAINT, _BLACK = 0.04, 0.12  # how strong an edge begins to be ink, and is all ink
_INK = 0.9
_LUMA = (0.299, 0.587, 0.114)


def restyle(drawings: Tensor, style: str) -> Tensor:
    """Return drawings in a style of `STYLES`, as large as they were."""
    if style == PLAIN:
        return drawings
    side = drawings.shape[-1]
    canvas = sized(drawings.float(), CANVAS)
    return sized(_STYLES[style](canvas), side).to(drawings.dtype)


def sized(drawings: Tensor, side: int) -> Tensor:
    """Return drawings `side` pixels wide; no colour exceeds its alpha."""
    if drawings.shape[-1] != side:
        drawings = F.interpolate(
            drawings, (side, side), mode="bicubic", align_corners=False, antialias=True
        )
    colours, alpha = drawings.clamp(0, 1).split((3, 1), dim=1)
    return torch.cat((torch.minimum(colours, alpha), alpha), dim=1)


def _sticker(drawings: Tensor) -> Tensor:
    colours, alpha = drawings.split((3, 1), dim=1)
    grown = F.max_pool2d(alpha, 2 * _BORDER + 1, stride=1, padding=_BORDER)
    return torch.cat((colours + (grown - alpha), grown), dim=1)  # white where there was nothing


def _pixel_art(drawings: Tensor) -> Tensor:
    colours, alpha = sized(drawings, _BLOCKS).split((3, 1), dim=1)
    solid = (alpha > _SOLID).float()
    blocks = torch.cat(((colours / alpha.clamp_min(1e-3)).clamp(0, 1) * solid, solid), dim=1)
    return F.interpolate(blocks, (CANVAS, CANVAS), mode="nearest")


def _silhouette(drawings: Tensor) -> Tensor:
    alpha = drawings[:, 3:]
    dark = torch.tensor(_DARK, device=alpha.device).view(3, 1, 1)
    return torch.cat((dark * alpha, alpha), dim=1)


def _line_art(drawings: Tensor) -> Tensor:
    colours, alpha = drawings.split((3, 1), dim=1)
    # 1. Grey on white, so that the outline is an edge too, and a little blurred.
    luma = torch.tensor(_LUMA, device=alpha.device).view(1, 3, 1, 1)
    grey = ((colours + 1 - alpha) * luma).sum(1, keepdim=True)
    reach = torch.arange(-4, 5, device=alpha.device)
    kernel = (-0.5 * (reach / _BLUR) ** 2).exp()
    kernel = kernel / kernel.sum()
    grey = F.conv2d(F.pad(grey, (4, 4, 4, 4), mode="replicate"), kernel.view(1, 1, 1, -1))
    grey = F.conv2d(grey, kernel.view(1, 1, -1, 1))
    # 2. Ink where a pixel is darker or lighter than those around it.
    around = F.avg_pool2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    edges = (9 * (grey - around)).clamp(0, 1)
    ink = ((edges - _FAINT) / (_BLACK - _FAINT)).clamp(0, 1)
    return torch.cat(((1 - _INK * ink).expand(-1, 3, -1, -1) * alpha, alpha), dim=1)


_STYLES: dict[str, Callable[[Tensor], Tensor]] = {
    PLAIN: lambda drawings: drawings,
    "sticker": _sticker,
    "pixel art": _pixel_art,
    "silhouette": _silhouette,
    "line art": _line_art,
}
STYLES = tuple(_STYLES)
