"""The small convolutional codec of the default model: picture -> grid of codes -> picture.

Shapes: B batch, H and W the picture's height and width, h and w the grid's, G codes a cell: h is
H / 8 and w is W / 8, of the small picture where the encoder sees it shrunk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from limner.codecs.base import CodecBase
from limner.codecs.quantize import FiniteScalar
from limner.errors import ConfigError
from limner.nn import alike, autoencoder, checks
from limner.nn.decoders import decoder_of
from limner.nn.things import ThingsDecoder
from limner.nn.told import Told

STAGES = 3  # each halves height and width
VOCABULARY_LIMIT = 2**24  # codes are summed in fp32, which counts no further


@dataclass(frozen=True)
class FSQConfig(autoencoder.AutoencoderConfig):
    """Shape of the codec: three levels of resolution, a grid cell every 8 pixels.

    Each cell has `groups` codes of `len(levels)` dimensions each (product quantisation): twice the
    bits of one code without a vocabulary of their product. Without encoder channels the codec only
    decodes, which is all that drawing needs.
    """

    levels: tuple[int, ...] = (8, 5, 5, 5, 4)
    groups: int = 1
    encoder_channels: tuple[int, ...] = (48, 96, 192)
    decoder_channels: tuple[int, ...] = (256, 128, 64)
    encoder_blocks: tuple[int, ...] = (0, 1, 1)
    decoder_blocks: tuple[int, ...] = (2, 1, 1)

    def __post_init__(self) -> None:
        if self.size < 16 or self.size % 8:
            raise ConfigError(f"size is {self.size}; expected a multiple of 8, at least 16")
        autoencoder.check_enlarging(self)
        if not self.levels or min(self.levels) < 2:
            raise ConfigError(f"levels is {list(self.levels)}; expected some, each at least 2")
        if prod(self.levels) > VOCABULARY_LIMIT:
            raise ConfigError(
                f"levels is {list(self.levels)}; their product, the vocabulary, may be at most "
                f"{VOCABULARY_LIMIT}: take fewer, or more groups"
            )
        checks.check_least(self, "groups")
        for part in ("encoder", "decoder") if self.encoder_channels else ("decoder",):
            channels, blocks = getattr(self, f"{part}_channels"), getattr(self, f"{part}_blocks")
            autoencoder.check_stages(part, channels, blocks, STAGES)


class FSQCodec(CodecBase):
    """Convolutional autoencoder with finite scalar quantisation (arXiv 2309.15505)."""

    def __init__(self, config: FSQConfig) -> None:
        super().__init__()
        self.config = config
        dimensions = config.groups * len(config.levels)
        self.encoder = (
            autoencoder.encoder_of(config, dimensions) if config.encoder_channels else _NoEncoder()
        )
        self.decoder = decoder_of(config, dimensions)
        self.quantizer = FiniteScalar(config.levels)
        # Whether so many pictures, painted together by so many threads, are those painted alone.
        self._alike: dict[tuple[int, int], bool] = {}

    @property
    def encodes(self) -> bool:
        """Whether it has its encoder, and takes pictures."""
        return bool(self.config.encoder_channels)

    @property
    def groups(self) -> int:
        """How many codes one cell has."""
        return self.config.groups

    @property
    def levels(self) -> tuple[int, ...]:
        """How many values each digit of a code has."""
        return self.config.levels

    def embed(self, codes: Tensor) -> Tensor:
        """Return the quantised vectors (B, G * D, h, w) of codes (B, h, w) or (B, h, w, G)."""
        if codes.ndim == 3:
            return self.quantizer.embed(codes)
        return torch.cat([self.quantizer.embed(group) for group in codes.unbind(-1)], dim=1)

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles that its decoder can paint things in."""
        return self.decoder.painter.styles if isinstance(self.decoder, ThingsDecoder) else ()

    def decode(self, codes: Tensor, told: Sequence[Told] = ()) -> Tensor:
        """Return images (B, 3, H, W) in [-1, 1] of codes; words may say more of each of them."""
        return self.paint(self.embed(codes), told)

    def paint(self, vectors: Tensor, told: Sequence[Told] = ()) -> Tensor:
        """Return images (B, 3, H, W) in [-1, 1] of vectors, and of what words say of each."""
        if not (told and isinstance(self.decoder, ThingsDecoder)):
            return super().paint(vectors)
        return self.picture(self.decoder(vectors, told)).float().clamp(-1, 1)

    def decode_each(self, codes: Tensor, told: Sequence[Told] = ()) -> Tensor:
        """Return images of codes as `decode`, each with the bits that it has alone.

        They are painted together where the decoder can. The first time that is compared with
        painting one after the other, which it stays where any bit differs.
        """
        if not isinstance(self.decoder, ThingsDecoder):
            return super().decode_each(codes)
        if len(codes) == 1 or codes.device.type != "cpu" or not alike.works():
            return self._one_by_one(codes, told)
        company = (len(codes), torch.get_num_threads())
        if company not in self._alike:
            alone = self._one_by_one(codes, told)
            self._alike[company] = torch.equal(self.decode(codes, told), alone)
            return alone
        return self.decode(codes, told) if self._alike[company] else self._one_by_one(codes, told)

    def _one_by_one(self, codes: Tensor, told: Sequence[Told]) -> Tensor:
        rows = [slice(at, at + 1) for at in range(len(codes))]
        return torch.cat([self.decode(codes[row], told[row]) for row in rows])

    def nearest(self, values: Tensor) -> Tensor:
        """Return the codes whose vectors, as of `embed`, are nearest to some (B, G * D, h, w)."""
        parts = values.chunk(self.config.groups, dim=1)
        codes = [self.quantizer.nearest(part) for part in parts]
        return codes[0] if self.config.groups == 1 else torch.stack(codes, dim=-1)

    def quantize(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the values, codes and loss (0) of latents."""
        if self.config.groups == 1:
            return self.quantizer(features)
        parts = [self.quantizer(part) for part in features.chunk(self.config.groups, dim=1)]
        values, codes, losses = zip(*parts, strict=True)
        return torch.cat(values, dim=1), torch.stack(codes, dim=-1), torch.stack(losses).mean()


class _NoEncoder(nn.Module):
    """What stands in a codec that draws alone."""

    def forward(self, images: Tensor) -> Tensor:
        raise ConfigError(
            "this codec has no encoder, because it was kept to draw alone; give the codec that "
            "it was made from"
        )
