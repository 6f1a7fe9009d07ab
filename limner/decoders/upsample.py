"""unCLIP's upsamplers: a picture to one two or four times as wide, by convolution or diffusion.

Both learn from pictures made small and noised by a random amount that they are told, so that they
forgive the faults of a decoder (Ramesh 2022, arXiv 2204.06125, section 2.1; Ho 2021,
arXiv 2106.15282, section 4.1). Neither is told the text.

Shapes: B pictures, h and w pixels of the small picture, H and W of the large one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.decoders.unet import UNet, UNetConfig
from limner.errors import ConfigError
from limner.nn.checks import check_least
from limner.nn.conv import ResidualBlock, Upsample
from limner.sampling.diffusion import find_sampler
from limner.sampling.schedule import Process

FACTORS = (2, 4)


@dataclass(frozen=True)
class ConvolutionUpsamplerConfig:
    """Sizes of the network; `size` of the large picture, `noise` the most that is put on."""

    size: int = 128
    factor: int = 2
    width: int = 32
    blocks: int = 4
    noise: float = 0.2

    def __post_init__(self) -> None:
        _check(self)
        check_least(self, "width", "blocks")
        if self.width % (4 if self.width < 128 else 32):
            raise ConfigError(
                f"width is {self.width}; expected a multiple of 4, and of 32 from 128 on"
            )


@dataclass(frozen=True)
class DiffusionUpsamplerConfig:
    """Sizes of the network, as UNetConfig has them, without attention; and the process."""

    size: int = 128
    factor: int = 2
    patch: int = 4
    widths: tuple[int, ...] = (64, 128)
    blocks: int = 1
    noise: float = 0.2
    schedule: str = "cosine"
    prediction: str = "start"
    times: int = 1000

    def __post_init__(self) -> None:
        _check(self)
        _unet_config(self)


class Upsampler(nn.Module):
    """What both kinds share: how a picture is made small, and noised."""

    config: Any
    stochastic: bool

    @property
    def size(self) -> int:
        """Width of the large picture in pixels."""
        return self.config.size

    @property
    def small(self) -> int:
        """Width of the small picture in pixels."""
        factor: int = self.config.factor
        return self.size // factor

    def lessened(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return small noised pictures (B, 3, h, w) of large ones, and how much noise (B, 1, 1, 1).

        The noise is drawn on the CPU, so that a seed gives the same everywhere.
        """
        small = F.interpolate(images, size=(self.small, self.small), mode="area")  # (B, 3, h, w)
        level = self.config.noise * torch.rand(len(small), 1, 1, 1, generator=generator)
        noise = torch.randn(small.shape, generator=generator)
        return small + (level * noise).to(small), level.to(small)

    def loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of large pictures (B, 3, H, W) in [-1, 1]."""
        raise NotImplementedError

    def stream(
        self, small: Tensor, noise: Iterator[Tensor], *, steps: int = 8, sampler: str = "dpm_solver"
    ) -> Iterator[Tensor]:
        """Yield large pictures (B, 3, H, W) in [-1, 1], the last of them the result.

        `noise` yields unit noise (B, 3, H, W). Raises UsageError as `Process.levels` and
        `find_sampler`.
        """
        raise NotImplementedError


class ConvolutionUpsampler(Upsampler):
    """Enlarge at once: residual blocks at the small size, then channels into pixels."""

    stochastic = False

    def __init__(self, config: ConvolutionUpsamplerConfig) -> None:
        super().__init__()
        self.config = config
        self.into = nn.Conv2d(4, config.width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(config.width) for _ in range(config.blocks)))
        doublings = config.factor.bit_length() - 1  # 1 or 2
        self.grow = nn.Sequential(
            *(Upsample(config.width, config.width) for _ in range(doublings)),
            nn.SiLU(),
            nn.Conv2d(config.width, 3, 3, padding=1),
        )

    def forward(self, small: Tensor, level: Tensor) -> Tensor:
        """Map (B, 3, h, w) with noise of so much (B, 1, 1, 1) to (B, 3, H, W)."""
        plain = F.interpolate(small, scale_factor=float(self.config.factor), mode="bilinear")
        told = torch.cat([small, level.expand(-1, 1, *small.shape[2:])], dim=1)
        grown: Tensor = self.grow(self.body(self.into(told)))
        return plain + grown

    def loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean absolute error of pixels: sharper than the squared one."""
        return F.l1_loss(self(*self.lessened(images, generator)).float(), images)

    def stream(
        self, small: Tensor, noise: Iterator[Tensor], *, steps: int = 8, sampler: str = "dpm_solver"
    ) -> Iterator[Tensor]:
        """Yield the large pictures, once; noise, steps and sampler change nothing."""
        clean = small.new_zeros(len(small), 1, 1, 1)
        yield self(small, clean).float().clamp(-1, 1)


class DiffusionUpsampler(Upsampler):
    """Enlarge by taking noise off, told the small picture: details differ from seed to seed."""

    stochastic = True

    def __init__(self, config: DiffusionUpsamplerConfig) -> None:
        super().__init__()
        self.config = config
        self.process = Process(config.schedule, config.prediction, config.times)
        self.network = UNet(_unet_config(config))

    def loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean squared error of the prediction at random times."""
        given = self._given(*self.lessened(images, generator))
        times = torch.randint(self.process.times, (len(images),), generator=generator)
        noise = torch.randn(images.shape, generator=generator).to(images)
        return self.network.loss(images, noise, times.to(images.device), given=given)

    def stream(
        self, small: Tensor, noise: Iterator[Tensor], *, steps: int = 8, sampler: str = "dpm_solver"
    ) -> Iterator[Tensor]:
        """Yield what is expected of the large pictures after each of `steps`."""
        given = self._given(small, small.new_zeros(len(small), 1, 1, 1))

        def denoise(x: Tensor, time: int) -> Tensor:
            times = torch.full((len(x),), time, device=x.device)
            output = self.network(x, times, given=given)
            return self.process.start(x, output, times).clamp(-1, 1)

        run = find_sampler(sampler)
        for moment in run(denoise, next(noise), self.process.levels(steps), noise):
            yield moment.start

    def _given(self, small: Tensor, level: Tensor) -> Tensor:
        factor = float(self.config.factor)
        large = F.interpolate(small, scale_factor=factor, mode="bilinear")
        return torch.cat([large, level.expand(-1, 1, *large.shape[2:])], dim=1)


def _unet_config(config: DiffusionUpsamplerConfig) -> UNetConfig:
    return UNetConfig(
        config.size, given=4, patch=config.patch, widths=config.widths, blocks=config.blocks,
        attention=0, heads=1, schedule=config.schedule, prediction=config.prediction,
        times=config.times,
    )  # fmt: skip


def _check(config: Any) -> None:
    if config.factor not in FACTORS:
        raise ConfigError(f"factor is {config.factor}; expected 2 or 4")
    if config.size < 2 * config.factor or config.size % config.factor:
        raise ConfigError(
            f"size is {config.size}; expected a multiple of {config.factor}, at least "
            f"{2 * config.factor}"
        )
    if not 0 <= config.noise <= 1:
        raise ConfigError(f"noise is {config.noise:g}; expected 0 to 1")
