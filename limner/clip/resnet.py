"""The residual network that CLIP modified: Radford 2021, arXiv 2103.00020, section 2.4.

Three convolutions begin it, strides are averages (arXiv 1904.11486), and attention pools the last
grid. Shapes: B pictures, C channels, h and w the grid, D channels of the last grid.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.clip.preparing import Preparation
from limner.errors import ConfigError
from limner.nn.checks import check_least

EXPANSION = 4
_BLOCKS_LIMIT = 256


@dataclass(frozen=True)
class ResNetConfig:
    """Sizes of the image tower: `blocks` a stage, each stage twice as wide as the one before.

    `width` are the channels inside the blocks of the first stage; RN50 has 64 and 3, 4, 6, 3.
    """

    size: int = 64
    width: int = 32
    blocks: tuple[int, ...] = (1, 2, 2)
    heads: int = 8

    def __post_init__(self) -> None:
        if not self.blocks or min(self.blocks) < 1 or sum(self.blocks) > _BLOCKS_LIMIT:
            raise ConfigError(
                f"blocks is {list(self.blocks)}; expected at least 1 a stage and at most "
                f"{_BLOCKS_LIMIT} in all"
            )
        check_least(self, "width", "heads")
        if self.width % 2 or self.features % self.heads:
            raise ConfigError(
                f"width is {self.width}; expected an even number, and {self.features} channels at "
                f"the end to be a multiple of {self.heads} heads"
            )
        if self.size < self.stride or self.size % self.stride:
            raise ConfigError(
                f"size is {self.size}; {len(self.blocks)} stages need a multiple of {self.stride}"
            )

    @property
    def stride(self) -> int:
        """How many pixels a cell of the last grid is wide."""
        return int(2 ** (len(self.blocks) + 1))

    @property
    def features(self) -> int:
        """Channels of the last grid, D."""
        return int(self.width * EXPANSION * 2 ** (len(self.blocks) - 1))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a skip; a stride averages before it convolves."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = width * EXPANSION
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(out)
        self.stride = stride
        self.skip: nn.Sequential | None = None
        if stride > 1 or channels != out:
            self.skip = nn.Sequential(nn.Conv2d(channels, out, 1, bias=False), nn.BatchNorm2d(out))
        assert self.norm3.weight is not None
        nn.init.zeros_(self.norm3.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, 4 width, h / stride, w / stride)."""
        h = F.relu(self.norm1(self.conv1(x)))
        h = F.relu(self.norm2(self.conv2(h)))
        if self.stride > 1:
            h, x = F.avg_pool2d(h, self.stride), F.avg_pool2d(x, self.stride)
        h = self.norm3(self.conv3(h))
        return F.relu(h + (x if self.skip is None else self.skip(x)))


class AttentionPool(nn.Module):
    """The mean of the grid asks, the cells and the mean itself answer; one vector comes out."""

    def __init__(self, cells: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.places = nn.Parameter(torch.randn(cells + 1, width) * width**-0.5)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        for linear in (self.query, self.key, self.value):
            nn.init.normal_(linear.weight, std=width**-0.5)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D, h, w) to (B, D)."""
        cells = x.flatten(2).mT  # (B, h * w, D)
        # The mean asks, and is one of those that answer.
        cells = torch.cat([cells.mean(1, keepdim=True), cells], dim=1) + self.places
        q, k, v = (
            layer(part).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, part in (
                (self.query, cells[:, :1]), (self.key, cells), (self.value, cells),
            )
        )  # fmt: skip
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1)


class ResNet(nn.Module):
    """A residual network with an attention pool, as CLIP's RN50 (arXiv 2103.00020, section 2.4)."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.size = config.size
        self.prepare = Preparation(config.size, config.size)
        self.width = config.features
        begin, half = config.width, config.width // 2
        stem: list[nn.Module] = []
        for before, after, stride in ((3, half, 2), (half, half, 1), (half, begin, 1)):
            convolution = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
            stem += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        self.stem = nn.Sequential(*stem, nn.AvgPool2d(2))
        body: list[nn.Module] = []
        channels = begin
        for stage, count in enumerate(config.blocks):
            width = begin * 2**stage  # inside its blocks
            for block in range(count):
                body.append(Bottleneck(channels, width, 2 if stage and not block else 1))
                channels = width * EXPANSION
        self.body = nn.Sequential(*body)
        self.map_channels = (begin, channels)
        cells = (config.size // config.stride) ** 2
        self.pool = AttentionPool(cells, channels, config.heads)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Map images (B, 3, size, size) to maps (B, C, h, w) before and after the blocks."""
        begun = self.stem(images.contiguous(memory_format=torch.channels_last))
        return [begun, self.body(begun)]

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, size, size) in [-1, 1] to features (B, D)."""
        x = images.contiguous(memory_format=torch.channels_last)
        return self.pool(self.body(self.stem(x)))
