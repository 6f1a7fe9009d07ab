"""What a run of one of unCLIP's parts may be told, and what of it does not go together."""

from dataclasses import dataclass
from functools import partial

from limner.checkpoint.blocks import STORED
from limner.errors import ConfigError
from limner.parts import Parts
from limner.train.config import fields
from limner.train.config.run import TrainConfig

FROM_CLIP = {
    "decoder": ("embedding", "text_vocabulary", "channels", "given"),
    "embedding_prior": ("embedding", "text_vocabulary"),
    "upsampler": (),
}


@dataclass(frozen=True)
class UnClipTraining(fields.Checked):
    """What unCLIP's decoder is conditioned on, and how often embedding and text are dropped.

    The shares are those of arXiv 2204.06125, section 2.1; `text_dropout` is the prior's too, whose
    own is 0.1 there. Embeddings have noise of length 0 to `embedding_noise` added, so that the
    decoder bears what a prior gets wrong. A new decoder may begin with the words and transformer of
    the model in `begin_as`, of the family "dalle" over the same codec, or with all of an unCLIP's.
    `weights` is what those of the model are stored in.
    """

    condition_on: str = fields.choice("both", "both", "embedding", "text")
    embedding_dropout: float = fields.number(0.1, least=0, most=1)
    text_dropout: float = fields.number(0.5, least=0, most=1)
    embedding_noise: float = fields.number(0.0, least=0, most=4)
    begin_as: str = ""
    weights: str = fields.choice("fp16", *STORED)


def check_embedding_prior(config: TrainConfig) -> None:
    """Check the run of a prior of embeddings as `_check`."""
    if config.data.cached < 1:
        raise ConfigError(
            "data.cached is 0; a prior of embeddings needs at least 1 scene, and 10000 are better",
            param="data.cached",
        )
    _check(config, "embedding_prior")


def _check(config: TrainConfig, trained: str) -> None:
    """Raise ConfigError unless a run has what its part needs, and nothing that is another's."""
    from limner.decoders import DECODERS, UPSAMPLERS
    from limner.priors import EMBEDDING_PRIORS
    from limner.sampling.diffusion import DiffusionSampling

    _check_sources(config, trained)
    kinds: dict[str, Parts] = {
        "decoder": DECODERS, "embedding_prior": EMBEDDING_PRIORS, "upsampler": UPSAMPLERS,
    }  # fmt: skip
    for part, parts in kinds.items():
        table = config.part(part)
        if table and part != trained:
            raise ConfigError(
                f"[{part}] describes a new part, but the model in start_from has it, or this task "
                f"makes none; leave [{part}] out",
                param=part,
            )
        if part != trained or (not table and config.start_from):
            continue
        by_clip = "CLIP and unclip_training.condition_on"
        fields.decided(config, by_clip, *(f"{part}.{key}" for key in FROM_CLIP[part]))
        if part == "decoder":
            fields.exclude(config, "decoder.size", "codec_from", "the codec decides size")
        sizes = {"text_vocabulary": 1, "embedding": 2**16} if FROM_CLIP[part] else {}
        fields.check_part(part, parts, {**table, **sizes})
    fields.check_sampling(DiffusionSampling, config.sampling)


check_decoder = partial(_check, trained="decoder")  # the first part
check_upsampler = partial(_check, trained="upsampler")


def _check_sources(config: TrainConfig, trained: str) -> None:
    """Check what a run begins with: a decoder's with a CLIP, the others with a model."""
    first = trained == "decoder"
    if first and bool(config.clip_from) == bool(config.start_from):
        raise ConfigError(
            "a decoder needs a trained CLIP: give either clip_from, its model folder, or "
            "start_from, a whole model to go on from",
            param="clip_from",
        )
    if not first and (config.clip_from or not config.start_from):
        raise ConfigError(
            f"task {trained!r} adds to a model that has a decoder; give its folder as "
            "start_from, and leave clip_from out",
            param="start_from",
        )
    if config.codec_from and not (first and config.clip_from):
        raise ConfigError(
            "codec_from is the codec of a new decoder, which draws its latent; leave codec_from "
            "out",
            param="codec_from",
        )
    if fields.given(config, "text.encoder") or fields.given(config, "text.keywords"):
        raise ConfigError("[text] is decided by CLIP; leave it out", param="text")
