"""The VQ-VAE: one map of codes, each the nearest vector of a learned codebook.

Shapes: B batch, D dimensions of a code, h and w the grid's rows and columns.
Van den Oord 2017, arXiv 1711.00937.
"""

from dataclasses import dataclass

from torch import Tensor

from limner.codecs.base import CodecBase
from limner.codecs.codebook import CodebookOptions, VectorQuantizer, check_codebook
from limner.nn.autoencoder import Encoder, Enlarging, check_autoencoder, decoder_of


@dataclass(frozen=True)
class VQVAEConfig(Enlarging, CodebookOptions):
    """Shape of the codec; each number of encoder channels is a halving of height and width.

    `codebook` vectors of `dimensions` each; how they are learnt is said by the options.
    """

    update: str = "ema"
    start: str = "kmeans"
    reset: float = 0.1
    normalised: bool = False
    size: int = 64
    codebook: int = 512
    dimensions: int = 64
    encoder_channels: tuple[int, ...] = (32, 64, 128)
    decoder_channels: tuple[int, ...] = (128, 64, 32)
    encoder_blocks: tuple[int, ...] = (0, 1, 1)
    decoder_blocks: tuple[int, ...] = (1, 1, 1)

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
        self.encoder = Encoder(
            config.encoder_channels,
            config.encoder_blocks,
            config.dimensions,
            attention=self.attention,
            shrink=config.factor,
        )
        self.quantizer = VectorQuantizer(config.codebook, config.dimensions, config)
        self.decoder = decoder_of(config, config.dimensions, attention=self.attention)

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of codes of one picture."""
        side = self.config.seen // 2 ** len(self.config.encoder_channels)
        return ((side, side),)

    @property
    def vocabulary(self) -> int:
        """How many different values one code has."""
        return self.config.codebook

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (B, 3, H, W) in [-1, 1] to reconstructions, codes and the codebook's loss."""
        quantised, codes, loss = self.quantizer(self.encoder(images))
        return self.decoder(quantised), codes, loss

    def encode(self, images: Tensor) -> Tensor:
        """Return codes (B, h, w) int64 of images in [-1, 1]."""
        return self.quantizer.encode(self.encoder(images))

    def embed(self, codes: Tensor) -> Tensor:
        """Return the codebook's vectors (B, D, h, w) for codes (B, h, w)."""
        return self.quantizer.embed(codes)
