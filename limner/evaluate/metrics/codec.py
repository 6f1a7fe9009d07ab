"""How good a codec is: what comes back of a picture (PSNR, SSIM, rFID) and the use of its codes.

Images are (N, 3, H, W) in [-1, 1]. Shapes: N pictures, S cells of all token maps, G codes a cell.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from math import log2
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.errors import UsageError
from limner.evaluate.drawing import BATCH
from limner.evaluate.metrics.distributions import frechet_distance
from limner.evaluate.metrics.networks import Network
from limner.evaluate.resampling import Metric, jackknife
from limner.images import to_images
from limner.types import Codec

WINDOW = 11  # pixels: 3.5 standard deviations to each side, as scikit-image cuts it
_SIGMA = 1.5


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB of each picture (N,); 100 where equal."""
    error = _unit(images.float() - truth.float(), 0).square().mean((1, 2, 3))
    return -10 * error.clamp_min(1e-10).log10()


def ssim(images: Tensor, truth: Tensor) -> Tensor:
    """Return the structural similarity (Wang 2004) of each picture (N,), in [-1, 1].

    Raises UsageError for pictures smaller than a window.
    """
    if min(images.shape[-2:]) < WINDOW:
        raise UsageError(f"pictures are {min(images.shape[-2:])} pixels; SSIM needs {WINDOW}")
    with torch.autocast(images.device.type, enabled=False):  # windows in fp32 whatever is measured
        # Gaussian windows of 11 pixels and sigma 1.5 on each colour channel, without padding, black
        # is 0: scikit-image's with `gaussian_weights` and `use_sample_covariance=False`.
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


@torch.inference_mode()
def reconstruct(codec: Codec, images: Tensor) -> Tensor:
    """Return images (N, 3, H, W) in [-1, 1] after the codec and back, within [-1, 1]."""
    parts = [codec.decode(codec.encode(part)) for part in images.split(BATCH)]
    return torch.cat(parts).float().clamp(-1, 1)


def reconstruction_distance(network: Network, copies: Tensor, truth: Tensor) -> Metric:
    """Return rFID: the Frechet distance of true pictures to their copies through a codec.

    Both are (N, 3, H, W) in [-1, 1]. Like FID it is larger of fewer pictures. Raises UsageError as
    `jackknife` and `frechet_distance`.
    """
    # As pictures of 8 bits, which people see.
    seen, real = (network.features(to_images(each)) for each in (copies, truth))
    return Metric(
        network.title("rFID"),
        # The copy of picture i is row i: both are left out together.
        jackknife(lambda rows: frechet_distance(seen[rows], real[rows]), len(real)),
        "lower",
        "true pictures through the codec against themselves",
    )


@dataclass(frozen=True)
class CodeUse:
    """The share of the vocabulary that occurs, and the perplexity of the codes' frequencies."""

    used: float
    perplexity: float


def bits_of(codec: Any) -> float:
    """Return the bits of one picture's codes, each at log2 of the vocabulary."""
    cells = sum(rows * columns for rows, columns in codec.maps)
    return cells * codec.groups * log2(codec.vocabulary)


def code_use(codes: Tensor, codec: Any) -> CodeUse:
    """Return the mean use of codes (N, *layout[, G]) over token maps and groups."""
    each = code_use_by_map(codes, codec)
    used, perplexity = (sum(parts) / len(each) for parts in zip(*map(astuple, each), strict=True))
    return CodeUse(used, perplexity)


def code_use_by_map(codes: Tensor, codec: Any) -> list[CodeUse]:
    """Return the use of codes (N, *layout[, G]) of each token map, the mean over its groups.

    Of few pictures, coarse maps look worse than they are: they have few cells in all.
    """
    rows = codes.flatten(1, len(codec.layout))
    rows = rows.view(*rows.shape[:2], codec.groups)  # (N, S, G)
    sizes = [height * width for height, width in codec.maps]
    uses = []
    for part in rows.split(sizes, dim=1):
        groups = [_use_of(group, codec.vocabulary) for group in part.unbind(-1)]
        used, perplexity = torch.tensor(groups, dtype=torch.float64).mean(0).tolist()
        uses.append(CodeUse(used, perplexity))
    return uses


def _use_of(codes: Tensor, vocabulary: int) -> tuple[float, float]:
    counts = torch.bincount(codes.flatten(), minlength=vocabulary).double()
    shares = counts[counts > 0] / counts.sum()
    return len(shares) / vocabulary, float((-(shares * shares.log()).sum()).exp())
