"""Networks that enlarge any picture four times: residual blocks, then channels into pixels.

Neither normalises, so that a part of a picture comes out as it does in the whole. Shapes: B
pictures, h and w pixels, W channels, f the factor.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import ConfigError
from limner.nn.checks import check_least

FACTORS = (2, 4)
LARGEST = 256  # a file's own numbers must not fill the memory


@dataclass(frozen=True)
class UpscalerConfig:
    """Sizes of limner's own network: `blocks` of two convolutions, `width` channels."""

    factor: int = 4
    width: int = 48
    blocks: int = 8

    def __post_init__(self) -> None:
        if self.factor not in FACTORS:
            raise ConfigError(f"factor is {self.factor}; expected 2 or 4")
        check_least(self, "width", "blocks")
        if max(self.width, self.blocks) > LARGEST:
            raise ConfigError(
                f"width is {self.width} and blocks {self.blocks}; expected at most {LARGEST}"
            )


class Block(nn.Module):
    """Two 3x3 convolutions around a skip (Lim 2017, arXiv 1707.02921, figure 2c)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.act = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)  # a block begins as little more than its skip

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, W, h, w) to the same shape."""
        added: Tensor = self.conv2(self.act(self.conv1(x)))
        return x + added


class Upscaler(nn.Module):
    """Limner's own: what is missing of the picture enlarged by bicubic interpolation.

    `reach` is how far, in pixels of the small picture, a pixel sees.
    """

    def __init__(self, config: UpscalerConfig) -> None:
        super().__init__()
        self.config, self.factor = config, config.factor
        self.reach = 2 * config.blocks + 3
        self.into = nn.Conv2d(3, config.width, 3, padding=1)
        self.body = nn.Sequential(*(Block(config.width) for _ in range(config.blocks)))
        self.merge = nn.Conv2d(config.width, config.width, 3, padding=1)
        self.out = nn.Conv2d(config.width, 3 * self.factor**2, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, h, w) in [-1, 1] to (B, 3, fh, fw), around [-1, 1]."""
        plain = F.interpolate(images, scale_factor=float(self.factor), mode="bicubic")
        x = self.into(images.contiguous(memory_format=torch.channels_last))
        x = x + self.merge(self.body(x))
        return plain + F.pixel_shuffle(self.out(x), self.factor)


class CompactUpscaler(nn.Module):
    """The compact network of Real-ESRGAN (SRVGGNetCompact; Wang 2021, arXiv 2107.10833).

    A plain row of `layers` convolutions between the first and the last, as its files have them.
    """

    def __init__(self, width: int = 64, layers: int = 16, factor: int = 4) -> None:
        super().__init__()
        self.factor, self.reach = factor, layers + 2
        widths = [3, *[width] * (layers + 1), 3 * factor**2]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths)
        )
        self.acts = nn.ModuleList(nn.PReLU(width) for _ in range(layers + 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, h, w) in [-1, 1] to (B, 3, fh, fw), around [-1, 1]."""
        x = given = images.add(1).div(2).contiguous(memory_format=torch.channels_last)
        for conv, act in zip(self.convs, self.acts, strict=False):
            x = act(conv(x))
        enlarged = F.interpolate(given, scale_factor=float(self.factor), mode="nearest")
        return (enlarged + F.pixel_shuffle(self.convs[-1](x), self.factor)) * 2 - 1
