"""What a GAN's run may be told, checked before anything is made."""

from typing import TYPE_CHECKING, Any

from limner.errors import ConfigError
from limner.train.config.fields import check_sampling, settle_table

if TYPE_CHECKING:
    from limner.train.config.run import TrainConfig

FROM_THE_GENERATOR = ("text_vocabulary", "size", "width", "text_encoder")
FROM_CLIP = ("width", "text_encoder")
LEAST_HELD = 4  # pictures: the fewest that have three neighbours each


def check_gan(config: "TrainConfig") -> None:
    """Raise ConfigError unless generator, discriminator and how they are trained fit together."""
    from limner.gan import DISCRIMINATORS, GENERATORS
    from limner.gan.drawing import GanSampling

    if config.start_from:
        raise ConfigError(
            "a GAN's model folder has no discriminator to go on with; leave start_from out, and go "
            "on from a run's own folder with --resume",
            param="start_from",
        )
    _check_keys(config)
    told = {"text_vocabulary": 1}
    generator = settle_table("generator", GENERATORS, {**config.generator, **told})
    shared = {name: getattr(generator, name) for name in ("size", "width", "text_encoder")}
    table = {**config.discriminator, **told, **shared}
    discriminator = settle_table("discriminator", DISCRIMINATORS, table)
    _check_clip(config, table["name"])
    _check_loop(config)
    _check_batch(config, discriminator)
    check_sampling(GanSampling, config.sampling)


def _check_keys(config: "TrainConfig") -> None:
    decided = {"generator": ("text_vocabulary",), "discriminator": FROM_THE_GENERATOR}
    for table, keys in decided.items():
        for key in keys:
            if key in getattr(config, table):
                raise ConfigError(
                    f"{table}.{key} is decided by the tokenizer or the generator; leave it out",
                    param=f"{table}.{key}",
                )
    if config.clip_from:
        for key in FROM_CLIP:
            if key in config.generator:
                raise ConfigError(
                    f"generator.{key} and clip_from are both given, and that CLIP reads the text; "
                    f"leave generator.{key} out",
                    param=f"generator.{key}",
                )
        if config.text.encoder or config.text.keywords:
            raise ConfigError("[text] is decided by CLIP; leave it out", param="text")
    if config.text.encoder and "text_encoder" in config.generator:
        raise ConfigError(
            "generator.text_encoder describes an encoder of our own for a new model; leave it "
            "out, and name a pretrained one by text.encoder",
            param="generator.text_encoder",
        )
    if "map_channels" in config.discriminator:
        raise ConfigError(
            "discriminator.map_channels are those of CLIP's maps; leave them out",
            param="discriminator.map_channels",
        )


def _check_clip(config: "TrainConfig", discriminator: str) -> None:
    if config.clip_from:
        return
    for param, needed in (
        ("discriminator.name", discriminator == "clip"),
        ("gan_training.guidance", config.gan_training.guidance > 0),
    ):
        if needed:
            raise ConfigError(
                f"{param} needs a trained CLIP; give its model folder as clip_from", param=param
            )


def _check_loop(config: "TrainConfig") -> None:
    loop, wanted = config.loop, {"accumulate": 1, "fp16": False, "optimizer": "adamw"}
    for name, value in wanted.items():
        if getattr(loop, name) != value:
            raise ConfigError(
                f"loop.{name} is {getattr(loop, name)!r}, and a GAN is trained with {value!r} "
                f"alone; leave loop.{name} out",
                param=f"loop.{name}",
            )
    if config.data.held_for_validation < LEAST_HELD:
        raise ConfigError(
            f"data.held_for_validation is {config.data.held_for_validation}; a GAN's variety is "
            f"measured on at least {LEAST_HELD} pictures",
            param="data.held_for_validation",
        )


def _check_batch(config: "TrainConfig", discriminator: Any) -> None:
    training = config.gan_training
    reasons = {
        "gan_training.mismatched": training.mismatched,
        "gan_training.reconstruction": training.reconstruction > 0,
        "gan_training.guidance": training.guidance > 0,
        "discriminator.deviation": getattr(discriminator, "deviation", False),
    }
    for name, asked in reasons.items():
        if asked and config.loop.batch < 2:
            raise ConfigError(
                f"loop.batch is {config.loop.batch}, and {name} compares the pictures of a batch "
                f"with one another; give at least 2, or switch {name} off",
                param="loop.batch",
            )
    if training.penalty != "none" and getattr(discriminator, "batch_norm", False):
        raise ConfigError(
            f"gan_training.penalty is {training.penalty!r}, which takes each picture's own "
            "gradient, and discriminator.batch_norm mixes them; give batch_norm = false, or "
            "penalty = 'none'",
            param="gan_training.penalty",
        )
