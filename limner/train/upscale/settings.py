"""What a run of the network that enlarges pictures may be told."""

from dataclasses import dataclass

from limner.errors import ConfigError
from limner.nn.upscaler import UpscalerConfig
from limner.train.config.fields import Checked, choice, number
from limner.train.config.run import TrainConfig


@dataclass(frozen=True)
class UpscalerTable(UpscalerConfig, Checked):
    """`UpscalerConfig` as a table of a run's file."""

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        UpscalerConfig.__post_init__(self)


@dataclass(frozen=True)
class UpscaleTraining(Checked):
    """How small pictures are made of large ones, which are `size` pixels wide.

    Each is shrunk by one of several filters. A share `coded` of them then goes through the codec of
    `codec_from`, a model of pictures as wide as the small ones, so that its faults are learnt too.
    Of each picture `windows` parts of `window` small pixels a side are learnt from, each the
    busiest of three. `weights` is what they are stored in.
    """

    size: int = number(256, least=16, most=4096)
    coded: float = number(0.0, least=0, most=1)
    windows: int = number(2, least=1, most=64)
    window: int = number(32, least=4, most=1024)
    weights: str = choice("fp16", "fp32", "fp16")


def check(config: TrainConfig) -> None:
    """Raise ConfigError where what a run is told does not go together."""
    settings, factor = config.settings(UpscaleTraining), config.settings(UpscalerTable).factor
    if settings.size % factor or settings.window > settings.size // factor:
        raise ConfigError(
            f"upscale_training.size is {settings.size} and window {settings.window}; expected a "
            f"multiple of the factor {factor}, and a window within the small picture",
            param="upscale_training.size",
        )
    if bool(settings.coded) != bool(config.codec_from):
        raise ConfigError(
            f"upscale_training.coded is {settings.coded:g}, but codec_from, the model whose codec "
            f"those pictures go through, is {config.codec_from or 'not given'}; give both or "
            "neither",
            param="upscale_training.coded",
        )
