"""The convolutional encoder and decoder that codecs share.

Shapes: B batch, H and W the picture's height and width, h and w the grid's, D channels at the grid.
Each stage halves or doubles height and width; with `attention`, the cells of the coarsest one look
at one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import ConfigError
from limner.nn import checks
from limner.nn.conv import Downsample, PixelNorm, ResidualBlock, SpatialAttention, Upsample
from limner.nn.styles import STYLES

HEAD = 64  # channels of one head of attention among the cells


def check_stages(part: str, channels: Sequence[int], blocks: Sequence[int], stages: int) -> None:
    """Raise ConfigError unless `part` has a usable width and number of blocks for each stage."""
    for name, values in (("channels", channels), ("blocks", blocks)):
        if len(values) != stages:
            raise ConfigError(
                f"{part}_{name} is {list(values)}; expected {stages} numbers, one a stage"
            )
    for width in channels:
        if width < 4 or width % (4 if width < 128 else 32):
            raise ConfigError(
                f"{part}_channels has {width}; expected a multiple of 4, and of 32 from 128 on"
            )
    if min(blocks) < 0:
        raise ConfigError(f"{part}_blocks is {list(blocks)}; expected numbers of at least 0")


@dataclass(frozen=True)
class AutoencoderConfig:
    """Shape of encoder and decoder; each number of encoder channels is a halving of both sides.

    With `encode_size` a codec is one of pictures of that side, which are shrunk to it, and draws
    them larger: with 64, a picture of 256 pixels has 8x8 cells. `fine_channels` and `fine_blocks`
    are of the stages that add what the large picture has beside the small one (`FinerDecoder`).

    `things` are the numbers of answers by which a thing is named, as nouns, colours and styles: the
    decoder finds the things in its cells by `things_layers` of `things_width`, names each by stages
    of `namer_channels`, and paints it in a frame of its own by stages of `things_channels`, on one
    of so many `backdrops` by stages of `ground_channels` (`limner.nn.things`). `styles` are those
    that the third question asks for. It has no fine stages.
    """

    size: int = 64
    encoder_channels: tuple[int, ...] = (32, 64, 128)
    decoder_channels: tuple[int, ...] = (128, 64, 32)
    encoder_blocks: tuple[int, ...] = (0, 1, 1)
    decoder_blocks: tuple[int, ...] = (1, 1, 1)
    encode_size: int = 0
    fine_channels: tuple[int, ...] = ()
    fine_blocks: tuple[int, ...] = ()
    things: tuple[int, ...] = ()
    things_width: int = 256
    things_layers: int = 5
    things_channels: tuple[int, ...] = (160, 96, 64, 32)
    namer_channels: tuple[int, ...] = (32, 64, 128)
    ground_channels: tuple[int, ...] = (128, 64, 48, 32, 16)
    backdrops: int = 0
    styles: tuple[str, ...] = ()

    @property
    def seen(self) -> int:
        """The side in pixels of the picture that the encoder sees."""
        return self.encode_size or self.size

    @property
    def factor(self) -> int:
        """How many times larger the codec draws than its encoder sees."""
        return self.size // self.seen


def check_enlarging(config: AutoencoderConfig) -> None:
    """Raise ConfigError when what draws large does not lead from what is seen to the size."""
    seen, stages = config.encode_size, len(config.fine_channels)
    if bool(seen) != bool(stages or config.things):
        raise ConfigError(
            f"encode_size is {seen} and fine_channels {list(config.fine_channels)}; a picture "
            "drawn larger than it is seen needs both, or things, and any other none of them"
        )
    if not seen:
        return
    if seen < 16 or seen % 8 or config.size % seen or config.size == seen:
        raise ConfigError(
            f"encode_size is {seen}; expected a multiple of 8, at least 16, that divides the "
            f"size {config.size} and is less"
        )
    if config.things:
        _check_things(config)
        return
    check_stages("fine", config.fine_channels, config.fine_blocks, stages)
    if 2 * config.factor % 2**stages:
        raise ConfigError(
            f"fine_channels is {list(config.fine_channels)}; each stage doubles the picture, and "
            f"{stages} of them do not lead from {seen} to {config.size} pixels"
        )


def _check_things(config: AutoencoderConfig) -> None:
    if config.fine_channels:
        raise ConfigError(
            f"things is {list(config.things)} and fine_channels {list(config.fine_channels)}; "
            "either draws large, so give one of them"
        )
    if min(config.things) < 2:
        raise ConfigError(f"things is {list(config.things)}; expected numbers of at least 2")
    if config.things_width < HEAD or config.things_width % HEAD:
        raise ConfigError(f"things_width is {config.things_width}; expected a multiple of {HEAD}")
    if len(config.things) != 3:
        raise ConfigError(
            f"things is {list(config.things)}; expected numbers of nouns, colours and styles"
        )
    checks.check_least(config, "things_layers")
    checks.check_least(config, "backdrops", least=2)
    named = config.styles
    if named and (named[0] != "plain" or set(named) - set(STYLES)):
        raise ConfigError(
            f"styles is {list(named)}; expected plain first, and some of {', '.join(STYLES)}"
        )
    if named and config.things[-1] != 1 + len(named):
        raise ConfigError(
            f"styles names {len(named)} styles, but the last question of things has "
            f"{config.things[-1]} answers; expected {1 + len(named)}"
        )
    widths, grounds = config.things_channels, config.ground_channels
    if len(widths) < 2 or min(widths) < 4:
        raise ConfigError(
            f"things_channels is {list(widths)}; expected two numbers or more of at least 4"
        )
    check_stages("namer", config.namer_channels, (0,) * len(config.namer_channels), 3)
    check_stages("ground", grounds, (0,) * len(grounds), len(grounds))
    grown = config.seen // 2 ** len(config.decoder_channels) * 2 ** len(grounds)
    if grown != config.size:
        raise ConfigError(
            f"ground_channels is {list(grounds)}; each stage doubles the grid, and {len(grounds)} "
            f"of them lead to {grown} pixels, not to {config.size}"
        )


def check_autoencoder(config: Any) -> None:
    """Raise ConfigError unless a codec config's size and its stages, one or more, fit one another.

    It may be another than an AutoencoderConfig that has the first five fields of one.
    """
    stages = max(1, len(config.encoder_channels))
    for part in ("encoder", "decoder"):
        channels, blocks = getattr(config, f"{part}_channels"), getattr(config, f"{part}_blocks")
        check_stages(part, channels, blocks, stages)
    cell, side = 2**stages, config.size
    if isinstance(config, AutoencoderConfig):
        check_enlarging(config)
        side = config.seen
    if side < 2 * cell or side % cell:
        raise ConfigError(f"size is {side}; expected a multiple of {cell}, at least {2 * cell}")


class Encoder(nn.Module):
    """Pixels (B, 3, H, W) to vectors (B, D, h, w); `channels` and `blocks` from fine to coarse.

    Pictures are shrunk first by a whole number `shrink`.
    """

    def __init__(
        self,
        channels: Sequence[int],
        blocks: Sequence[int],
        dimensions: int,
        pixels: int = 3,
        attention: bool = False,
        shrink: int = 1,
    ) -> None:
        super().__init__()
        self.shrink = shrink
        layers: list[nn.Module] = []
        previous = pixels
        for index, (width, count) in enumerate(zip(channels, blocks, strict=True)):
            layers.append(Downsample(previous, width))
            if index == 0:
                layers.append(nn.Conv2d(width, width, 3, padding=1))
            layers.extend(ResidualBlock(width) for _ in range(count))
            previous = width
        if attention:
            layers.append(SpatialAttention(previous))
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.GroupNorm(min(32, previous // 4), previous),
            nn.SiLU(),
            nn.Conv2d(previous, dimensions, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images in [-1, 1] to vectors."""
        if self.shrink > 1:
            images = F.avg_pool2d(images, self.shrink)
        return self.head(self.body(images.contiguous(memory_format=torch.channels_last)))


