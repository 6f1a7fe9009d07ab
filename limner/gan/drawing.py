"""How a GAN draws: one value to choose, and pictures that their seeds alone decide."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.gan.generator import Generator
from limner.options import OPTIONS
from limner.sampling.diffusion import unit_noise


@dataclass(frozen=True)
class GanSampling:
    """How wild drawings are: `temperature` in [0.01, 10] scales all noise; UsageError otherwise.

    Below 1 pictures are plainer and more alike (Brock 2019, arXiv 1809.11096, section 3.1).
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        OPTIONS["temperature"].check(self, "temperature")


def drawn_noise(
    generator: Generator, seeds: Sequence[int], sampling: GanSampling, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the noise (B, Z) of pictures and the chance (B, C) of their conditions, one a seed."""
    config = generator.config
    both = next(unit_noise(seeds, (config.noise + config.condition,), device))
    noise, chance = (both * sampling.temperature).split([config.noise, config.condition], dim=1)
    return noise, chance


def draw(generator: Generator, ids: Tensor, seeds: Sequence[int], sampling: GanSampling) -> Tensor:
    """Return images (B, 3, H, W), around [-1, 1], or latents, of texts (B, T), one seed each."""
    noise, chance = drawn_noise(generator, seeds, sampling, ids.device)
    drawn: Tensor = generator(ids, noise, chance).images
    return drawn
