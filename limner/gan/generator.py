"""Generators: a condition and noise to a picture, at once.

Shapes: B pictures, C width of the condition, Z of the noise, S of the style.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.gan.condition import (
    Condition,
    Conditioning,
    SentenceEncoder,
    TextConditioned,
    check_doublings,
    small_weights,
)
from limner.nn.checks import check_least

SLOPE = 0.2  # of leaky ReLUs


@dataclass(frozen=True)
class GeneratorConfig(TextConditioned):
    """What every generator has: the widths of its `noise` and of its `condition`.

    What is `bounded` keeps within [-1, 1], as the latent of finite scalars does.
    """

    noise: int = 64
    condition: int = 64
    bounded: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "noise", "condition")


@dataclass(frozen=True)
class GrowingConfig(GeneratorConfig):
    """What has one that doubles its cells: `channels` at 4 a side, and after each doubling."""

    channels: tuple[int, ...] = (256, 128, 64, 32)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_doublings(self.size, self.patch_of_cells(), self.channels)

    def patch_of_cells(self) -> int:
        """Return how many pixels a side the finest cells become."""
        return 1


class Drawn(NamedTuple):
    """Images (B, 3, H, W) or latents, the condition that they are of, and what `paint` returned."""

    images: Tensor
    condition: Condition
    painted: Tensor


class Generator(nn.Module):
    """What generators share: ids to a condition; `paint` is each one's own.

    One that `reads_words` draws other pictures of other texts of the same condition.
    """

    reads_words: ClassVar[bool] = False

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.sentence = SentenceEncoder(config)
        self.conditioning = Conditioning(config.width, config.condition)

    def forward(self, ids: Tensor, noise: Tensor, chance: Tensor) -> Drawn:
        """Draw texts (B, T) from unit noise (B, Z) and `chance` (B, C) of the condition."""
        condition = self.conditioning(self.sentence(ids), chance)
        painted = self.paint(condition.drawn, noise, ids)
        return Drawn(self.finish(painted), condition, painted)

    def finish(self, painted: Tensor) -> Tensor:
        """Map what `paint` returns to images or latents in fp32."""
        drawn = painted.float()
        return drawn.tanh() if self.config.bounded else drawn

    def draw(self, ids: Tensor, condition: Tensor, noise: Tensor) -> Tensor:
        """Draw texts (B, T) of conditions (B, C) and noise (B, Z), in fp32."""
        return self.finish(self.paint(condition, noise, ids))

    def paint(self, condition: Tensor, noise: Tensor, ids: Tensor) -> Tensor:
        """Map conditions (B, C) and noise (B, Z) to images (B, 3, H, W), or to latents.

        What the condition says of texts (B, T) is enough for most.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class TransposedConfig(GrowingConfig):
    """Sizes of DCGAN's generator: a transposed convolution for each width, one more into RGB."""

    def patch_of_cells(self) -> int:
        """Return 2: the last transposed convolution doubles once more, into RGB."""
        return 2


