"""What an adapter's run may be told, and what it needs."""

from dataclasses import dataclass

from limner.errors import ConfigError
from limner.train.config.fields import Checked, number
from limner.train.config.run import TrainConfig


@dataclass(frozen=True)
class AdaptTraining(Checked):
    """How a model is adapted: low-rank changes (arXiv 2106.09685), and what keeps the rest.

    `word` is put before captions that lack it, to call the new thing by. `preserve` is the share of
    each batch that the model itself drew before, of `drawn` such pictures. `decoder` adapts the
    codec's decoder too.
    """

    rank: int = number(8, least=1, most=256)
    alpha: float = number(8.0, above=0)
    word: str = ""
    preserve: float = number(0.25, least=0, below=1)
    drawn: int = number(32, least=1, most=4096)
    decoder: bool = False


def check(config: TrainConfig) -> None:
    """Raise ConfigError unless there is a model, and pictures to adapt it to."""
    wanted = {"start_from": config.start_from, "data.source": config.data.source}
    for key, what in (("start_from", "the model"), ("data.source", "the pictures")):
        if not wanted[key]:
            raise ConfigError(f"{key} is empty; to adapt, give {what}", param=key)
