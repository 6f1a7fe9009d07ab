"""What a step of a codec's run costs, counted without memory."""

from typing import Any

import torch
from torch import Tensor, nn

from limner.codecs import create_autoencoder, discriminator, features
from limner.errors import ConfigError
from limner.gan.losses import HINGE, discriminator_loss
from limner.nn.efficientnet import EfficientNetLite
from limner.train.codec.naming import CellNames, answers_of, keep_named
from limner.train.codec.settings import CodecTraining
from limner.train.config.run import TrainConfig
from limner.train.losses import RECONSTRUCTION, perceptual_loss, shrunk
from limner.train.plan.cost import Cost, count_cost
from limner.train.plan.outline import Outline


def cost(config: TrainConfig, outline: Outline) -> tuple[Cost, list[str]]:
    """Return the cost of a codec's step, and what was assumed."""
    return cost_of_codec(config.changed(codec=outline.codec)), []


def cost_of_codec(config: TrainConfig) -> Cost:
    """Return the cost of a codec's step once the discriminator, where there is one, has joined.

    Raises ConfigError for a codec that starts from another, whose config is not in the file.
    """
    weights, values = config.settings(CodecTraining), dict(config.part("codec"))
    if not values:
        raise ConfigError(
            "a run with start_from has no [codec] to plan; give the config that the codec was "
            "first trained with"
        )

    def build() -> nn.Module:
        codec = create_autoencoder(values)
        if weights.decoder_only:
            codec.requires_grad_(False)
            codec.decoder.requires_grad_(True)
        parts: dict[str, nn.Module] = {"codec": codec}
        if weights.adversarial:
            parts["discriminator"] = discriminator.PatchDiscriminator()
        if weights.perceptual:
            network = EfficientNetLite() if weights.features else features.FeatureNetwork(2, 2)
            parts["features"] = network.requires_grad_(False)
        if weights.naming:
            parts["names"] = CellNames(codec.decoder.dimensions, answers_of(config.data.level))
        return nn.ModuleDict(parts)

    def loss(parts: Any, batch: int) -> Tensor:
        codec, given = parts["codec"], list[Tensor]()
        hook = keep_named(codec.decoder, given)
        images = torch.zeros(batch, 3, codec.config.size, codec.config.size)
        output, _, auxiliary = codec(images)
        hook.remove()
        drawn = codec.picture(output)
        total = RECONSTRUCTION[codec.likelihood](output.float(), images) + auxiliary
        if weights.perceptual:
            side = weights.perceptual_size
            with torch.no_grad():
                targets = parts["features"](shrunk(images, side))
            total = total + perceptual_loss(parts["features"](shrunk(drawn, side)), targets)
        if weights.naming:
            total = total + sum(each.float().mean() for each in parts["names"](given[0]))
        if weights.adversarial:
            critic = parts["discriminator"].requires_grad_(False)
            total = total - critic(drawn).mean()
            critic.requires_grad_(True)
            seen = drawn.detach()
            total = total + discriminator_loss(HINGE, critic(images).float(), critic(seen).float())
        return total

    return count_cost(config, build, loss)
