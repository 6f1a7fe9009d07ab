"""What of `[codec_training]` does not go with the rest of a run's file."""

from limner.errors import ConfigError
from limner.train.config.tables import CodecTraining


def check_codec_training(weights: CodecTraining, start_from: str, source: str) -> None:
    """Raise ConfigError when a loss lacks what it needs; it names the key.

    `start_from` and `source` are those of the run and of its data.
    """
    if weights.features and weights.perceptual_weights:
        raise ConfigError(
            "codec_training.features and codec_training.perceptual_weights are both given, and "
            "either is a network whose features are compared; leave one of them out",
            param="codec_training.features",
        )
    if weights.perceptual and not (weights.features or weights.perceptual_weights):
        raise ConfigError(
            f"codec_training.perceptual is {weights.perceptual:g}, but "
            "codec_training.perceptual_weights names no file; give both or neither",
            param="codec_training.perceptual",
        )
    if weights.decoder_only and not start_from:
        raise ConfigError(
            "codec_training.decoder_only trains on top of a codec, but start_from names none; "
            "give both or neither",
            param="codec_training.decoder_only",
        )
    if weights.naming and source:
        raise ConfigError(
            "codec_training.naming and data.source are both given, and what stands in each cell is "
            "known of emoji scenes alone; leave one of them out",
            param="codec_training.naming",
        )
    if weights.naming and weights.decoder_only:
        raise ConfigError(
            "codec_training.naming and codec_training.decoder_only are both given, and the one "
            "teaches the codes that the other keeps as they are; leave one of them out",
            param="codec_training.naming",
        )
