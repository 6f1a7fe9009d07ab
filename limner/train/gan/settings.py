"""What a GAN's run may be told, and what of it does not go together."""

from dataclasses import dataclass
from typing import Any

from limner.checkpoint.blocks import STORED
from limner.data.batches.augment import POLICIES
from limner.errors import ConfigError, did_you_mean, quote
from limner.gan.losses import ADVERSARIAL, PENALTIES
from limner.train.config import fields
from limner.train.config.run import TrainConfig

FROM_THE_GENERATOR = ("text_vocabulary", "size", "channels_drawn", "width", "text_encoder")
FROM_THE_CODEC = ("size", "channels_drawn", "bounded")
LEAST_HELD = 4  # pictures: the fewest that have three neighbours each


@dataclass(frozen=True)
class GanTraining(fields.Checked):
    """How generator and discriminator learn against each other.

    `discriminator_rate` is its learning rate, 0 for the loop's; it has `n_critic` updates for one
    of the generator's. `momentum` is Adam's first beta for both; where loop.optimizer is "muon",
    that learns the generator's matrices, at its own momentum. The penalty is R1's gamma or
    WGAN-GP's lambda times its formula, computed every so many steps and weighed up for it. Wrong
    captions are those of the next picture (`mismatched`), and of scenes also `hard_negatives`, with
    one thing changed (`data.scenes.hard_negatives`). `augment` are policies of DiffAugment with
    commas between, or "". `kl` weighs the condition's distance from N(0, 1) in nats.

    With `reconstruction` half a batch is drawn from the noise that an encoder saw in the true
    picture (VAE-GAN, arXiv 1512.09300), `picture_kl` weighing that noise's distance from N(0, 1)
    and `adversarial` the discriminator's word. `guidance` weighs CLIP's loss on drawn pictures, and
    `naming` what a codec that reads things finds in drawn latents beside the true ones of the same
    captions: how many things of which names, and the mean of all cells.

    With `codec_from` the latent of that codec is drawn; a generator "cells" begins with the words
    and the transformer of a model in `start_from` whose codes are of the same cells.

    From the step `watch_from` on, a collapse is told at the next validation; `on_collapse` may
    also stop, or restore the weights of the last sound one. `weights` is what the
    model's are stored in.
    """

    loss: str = fields.choice("hinge", *ADVERSARIAL)
    penalty: str = fields.choice("r1", *PENALTIES)
    penalty_weight: float = fields.number(1.0, above=0)
    penalty_every: int = fields.number(16, least=1)
    discriminator_rate: float = fields.number(0.0, least=0)
    n_critic: int = fields.number(1, least=1, most=100)
    momentum: float = fields.number(0.0, least=0, below=1)
    mismatched: bool = True
    hard_negatives: int = fields.number(1, least=0, most=8)
    augment: str = "translation"
    kl: float = fields.number(0.01, least=0)
    adversarial: float = fields.number(1.0, above=0)
    reconstruction: float = fields.number(0.0, least=0)
    picture_kl: float = fields.number(0.01, least=0)
    guidance: float = fields.number(0.0, least=0)
    naming: float = fields.number(0.0, least=0)
    on_collapse: str = fields.choice("tell", "tell", "stop", "restore")
    watch_from: int = fields.number(1000, least=0)
    weights: str = fields.choice("fp16", *STORED)

    def __post_init__(self) -> None:
        super().__post_init__()
        for policy in self.policies:
            if policy not in POLICIES:
                hint = did_you_mean(policy, POLICIES)
                raise ConfigError(
                    f"augment has the policy {quote(policy)}; expected some of "
                    f"{', '.join(POLICIES)}{hint}",
                    param="augment",
                )

    @property
    def policies(self) -> tuple[str, ...]:
        """The policies of DiffAugment, in their order."""
        return tuple(each.strip() for each in self.augment.split(",") if each.strip())