class Decoder(nn.Module):
    """Vectors (B, D, h, w) to pixels (B, 3, H, W); `channels` and `blocks` from coarse to fine."""

    def __init__(
        self,
        channels: Sequence[int],
        blocks: Sequence[int],
        dimensions: int,
        pixels: int = 3,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.dimensions = dimensions
        layers: list[nn.Module] = [nn.Conv2d(dimensions, channels[0], 3, padding=1)]
        for index, (width, count) in enumerate(zip(channels, blocks, strict=True)):
            if index:
                layers.append(Upsample(channels[index - 1], width))
            layers.extend(ResidualBlock(width) for _ in range(count))
            if attention and not index:
                layers.append(SpatialAttention(width))
        self.body = nn.Sequential(*layers)
        self.norm = nn.GroupNorm(min(32, channels[-1] // 4), channels[-1])
        self.out = Upsample(channels[-1], pixels)

    def forward(self, z: Tensor) -> Tensor:
        """Map vectors to images, nominally in [-1, 1]."""
        h = self.body(z.contiguous(memory_format=torch.channels_last))
        return self.out(F.silu(self.norm(h)))


class FinerDecoder(Decoder):
    """A decoder that draws a small picture and adds what a larger one has beside it.

    The small picture is that of `Decoder`, under the same names of weights, enlarged by `factor`. A
    second way goes on from what stands before the last coarse stage: `fine_channels` and
    `fine_blocks` are of stages that double height and width; the last one's pixels are added. They
    begin as nothing, so the weights of a decoder of small pictures draw at once as they did.
    """

    def __init__(self, config: Any, dimensions: int, **options: Any) -> None:
        channels, blocks = config.decoder_channels, config.decoder_blocks
        super().__init__(channels, blocks, dimensions, **options)
        self.factor = config.factor
        # The modules of the last coarse stage: none before it where there is but one.
        last = blocks[-1] + 1 if len(channels) > 1 else 0
        self.split = len(self.body) - last  # where the two ways part
        layers: list[nn.Module] = []
        previous = channels[-2] if last else channels[-1]
        for width, count in zip(config.fine_channels, config.fine_blocks, strict=True):
            layers.append(Upsample(previous, width))  # twice height and width
            layers.extend(ResidualBlock(width, PixelNorm) for _ in range(count))
            previous = width
        self.fine = nn.Sequential(*layers)
        self.fine_norm = PixelNorm(previous)
        rest = (4 if last else 2) * config.factor // 2 ** len(config.fine_channels)
        self.fine_out = Upsample(previous, options.get("pixels", 3), factor=rest)
        nn.init.zeros_(self.fine_out.conv.weight)
        nn.init.zeros_(self.fine_out.conv.bias)  # type: ignore[arg-type]

    def forward(self, z: Tensor) -> Tensor:
        """Map vectors to images, nominally in [-1, 1]."""
        # 1. What both ways share.
        shared = self.body[: self.split](z.contiguous(memory_format=torch.channels_last))
        # 2. The small picture enlarged, and what the large one has beside it.
        small: Tensor = self.out(F.silu(self.norm(self.body[self.split :](shared))))
        large = F.interpolate(small, scale_factor=self.factor, mode="bilinear", align_corners=False)
        added: Tensor = self.fine_out(F.silu(self.fine_norm(self.fine(shared))))
        return large + added


def encoder_of(config: AutoencoderConfig, dimensions: int, *, attention: bool = False) -> Encoder:
    """Return the encoder of a codec's config to vectors of so many dimensions."""
    channels, blocks = config.encoder_channels, config.encoder_blocks
    return Encoder(channels, blocks, dimensions, attention=attention, shrink=config.factor)
