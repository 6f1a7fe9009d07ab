"""How far two pictures are apart: PSNR, SSIM and features. Images are (N, 3, H, W) in [-1, 1]."""


import torch
import torch.nn.functional as F
from torch import Tensor

from limner.errors import UsageError

WINDOW = 11  # pixels: 3.5 standard deviations to each side, as scikit-image cuts it
_SIGMA = 1.5


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB of each picture (N,); 100 where equal."""
    error = _unit(images.float() - truth.float(), 0).square().mean((1, 2, 3))
    return -10 * error.clamp_min(1e-10).log10()


def ssim(images: Tensor, truth: Tensor) -> Tensor:
    """Return the structural similarity (Wang 2004) of each picture (N,), in [-1, 1].

    Gaussian windows of 11 pixels and sigma 1.5 on each colour channel, without padding, black is 0:
    scikit-image's with `gaussian_weights` and `use_sample_covariance=False`. Raises UsageError for
    pictures smaller than a window.
    """
    if min(images.shape[-2:]) < WINDOW:
        raise UsageError(f"pictures are {min(images.shape[-2:])} pixels; SSIM needs {WINDOW}")
    with torch.autocast(images.device.type, enabled=False):  # windows in fp32 whatever is measured
        x, y = _unit(images, 1), _unit(truth, 1)
        mean_x, mean_y = _blur(x), _blur(y)
        spread_x, spread_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
        shared = _blur(x * y) - mean_x * mean_y
    light = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
    form = (2 * shared + 0.03**2) / (spread_x + spread_y + 0.03**2)
    return (light * form).mean((1, 2, 3))


def _unit(images: Tensor, zero: int) -> Tensor:
    return (images.float() + zero) / 2


def _blur(images: Tensor) -> Tensor:
    places = torch.arange(WINDOW, device=images.device) - WINDOW // 2
    line = torch.exp(-(places**2) / (2 * _SIGMA**2))
    line = (line / line.sum()).expand(images.shape[1], 1, 1, -1).contiguous()
    rows = F.conv2d(images, line, groups=images.shape[1])
    return F.conv2d(rows, line.transpose(2, 3).contiguous(), groups=images.shape[1])
