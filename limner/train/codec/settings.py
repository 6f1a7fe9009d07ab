"""What a codec's run may be told, and what of it does not go together."""

from dataclasses import dataclass

from limner.errors import ConfigError
from limner.train.config.fields import Checked, check_part, choice, exclude, need, number
from limner.train.config.run import TrainConfig

PRETRAINED = ("efficientnet-lite0",)  # networks whose features a codec's loss may compare


@dataclass(frozen=True)
class CodecTraining(Checked):
    """Weights of the codec's losses, and the step at which the discriminator joins.

    With `adaptive`, `adversarial` is a share of the weight at which the discriminator's gradient is
    as large as the reconstruction's (arXiv 2012.09841, equation 7).

    The perceptual loss compares the features of the network whose file is `perceptual_weights`, or
    those of `features`, a pretrained one; of pictures shrunk to `perceptual_size`, 0 for as they
    are. `naming` weighs naming what stands in each cell of the grid, of emoji scenes
    (`limner.train.codec.naming`). `weights` is what the trained ones are stored in.
    """

    perceptual: float = number(0.0, least=0)
    perceptual_weights: str = ""
    features: str = choice("", "", *PRETRAINED)
    perceptual_size: int = number(0, least=0, most=4096)
    naming: float = number(0.0, least=0)
    adversarial: float = number(0.0, least=0)
    adversarial_from: int = number(0, least=0)
    adaptive: bool = False
    decoder_only: bool = False
    weights: str = choice("fp32", "fp32", "fp16")  # int8 would give pictures other codes


def check(config: TrainConfig) -> None:
    """Raise ConfigError when a loss lacks what it needs, or the codec cannot be built."""
    from limner.codecs import autoencoders

    weights, table = config.settings(CodecTraining), "codec_training"
    files = f"{table}.perceptual_weights"
    exclude(config, f"{table}.features", files, "either is a network whose features are compared")
    if weights.perceptual and not (weights.features or weights.perceptual_weights):
        raise ConfigError(
            f"codec_training.perceptual is {weights.perceptual:g}, but "
            "codec_training.perceptual_weights names no file; give both or neither",
            param="codec_training.perceptual",
        )
    need(config, f"{table}.decoder_only", "start_from", "the codec that keeps its codes")
    known = "what stands in each cell is known of emoji scenes alone"
    exclude(config, f"{table}.naming", "data.source", known)
    why = "the one teaches the codes that the other keeps as they are"
    exclude(config, f"{table}.naming", f"{table}.decoder_only", why)
    if config.part("codec").get("things"):
        raise ConfigError(
            "codec.things is given, but a codec is trained without; train it first, and then, with "
            "task = 'things' and start_from, what reads things from its codes",
            param="codec.things",
        )
    if config.part("codec") or not config.start_from:
        check_part("codec", autoencoders(), config.part("codec"))