class TransposedGenerator(Generator):
    """Transposed convolutions with batch normalisation, ReLU and tanh: DCGAN's (1511.06434)."""

    def __init__(self, config: TransposedConfig) -> None:
        super().__init__(config)
        first, *others = config.channels
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(config.condition + config.noise, first, 4, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
        ]
        before = first
        for channels in others:
            layers += [
                nn.ConvTranspose2d(before, channels, 4, 2, 1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
            before = channels
        layers += [nn.ConvTranspose2d(before, config.channels_drawn, 4, 2, 1)]
        if not config.bounded:  # else its caller bounds it
            layers.append(nn.Tanh())
        self.body = nn.Sequential(*layers)
        small_weights(self.body)

    def paint(self, condition: Tensor, noise: Tensor, ids: Tensor) -> Tensor:
        """Map conditions (B, C) and noise (B, Z) to images (B, 3, H, W) in [-1, 1]."""
        return self.body(torch.cat([condition, noise], dim=1)[..., None, None])


@dataclass(frozen=True)
class ModulatedConfig(GrowingConfig):
    """Sizes of the modulated generator: each of its finest cells becomes `patch` pixels a side."""

    channels: tuple[int, ...] = (128, 96, 64, 48)
    patch: int = 2
    style: int = 128

    def __post_init__(self) -> None:
        check_least(self, "patch", "style")
        super().__post_init__()

    def patch_of_cells(self) -> int:
        """Return the patch."""
        return self.patch


def mapping(config: GeneratorConfig, style: int) -> nn.Sequential:
    """Return what maps condition and noise, side by side (B, C + Z), to styles (B, S)."""
    return nn.Sequential(
        nn.Linear(config.condition + config.noise, style),
        nn.LeakyReLU(SLOPE),
        nn.Linear(style, style),
        nn.LeakyReLU(SLOPE),
    )


class ModulatedConv(nn.Module):
    """A 3x3 convolution whose input channels a style scales, and whose output keeps its spread.

    Karras 2020, arXiv 1912.04958, equations 1 and 3, on activations in place of weights, which is
    the same and lets all pictures share one convolution.
    """

    def __init__(self, channels: int, out_channels: int, style: int, *, even: bool = True) -> None:
        super().__init__()
        # Evened out, weights may have any size: it decides how far one step of Adam turns them.
        deviation = 0.3 if even else (9 * channels) ** -0.5
        self.weight = nn.Parameter(torch.randn(out_channels, channels, 3, 3) * deviation)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.style = nn.Linear(style, channels)
        nn.init.normal_(self.style.weight, std=style**-0.5)
        nn.init.ones_(self.style.bias)
        self.even = even

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Map (B, channels, h, w) and styles (B, S) to (B, out_channels, h, w)."""
        # 1. The style scales input channels.
        scale = self.style(style)  # (B, channels)
        y = F.conv2d(x * scale[..., None, None].to(x.dtype), self.weight, padding=1)
        # 2. Outputs are divided by the spread that inputs of unit variance give them.
        if self.even:
            energy = scale.float().square() @ self.weight.float().square().sum((2, 3)).T
            y = y * (energy.float() + 1e-8).rsqrt()[..., None, None].to(y.dtype)
        return y + self.bias[:, None, None].to(y.dtype)


class ModulatedBlock(nn.Module):
    """Twice the cells a side, where asked, then two modulated convolutions around a skip."""

    def __init__(self, channels: int, out_channels: int, style: int, *, double: bool) -> None:
        super().__init__()
        self.doubles = double
        self.conv1 = ModulatedConv(channels, out_channels, style)
        self.conv2 = ModulatedConv(out_channels, out_channels, style)
        same = channels == out_channels
        self.skip = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Map (B, channels, h, w) to (B, out_channels, h, w), or (..., 2h, 2w)."""
        skipped = self.skip(x)
        if self.doubles:
            x, skipped = (F.interpolate(each, scale_factor=2.0) for each in (x, skipped))
        h = F.leaky_relu(self.conv1(x, style), SLOPE)
        h = F.leaky_relu(self.conv2(h, style), SLOPE)
        return (skipped + h) * 0.5**0.5


class ModulatedGenerator(Generator):
    """Residual blocks whose channels a style of condition and noise scales, as StyleGAN2's."""

    def __init__(self, config: ModulatedConfig) -> None:
        super().__init__(config)
        first, style = config.channels[0], config.style
        self.mapping = mapping(config, style)
        self.begin = nn.Linear(style, first * 16)
        pairs = zip((first, *config.channels), config.channels, strict=False)
        self.blocks = nn.ModuleList(
            ModulatedBlock(before, after, style, double=number > 0)
            for number, (before, after) in enumerate(pairs)
        )
        out = config.channels_drawn * config.patch**2
        self.pixels = ModulatedConv(config.channels[-1], out, style, even=False)
        with torch.no_grad():  # the pixels of a cell begin alike (Aitken 2017, arXiv 1707.02937)
            first_of_each = self.pixels.weight[:: config.patch**2]
            self.pixels.weight.copy_(first_of_each.repeat_interleave(config.patch**2, dim=0))

    def paint(self, condition: Tensor, noise: Tensor, ids: Tensor) -> Tensor:
        """Map conditions (B, C) and noise (B, Z) to images (B, 3, H, W), around [-1, 1]."""
        # Condition and noise become one style, which begins the picture and scales every block.
        style = self.mapping(torch.cat([condition, noise], dim=1))
        x = self.begin(style).unflatten(1, (-1, 4, 4))  # (B, C, 4, 4)
        x = x.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x, style)
        return F.pixel_shuffle(self.pixels(x, style), self.config.patch)  # type: ignore[attr-defined]
