"""How a network is told the time of a diffusion."""

import math

import torch
from torch import Tensor


def time_features(times: Tensor, width: int) -> Tensor:
    """Return sines and cosines (B, width) of times (B,), as arXiv 1706.03762, section 3.5.

    `width` is even.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=times.device) / half)
    angles = times[:, None].float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