def check(config: TrainConfig) -> None:
    """Raise ConfigError unless generator, discriminator and how they are trained fit together."""
    from limner.gan import DISCRIMINATORS, GENERATORS
    from limner.gan.drawing import GanSampling

    _check_start(config)
    _check_keys(config)
    known = {"text_vocabulary": 1, **latent_of(config)}
    generator = fields.check_part("generator", GENERATORS, {**config.part("generator"), **known})
    _check_levels(config, generator)
    shared = {
        name: getattr(generator, name)
        for name in ("size", "channels_drawn", "width", "text_encoder")
    }
    table = {**config.part("discriminator"), "text_vocabulary": 1, **shared}
    discriminator = fields.check_part("discriminator", DISCRIMINATORS, table)
    _check_loop(config, discriminator)
    for param, needed in (
        ("discriminator.name", table["name"] == "clip"),
        ("gan_training.guidance", config.settings(GanTraining).guidance > 0),
    ):
        if needed and not config.clip_from:
            raise ConfigError(
                f"{param} needs a trained CLIP; give its model folder as clip_from", param=param
            )
    if config.settings(GanTraining).naming and not _reads_things(config):
        raise ConfigError(
            "gan_training.naming needs a codec that reads things; give codec_from one, as default",
            param="gan_training.naming",
        )
    fields.check_sampling(GanSampling, config.sampling)


def _check_keys(config: TrainConfig) -> None:
    fields.decided(config, "the tokenizer", "generator.text_vocabulary")
    shared = (f"discriminator.{key}" for key in FROM_THE_GENERATOR)
    fields.decided(config, "the tokenizer or the generator", *shared)
    fields.decided(config, "CLIP, whose maps they are of", "discriminator.map_channels")
    if config.codec_from:
        fields.decided(config, "the codec", *(f"generator.{key}" for key in FROM_THE_CODEC))
    for key in ("width", "text_encoder"):
        if not config.start_from:
            fields.exclude(config, f"generator.{key}", "clip_from", "that CLIP reads the text")
    if config.clip_from and (config.text.encoder or config.text.keywords):
        raise ConfigError("[text] is decided by CLIP; leave it out", param="text")
    fields.check_own_encoder(config, "generator")


def _check_start(config: TrainConfig) -> None:
    """Check what a run begins with, and the latent that it draws."""
    if config.start_from and config.part("generator").get("name") != "cells":
        raise ConfigError(
            "start_from is a model of the family 'dalle' whose words and transformer a generator "
            "'cells' begins with; leave start_from out, and go on from a run's own folder with "
            "--resume",
            param="start_from",
        )
    cached = config.data.cached
    if config.codec_from and not config.data.source and cached < config.loop.batch:
        raise ConfigError(
            f"data.cached is {cached} scenes, fewer than one batch, {config.loop.batch}; a "
            "latent is drawn of scenes that are encoded once: cache more",
            param="data.cached",
        )


def _check_levels(config: TrainConfig, generator: Any) -> None:
    """Check that a generator tells apart the values that the codec's numbers have."""
    import torch

    from limner.codecs import create_autoencoder
    from limner.pipelines.latent import levels_of
    from limner.train.parts import codec_table

    given = tuple(getattr(generator, "levels", ()))
    if not given:
        return
    with torch.device("meta"):
        table = codec_table(config.codec_from)[0] if config.codec_from else None
        levels = levels_of(table and create_autoencoder(table))
    if given != levels:
        raise ConfigError(
            f"generator.levels is {list(given)}; expected those of the codec whose latent is "
            f"drawn, {list(levels)}, or none",
            param="generator.levels",
        )


def latent_of(config: TrainConfig) -> dict[str, Any]:
    """Return the settings of a generator that draws the latent of `codec_from`; {} without it."""
    import torch

    from limner.codecs import create_autoencoder
    from limner.pipelines.latent import latent_shape
    from limner.train.parts import codec_table

    if not config.codec_from:
        return {}
    with torch.device("meta"):  # no weights are needed to know the shape
        shape = latent_shape(create_autoencoder(codec_table(config.codec_from)[0]))
    return {"channels_drawn": shape.pop("channels"), **shape}


def _reads_things(config: TrainConfig) -> bool:
    from limner.train.parts import codec_table

    return bool(config.codec_from and codec_table(config.codec_from, whole=True)[0].get("things"))


def _check_loop(config: TrainConfig, discriminator: Any) -> None:
    # Two losses at once: parts of a batch or a scale of fp16 would need two of each.
    loop, wanted = config.loop, {"accumulate": 1, "fp16": False}
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
    training = config.settings(GanTraining)
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
