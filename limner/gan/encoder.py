"""The picture's side of a VAE-GAN: which noise would have drawn this picture?"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limner.gan.discriminator import ResidualDown


class PictureEncoder(nn.Module):
    """A picture to a Gaussian over the noise (Larsen 2016, arXiv 1512.09300, section 2.1).

    It is needed in training only; `seen` channels come in by patches of `patch` a side. Shapes: B
    pictures, Z width of the noise.
    """

    def __init__(
        self,
        size: int,
        noise: int,
        channels: Sequence[int] = (32, 48, 64),
        *,
        seen: int = 3,
        patch: int = 2,
    ) -> None:
        super().__init__()
        first = nn.Conv2d(seen * patch**2, channels[0], 3, padding=1)
        layers: list[nn.Module] = [nn.PixelUnshuffle(patch), first]
        before, side = channels[0], size // patch
        for width in channels[1:]:
            if side % 2:
                break
            layers.append(ResidualDown(before, width))
            before, side = width, side // 2
        self.body = nn.Sequential(*layers)
        self.both = nn.Linear(before * side * side, 2 * noise)
        with torch.no_grad():
            self.both.weight.mul_(0.1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, seen, size, size) to the mean and the log variance (B, Z) of the noise."""
        x = self.body(images.contiguous(memory_format=torch.channels_last))
        mean, log_variance = self.both(x.flatten(1)).float().chunk(2, dim=1)  # (B, Z) each
        return mean, log_variance.clamp(-10, 10)


def encoder_of(config: Any) -> PictureEncoder:
    """Return the encoder of what a generator of this config draws: pictures, or a latent."""
    if config.channels_drawn == 3:
        return PictureEncoder(config.size, config.noise)
    return PictureEncoder(
        config.size, config.noise, (96, 128), seen=config.channels_drawn, patch=1
    )  # fmt: skip
