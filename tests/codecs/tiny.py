"""One tiny config of every codec, by name: the contract runs over them."""

from dataclasses import replace
from typing import Any

from limner.codecs.fsq import FSQCodec

SIZE = 32

STAGES: dict[str, Any] = {
    "size": SIZE,
    "encoder_channels": [8, 8, 16],
    "encoder_blocks": [0, 1, 0],
    "decoder_channels": [16, 8, 8],
    "decoder_blocks": [1, 0, 0],
}

TINY: dict[str, dict[str, Any]] = {
    "fsq": {"name": "fsq", "levels": [4, 3, 3], **STAGES},
    "dvae": {"name": "dvae", "vocabulary": 24, "dimensions": 6, **STAGES},
    "multiscale": {"name": "multiscale", "scales": [1, 2, 4], "levels": [16, 16], **STAGES},
    "pyramid": {"name": "pyramid", "levels": [4, 3, 3], "scales": [1, 2, 4], **STAGES},
    "vqvae": {"name": "vqvae", "codebook": 24, "dimensions": 6, **STAGES},
    "vqvae2": {
        "name": "vqvae2",
        "codebook": 24,
        "dimensions": 6,
        "channels": 16,
        "size": SIZE,
        "encoder_channels": [8, 16],
        "encoder_blocks": [0, 0],
        "decoder_channels": [16, 8],
        "decoder_blocks": [0, 0],
    },
    "vqgan": {"name": "vqgan", "codebook": 24, "dimensions": 6, **STAGES},
    "kl": {"name": "kl", "channels": 3, **STAGES},
}


def without_encoder(codec: FSQCodec) -> FSQCodec:
    """Return a codec as far as it decodes, as a model's folder may hold it."""
    alone = FSQCodec(replace(codec.config, encoder_channels=(), encoder_blocks=()))
    alone.decoder = codec.decoder
    return alone
