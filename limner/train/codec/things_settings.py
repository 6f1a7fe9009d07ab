"""What the run of a decoder of things may be told."""

from dataclasses import dataclass

from limner.errors import ConfigError
from limner.train.codec.naming import answers_of
from limner.train.codec.settings import CodecTraining
from limner.train.config.fields import Checked, number
from limner.train.config.run import TrainConfig


@dataclass(frozen=True)
class ThingsTraining(Checked):
    """How much of a batch teaches what; 0 and false leave a lesson out.

    Scenes teach to read, which is where things stand and before which backdrop. Of their things
    `crops` are named. So many `grounds` and `drawings` are painted, of any backdrop and noun. A
    share `strange` of the scenes is made unlike any: there is nothing to read in them, and they are
    to be left as they are. Of half the scenes a share `noise` of the codes is replaced by chance,
    as a prior draws wrong ones too. A pixel of a ground counts `detail` times more where it is
    unlike those around it (`limner.train.losses.pixel_loss`).
    """

    reading: bool = True
    grounds: int = number(3, least=0)
    crops: int = number(24, least=0)
    drawings: int = number(20, least=0)
    strange: float = number(0.15, least=0, below=1)
    noise: float = number(0.04, least=0, most=1)
    detail: float = number(0.0, least=0)


def check(config: TrainConfig) -> None:
    """Raise ConfigError unless the codec to go on from is given, and reads the scenes' things."""
    if not config.start_from or not config.part("codec"):
        raise ConfigError(
            "a decoder of things needs start_from, the codec or model whose codes it reads, and "
            "[codec], that codec with encode_size and things; give both",
            param="start_from" if not config.start_from else "codec",
        )
    *wanted, grounds = answers_of(config.data.level)
    found = list(config.part("codec").get("things", ()))
    if found != wanted:
        raise ConfigError(
            f"codec.things is {found}; scenes have {wanted}: nouns, colours and "
            "styles, and one answer more of each for what has none",
            param="codec.things",
        )
    if config.part("codec").get("backdrops") != grounds:
        raise ConfigError(
            f"codec.backdrops is {config.part('codec').get('backdrops')}; scenes have {grounds}",
            param="codec.backdrops",
        )
    settings = config.settings(CodecTraining)
    if not settings.decoder_only or settings.naming or settings.perceptual or settings.adversarial:
        raise ConfigError(
            "a decoder of things has losses of its own, and codes as they are; give "
            "codec_training.decoder_only = true, and neither naming, perceptual nor adversarial",
            param="codec_training",
        )
