"""Patch discriminator: is each patch of a picture drawn or real? (Isola 2016, arXiv 1611.07004.)"""

import torch
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Images (B, 3, H, W) to one score a patch (B, 1, H/8, W/8); its view is 22 pixels wide."""

    def __init__(self, channels: int = 48) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, channels, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, channels * 2, 4, stride=2, padding=1),
            nn.GroupNorm(8, channels * 2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels * 2, channels * 3, 4, stride=2, padding=1),
            nn.GroupNorm(8, channels * 3),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels * 3, 1, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores: above zero for real, below for drawn."""
        return self.body(images.contiguous(memory_format=torch.channels_last))
