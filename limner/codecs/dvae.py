"""The discrete VAE of DALL-E: a distribution over codes in each cell, drawn by Gumbel-softmax.

Shapes: B batch, V vocabulary, D dimensions of a code's vector, h and w the grid's rows and columns.
Ramesh 2021, arXiv 2102.12092, section 2.1 and appendix A. The layers are those that limner's codecs
share, normalised, and so not the paper's.
"""

from dataclasses import dataclass
from math import cos, log, pi, sqrt
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.codecs.base import CodecBase
from limner.errors import ConfigError
from limner.nn.autoencoder import AutoencoderConfig, check_autoencoder, encoder_of
from limner.nn.checks import check_least
from limner.nn.decoders import decoder_of

MARGIN = 0.1  # the paper's epsilon: pixels keep so far from 0 and 1, where a logit has no end
VOCABULARY_LIMIT = 2**16  # the encoder has one output channel for each


@dataclass(frozen=True)
class DVAEConfig(AutoencoderConfig):
    """Shape and schedules; each number of encoder channels is a halving of height and width.

    The temperature falls from 1 to `temperature` until that share of the training, and the weight
    of the divergence rises from 0 to `kl_weight`, both along half a cosine (appendix A.2).
    """

    vocabulary: int = 4096
    dimensions: int = 16
    temperature: float = 1 / 16
    temperature_until: float = 0.5
    kl_weight: float = 6.6
    kl_until: float = 1.0

    def __post_init__(self) -> None:
        check_autoencoder(self)
        if not 2 <= self.vocabulary <= VOCABULARY_LIMIT:
            raise ConfigError(f"vocabulary is {self.vocabulary}; expected 2 to {VOCABULARY_LIMIT}")
        check_least(self, "dimensions")
        check_least(self, "kl_weight", least=0)
        if not 0 < self.temperature <= 1:
            raise ConfigError(
                f"temperature is {self.temperature:g}; expected above 0 and at most 1, where it "
                "starts"
            )
        for name in ("temperature_until", "kl_until"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(
                    f"{name} is {getattr(self, name):g}; expected a share of the training, above 0 "
                    "and at most 1"
                )


class DVAECodec(CodecBase):
    """Autoencoder through categorical variables, relaxed in training (arXiv 1611.01144)."""

    likelihood = "logit_laplace"

    def __init__(self, config: DVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder_of(config, config.vocabulary)
        self.codebook = nn.Embedding(config.vocabulary, config.dimensions)
        self.decoder = decoder_of(config, config.dimensions, pixels=6)
        self._start_at_the_codebook()
        self.advance(0.0)

    @torch.no_grad()
    def _start_at_the_codebook(self) -> None:
        """Make the first logits inner products of each code's vector with a projection of features.

        The mean of a cell's mixture then follows that projection, and the decoder sees the picture
        from the first step; among logits that know nothing of the codebook the noise wins for long.
        The vectors have one length, or the longest would be the likeliest code of most cells.
        """
        vectors = F.normalize(self.codebook.weight, dim=1) * sqrt(self.config.dimensions)
        self.codebook.weight.copy_(vectors)
        head = cast(nn.Conv2d, self.encoder.head[-1])
        width = head.in_channels
        # A projection of features with unit variance, met with every code's vector.
        mean, deviation = 0.207, 0.563  # of SiLU of a standard normal
        projection = torch.randn(self.config.dimensions, width) / (deviation * sqrt(width))
        head.weight.copy_((vectors @ projection)[:, :, None, None])
        cast(Tensor, head.bias).copy_(-mean * head.weight.sum((1, 2, 3)))

    @property
    def vocabulary(self) -> int:
        """How many different codes there are."""
        return self.config.vocabulary

    def advance(self, share: float) -> None:
        """Set the temperature and the weight of the divergence for a share of the training."""
        config = self.config
        self.temperature = anneal(share / config.temperature_until, 1.0, config.temperature)
        self.kl_weight = anneal(share / config.kl_until, 0.0, config.kl_weight)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (B, 3, H, W) to means and log scales (B, 6, H, W), codes and weighted KL.

        In training each cell gets a random mixture of vectors from torch's own random source; in
        evaluation it gets the vector of its likeliest code.
        """
        logits = self.encoder(images).float()  # (B, V, h, w)
        # A cell's logits lie side by side in memory; in this view torch reads them in that order.
        cells = logits.permute(0, 2, 3, 1)
        codes = cells.argmax(-1)
        if self.training:
            mixture = F.gumbel_softmax(cells, self.temperature, dim=-1)  # (B, h, w, V)
            z = (mixture @ self.codebook.weight).permute(0, 3, 1, 2)
        else:
            z = self.embed(codes)
        divergence = uniform_divergence(logits).mean() / images[0].numel()
        return self.decoder(z), codes, self.kl_weight * divergence

    def encode(self, images: Tensor) -> Tensor:
        """Return the likeliest codes (B, h, w) int64 of images in [-1, 1]."""
        logits: Tensor = self.encoder(images)
        return logits.float().argmax(1)

    def embed(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, D, h, w) of codes (B, h, w)."""
        vectors: Tensor = self.codebook(codes)
        return vectors.permute(0, 3, 1, 2)

    def picture(self, output: Tensor) -> Tensor:
        """Return images (B, 3, H, W) of means and log scales (B, 6, H, W); scales do not show."""
        return unmap_pixels(output[:, :3].float().sigmoid())


def anneal(share: float, start: float, end: float) -> float:
    """Return the value between `start` and `end` after `share` of half a cosine; then `end`."""
    return end + (start - end) * 0.5 * (1 + cos(pi * min(1.0, share)))


def uniform_divergence(logits: Tensor) -> Tensor:
    """Return KL(softmax(logits (B, V, h, w)) || uniform) in nats a picture (B,)."""
    cells = logits.permute(0, 2, 3, 1)
    # Not exp(log_softmax): where shares are below the least normal number it is ten times slower.
    minus_entropy = (cells.softmax(-1) * cells.log_softmax(-1)).sum((1, 2, 3))
    return minus_entropy + logits[0, 0].numel() * log(logits.shape[1])


def map_pixels(images: Tensor) -> Tensor:
    """Return images in [-1, 1] as values in [MARGIN, 1 - MARGIN] (appendix A.3)."""
    return (1 - 2 * MARGIN) * (images + 1) / 2 + MARGIN


def unmap_pixels(values: Tensor) -> Tensor:
    """Return values in (0, 1) as images, of which those that `map_pixels` gave are in [-1, 1]."""
    return 2 * (values - MARGIN) / (1 - 2 * MARGIN) - 1
