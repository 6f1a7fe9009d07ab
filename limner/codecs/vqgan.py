"""The VQGAN: a VQ-VAE whose cells see the whole picture, trained to please a discriminator.

Esser 2020, arXiv 2012.09841; its codes are unit vectors of few dimensions, as in ViT-VQGAN (Yu
2021, arXiv 2110.04627) and LlamaGen (Sun 2024, arXiv 2406.06525). The perceptual and adversarial
losses, and the weight of the latter (equation 7), are the training step's.
"""

from dataclasses import dataclass

from limner.codecs.vqvae import VQVAECodec, VQVAEConfig


@dataclass(frozen=True)
class VQGANConfig(VQVAEConfig):
    """Shape of the codec: that of a VQ-VAE, with the codebook of LlamaGen."""

    update: str = "gradient"
    normalised: bool = True
    codebook: int = 1024
    dimensions: int = 8


class VQGANCodec(VQVAECodec):
    """Autoencoder through a codebook, with attention between the cells of the grid (table 7)."""

    attention = True
