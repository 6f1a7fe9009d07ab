"""The VQ-VAE and the VQGAN: one map of codes, each the nearest vector of a learned codebook.

Shapes: B batch, h and w the grid's rows and columns. Van den Oord 2017, arXiv 1711.00937; the VQGAN
is Esser 2020, arXiv 2012.09841, with codes that are unit vectors of few dimensions, as in ViT-VQGAN
(Yu 2021, arXiv 2110.04627) and LlamaGen (Sun 2024, arXiv 2406.06525). The perceptual and
adversarial losses, and the weight of the latter (equation 7), are the training step's.
"""

from dataclasses import dataclass

from torch import Tensor

from limner.codecs.base import CodecBase
from limner.codecs.codebook import CodebookOptions, VectorQuantizer, check_codebook
from limner.nn.autoencoder import AutoencoderConfig, check_autoencoder, encoder_of
from limner.nn.decoders import decoder_of


@dataclass(frozen=True)
class VQVAEConfig(AutoencoderConfig, CodebookOptions):
    """Shape of the codec; each number of encoder channels is a halving of height and width.

    `codebook` vectors of `dimensions` each; how they are learnt is said by the options.
    """

    update: str = "ema"
    start: str = "kmeans"
    reset: float = 0.1
    normalised: bool = False
    codebook: int = 512
    dimensions: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_codebook(self)
        check_autoencoder(self)


class VQVAECodec(CodecBase):
    """Autoencoder through a codebook: encoder, nearest codes, decoder (section 3.1)."""

    attention = False  # of the cells at the grid

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder_of(config, config.dimensions, attention=self.attention)
        self.quantizer = VectorQuantizer(config.codebook, config.dimensions, config)
        self.decoder = decoder_of(config, config.dimensions, attention=self.attention)

    def encode(self, images: Tensor) -> Tensor:
        return self.quantizer.encode(self.encoder(images))


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
