"""What a run of one of unCLIP's parts may be told, checked before anything is made."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from limner.errors import ConfigError
from limner.parts import Parts
from limner.train.config.fields import check_sampling, settle_table

if TYPE_CHECKING:
    from limner.train.config.run import TrainConfig

UNCLIP_TASKS = ("decoder", "embedding_prior", "upsampler")
FROM_CLIP = {
    "decoder": ("embedding", "text_vocabulary", "channels", "given"),
    "embedding_prior": ("embedding", "text_vocabulary"),
    "upsampler": (),
}


def check_unclip(config: "TrainConfig") -> None:
    """Raise ConfigError unless a run has what its part needs, and nothing that is another's."""
    from limner.decoders import DECODERS, UPSAMPLERS
    from limner.priors import EMBEDDING_PRIORS
    from limner.sampling.diffusion import DiffusionSampling

    _check_sources(config)
    kinds: dict[str, Parts] = {
        "decoder": DECODERS, "embedding_prior": EMBEDDING_PRIORS, "upsampler": UPSAMPLERS,
    }  # fmt: skip
    for task, parts in kinds.items():
        table: Mapping[str, Any] = getattr(config, task)
        if table and (task != config.task or (task == "decoder" and config.start_from)):
            raise ConfigError(
                f"[{task}] describes a new part, but the model in start_from has it, or this task "
                f"makes none; leave [{task}] out",
                param=task,
            )
        if task != config.task or (not table and config.start_from):
            continue
        for key in FROM_CLIP[task]:
            if key in table:
                raise ConfigError(
                    f"{task}.{key} is decided by CLIP and unclip_training.told; leave it out",
                    param=f"{task}.{key}",
                )
        if task == "decoder" and config.codec_from and "size" in table:
            raise ConfigError(
                "decoder.size and codec_from are both given, and the codec decides size; leave "
                "decoder.size out",
                param="decoder.size",
            )
        decided = {"text_vocabulary": 1, "embedding": 2**16} if task != "upsampler" else {}
        settle_table(task, parts, {**table, **decided})
    check_sampling(DiffusionSampling, config.sampling)


def _check_sources(config: "TrainConfig") -> None:
    if config.task == "decoder" and bool(config.clip_from) == bool(config.start_from):
        raise ConfigError(
            "a decoder needs a trained CLIP: give either clip_from, its model folder, or "
            "start_from, a whole model to go on from",
            param="clip_from",
        )
    if config.task != "decoder" and (config.clip_from or not config.start_from):
        raise ConfigError(
            f"task {config.task!r} adds to a model that has a decoder; give its folder as "
            "start_from, and leave clip_from out",
            param="start_from",
        )
    if config.codec_from and (config.task != "decoder" or config.start_from):
        raise ConfigError(
            "codec_from is the codec of a new decoder, which draws its latent; leave codec_from "
            "out",
            param="codec_from",
        )
    if config.text.encoder or config.text.keywords:
        raise ConfigError("[text] is decided by CLIP; leave it out", param="text")
    if config.task == "embedding_prior" and config.data.cached < 1:
        raise ConfigError(
            "data.cached is 0; a prior of embeddings needs at least 1 scene, and 10000 are better",
            param="data.cached",
        )
