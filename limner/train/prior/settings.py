"""What a prior's run may be told, and what of it does not go together."""

from dataclasses import dataclass
from typing import Any

from limner.checkpoint.blocks import STORED
from limner.errors import ConfigError
from limner.train.config import fields
from limner.train.config.run import TrainConfig
from limner.types import Request, Sampling

FROM_THE_CODEC = ("text_vocabulary", "vocabulary", "grid", "groups", "levels", "maps")
CACHED_LEAST = 16  # scenes: the fewest that fill the 16 batches of a group


@dataclass(frozen=True)
class PriorTraining(fields.Checked):
    """How the prior learns: dropped captions, share of the run with annealed random order.

    `weights` is what the model's are stored in.
    """

    caption_dropout: float = fields.number(0.1, least=0, most=1)
    random_order_until: float = fields.number(0.0, least=0, most=1)
    weights: str = fields.choice("fp32", *STORED)


def check(config: TrainConfig) -> None:
    """Raise ConfigError unless there is a codec, enough to learn from, and a prior to be built."""
    from limner.priors import PRIORS
    from limner.sampling.tokens import TokenSampling

    if not (config.codec_from or config.start_from):
        raise ConfigError(
            "a prior needs a trained codec: give codec_from, the codec's run, or start_from, a "
            "whole model to go on from, or both",
            param="codec_from",
        )
    fields.need(config, "codec", "codec_from", "the codec whose settings they change")
    cached, batch = config.data.cached, config.loop.batch
    if not config.data.source and cached < CACHED_LEAST:
        raise ConfigError(
            f"data.cached is {cached}; a prior needs at least {CACHED_LEAST} scenes, or pictures "
            "of your own in data.source",
            param="data.cached",
        )
    if not config.data.source and cached < batch:
        raise ConfigError(
            f"data.cached is {cached} scenes, fewer than one batch, {batch}; cache more scenes, or "
            "make smaller batches",
            param="data.cached",
        )
    fields.decided(
        config, "the codec and the tokenizer", *(f"prior.{key}" for key in FROM_THE_CODEC)
    )
    fields.check_own_encoder(config, "prior")
    fields.check_part(
        "prior", PRIORS, {**config.part("prior"), "text_vocabulary": 1, "vocabulary": 2}
    )
    fields.check_sampling(TokenSampling, config.sampling, _request)


def _request(guidance: float | None = None, **values: Any) -> Request:
    """Return a request as a person would make it, whose values are checked."""
    return Request("any", guidance=guidance, sampling=Sampling(**values))
