"""Which decoder a codec's config asks for."""

from typing import Any

from limner.nn.autoencoder import AutoencoderConfig, Decoder, FinerDecoder
from limner.nn.things import ThingsDecoder


def decoder_of(config: Any, dimensions: int, **options: Any) -> Decoder:
    """Return the decoder of vectors of so many dimensions; `options` are `Decoder`'s."""
    if isinstance(config, AutoencoderConfig) and config.encode_size:
        kind = ThingsDecoder if config.things else FinerDecoder
        return kind(config, dimensions, **options)
    return Decoder(config.decoder_channels, config.decoder_blocks, dimensions, **options)
