"""What a codec makes of true pictures, and how far that is from them by features."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.evaluate.metrics.distributions import frechet_distance
from limner.evaluate.metrics.figure import Metric
from limner.evaluate.metrics.networks import Network
from limner.evaluate.resampling import jackknife
from limner.images import to_images
from limner.types import Codec

AT_ONCE = 32  # pictures in one pass


@torch.inference_mode()
def reconstruct(codec: Codec, images: Tensor) -> Tensor:
    """Return images (N, 3, H, W) in [-1, 1] after the codec and back, within [-1, 1]."""
    parts = [codec.decode(codec.encode(part)) for part in images.split(AT_ONCE)]
    return torch.cat(parts).float().clamp(-1, 1)


def reconstruction_distance(network: Network, copies: Tensor, truth: Tensor) -> Metric:
    """Return rFID: the Frechet distance of true pictures to their copies through a codec.

    Both are (N, 3, H, W) in [-1, 1], seen as pictures of 8 bits; the copy of picture i is row i,
    and the interval leaves out both together. Like FID it is larger of fewer pictures. Raises
    UsageError as `jackknife` and `frechet_distance`.
    """
    seen, real = (network.features(to_images(each)) for each in (copies, truth))
    return Metric(
        network.title("rFID"),
        jackknife(lambda rows: frechet_distance(seen[rows], real[rows]), len(real)),
        "lower",
        "true pictures through the codec against themselves",
    )
