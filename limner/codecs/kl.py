"""The continuous VAE of latent diffusion: a picture as a small grid of Gaussians, without codes.

Shapes: B batch, C latent channels, h and w the grid's rows and columns. Rombach 2021,
arXiv 2112.10752, section 3.1 and appendix G, the variant "KL-reg.".
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from limner.codecs.base import CodecBase
from limner.errors import ConfigError
from limner.nn.autoencoder import Encoder, Enlarging, check_autoencoder, decoder_of

LOG_VARIANCE = (-30.0, 20.0)  # beyond these an exponential is 0 or endless in half precision


@dataclass(frozen=True)
class KLConfig(Enlarging):
    """Shape of the codec; each number of encoder channels is a halving of height and width.

    `kl_weight` is that of the divergence from a standard normal, beside a loss per pixel value.
    """

    size: int = 64
    channels: int = 4
    kl_weight: float = 1e-6
    encoder_channels: tuple[int, ...] = (32, 64, 128)
    decoder_channels: tuple[int, ...] = (128, 64, 32)
    encoder_blocks: tuple[int, ...] = (0, 1, 1)
    decoder_blocks: tuple[int, ...] = (1, 1, 1)

    def __post_init__(self) -> None:
        check_autoencoder(self)
        if self.channels < 1:
            raise ConfigError(f"channels is {self.channels}; expected at least 1")
        if not 0 <= self.kl_weight < float("inf"):
            raise ConfigError(f"kl_weight is {self.kl_weight:g}; expected at least 0")


class KLCodec(CodecBase):
    """Convolutional autoencoder with a Gaussian at each cell (Kingma 2013, arXiv 1312.6114).

    It has no codes, so `maps`, `vocabulary`, `encode`, `decode` and `embed` are not there, and a
    prior over codes cannot be put on it.
    """

    continuous = True

    def __init__(self, config: KLConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(
            config.encoder_channels,
            config.encoder_blocks,
            2 * config.channels,
            shrink=config.factor,
        )
        self.decoder = decoder_of(config, config.channels)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the latent."""
        side = self.config.seen // 2 ** len(self.config.encoder_channels)
        return side, side

    def latent(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance (B, C, h, w) of the latent of images in [-1, 1]."""
        mean, log_variance = self.encoder(images).float().chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCE)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (B, 3, H, W) in [-1, 1] to reconstructions, the latent and the weighted KL.

        In training the latent is drawn from torch's own random source; in evaluation it is the
        mean.
        """
        mean, log_variance = self.latent(images)
        z = mean
        if self.training:
            z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        divergence = normal_divergence(mean, log_variance).mean() / images[0].numel()
        return self.decoder(z), z, self.config.kl_weight * divergence

    def decode_latent(self, z: Tensor) -> Tensor:
        """Return images (B, 3, H, W) in [-1, 1] of latents (B, C, h, w)."""
        return self.picture(self.decoder(z)).float().clamp(-1, 1)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Return images after a way through the mean of their latent."""
        return self.decode_latent(self.latent(images)[0])


def normal_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, variance) || N(0, 1)) in nats a picture (B,), appendix B of 1312.6114."""
    terms = mean.square() + log_variance.exp() - 1 - log_variance
    return 0.5 * terms.flatten(1).sum(1)
