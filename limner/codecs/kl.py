"""The continuous VAE of latent diffusion: a picture as a small grid of Gaussians, without codes.

Shapes: B batch, C latent channels, h and w the grid's rows and columns. Rombach 2021,
arXiv 2112.10752, section 3.1 and appendix G, the variant "KL-reg.".
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limner.codecs.base import CodecBase
from limner.nn.autoencoder import AutoencoderConfig, check_autoencoder, encoder_of
from limner.nn.checks import check_least
from limner.nn.decoders import decoder_of
from limner.nn.gaussian import normal_divergence

LOG_VARIANCE = (-30.0, 20.0)  # beyond these an exponential is 0 or endless in half precision


@dataclass(frozen=True)
class KLConfig(AutoencoderConfig):
    """Shape of the codec; each number of encoder channels is a halving of height and width.

    `kl_weight` is that of the divergence from a standard normal, beside a loss per pixel value.
    """

    channels: int = 4
    kl_weight: float = 1e-6

    def __post_init__(self) -> None:
        check_autoencoder(self)
        check_least(self, "channels")
        check_least(self, "kl_weight", least=0)


class KLCodec(CodecBase):
    """Convolutional autoencoder with a Gaussian at each cell (Kingma 2013, arXiv 1312.6114).

    In place of codes it has latents (B, C, h, w), the Gaussians' means over their `deviation` in
    training, so that they are about as large as the noise of a diffusion. There is no `vocabulary`,
    and a prior over codes cannot be put on it.
    """

    continuous = True
    deviation: Tensor

    def __init__(self, config: KLConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder_of(config, 2 * config.channels)
        self.decoder = decoder_of(config, config.channels)
        self.register_buffer("deviation", torch.ones(()))

    def latent(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance (B, C, h, w) of the Gaussians of images in [-1, 1]."""
        mean, log_variance = self.encoder(images).float().chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCE)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (B, 3, H, W) in [-1, 1] to reconstructions, what was decoded, the weighted KL.

        In training a Gaussian is drawn from, by torch's own random source; in evaluation it stands
        for its mean.
        """
        mean, log_variance = self.latent(images)
        z = mean
        if self.training:
            z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
            self.deviation.lerp_(mean.detach().std().clamp_min(1e-6), 0.1)
        divergence = normal_divergence(mean, log_variance).mean() / images[0].numel()
        return self.decoder(z), z, self.config.kl_weight * divergence

    def encode(self, images: Tensor) -> Tensor:
        """Return latents (B, C, h, w) of images in [-1, 1]."""
        return self.latent(images)[0] / self.deviation

    def embed(self, codes: Tensor) -> Tensor:
        """Return latents as they are: they are vectors already."""
        return codes

    def nearest(self, values: Tensor) -> Tensor:
        """Return latents as they are: none is better than another."""
        return values

    def decode(self, codes: Tensor) -> Tensor:
        """Return images (B, 3, H, W) in [-1, 1] of latents (B, C, h, w)."""
        return super().decode(codes * self.deviation)

    def _load_from_state_dict(self, state: Any, prefix: str, *rest: Any) -> None:
        # Files of versions whose latents nothing drew do not say the deviation.
        state.setdefault(f"{prefix}deviation", torch.ones(()))
        super()._load_from_state_dict(state, prefix, *rest)
