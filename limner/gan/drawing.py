"""How a GAN draws: one value to choose, and pictures that their seeds alone decide."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from limner.errors import UsageError, quote
from limner.gan.generator import Generator
from limner.sampling.diffusion import unit_noise


@dataclass(frozen=True)
class GanSampling:
    """How wild drawings are: `temperature` in [0.01, 10] scales all noise; UsageError otherwise.

    Below 1 pictures are plainer and more alike (Brock 2019, arXiv 1809.11096, section 3.1).
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        value: Any = self.temperature
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not 0.01 <= value <= 10:
            raise UsageError(
                f"temperature is {quote(value)}; expected a number in [0.01, 10]",
                param="temperature",
            )


def draw_pictures(
    generator: Generator, ids: Tensor, seeds: Sequence[int], sampling: GanSampling
) -> Tensor:
    """Return images (B, 3, H, W) in [-1, 1] of texts (B, T), one seed each."""
    config = generator.config
    both = next(unit_noise(seeds, (config.noise + config.condition,), ids.device))
    both = both * sampling.temperature
    noise, chance = both.split([config.noise, config.condition], dim=1)
    images: Tensor = generator(ids, noise, chance).images
    return images.clamp(-1, 1)
