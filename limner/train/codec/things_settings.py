"""What the run of a decoder of things may be told."""

from dataclasses import dataclass

from limner.errors import ConfigError
from limner.train.codec.naming import ANSWERS
from limner.train.codec.settings import CodecTraining
from limner.train.config.fields import Checked, number
from limner.train.config.run import TrainConfig


@dataclass(frozen=True)
class ThingsTraining(Checked):
    """How much of a batch teaches what.

    Every scene teaches to read; the grounds of the first `grounds` of them are painted, and the
    first `drawings` things. A share `turned` of these grounds is of a scene on its side, in which
    there is no thing to read and all is to be painted, as in pictures of other kinds. Of half the
    scenes a share `noise` of the codes is replaced by chance, as a prior draws wrong ones too.
    """

    grounds: int = number(8, least=1)
    drawings: int = number(48, least=1)
    turned: float = number(0.2, least=0, most=1)
    noise: float = number(0.04, least=0, most=1)


def check(config: TrainConfig) -> None:
    """Raise ConfigError unless the codec to go on from is given, and reads the scenes' things."""
    if not config.start_from or not config.part("codec"):
        raise ConfigError(
            "a decoder of things needs start_from, the codec or model whose codes it reads, and "
            "[codec], that codec with encode_size and things; give both",
            param="start_from" if not config.start_from else "codec",
        )
    wanted, found = ANSWERS[:3], tuple(config.part("codec").get("things", ()))
    if found != wanted:
        raise ConfigError(
            f"codec.things is {list(found)}; scenes have {list(wanted)}: nouns, colours and "
            "styles, and one answer more of each for what has none",
            param="codec.things",
        )
    settings = config.settings(CodecTraining)
    if not settings.decoder_only or settings.naming or settings.perceptual or settings.adversarial:
        raise ConfigError(
            "a decoder of things has losses of its own, and codes as they are; give "
            "codec_training.decoder_only = true, and neither naming, perceptual nor adversarial",
            param="codec_training",
        )
