"""Discriminators: does a picture look real, and does it fit the words?

`look` sees a picture once; `score` compares what it saw with any text, so that a wrong caption
costs nearly nothing. Shapes: B pictures, T tokens, W width of the text's features, F of what was
seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from limner.errors import ConfigError
from limner.gan.condition import SentenceEncoder, TextConditioned, check_doublings, small_weights
from limner.gan.generator import SLOPE
from limner.nn.checks import check_least

Seen = Sequence[Tensor]  # one tensor of pixels, or the maps of a frozen encoder


class Discriminator(nn.Module):
    """What discriminators share. `sees` is "pixels" or "maps", those of a frozen image encoder."""

    sees = "pixels"

    def __init__(self, config: TextConditioned) -> None:
        super().__init__()
        self.config = config
        self.sentence = SentenceEncoder(config)

    def forward(self, seen: Seen, ids: Tensor) -> Tensor:
        """Return a score (B,) of each picture with its text (B, T): higher where both are right."""
        return self.score(self.look(seen), self.read(ids))

    def read(self, ids: Tensor) -> Tensor:
        """Map texts (B, T) to vectors (B, W)."""
        return self.sentence(ids)

    def look(self, seen: Seen) -> Tensor:
        """Map pictures (B, 3, H, W), alone in `seen`, to what was seen of each (B, F...)."""
        raise NotImplementedError

    def score(self, looked: Tensor, texts: Tensor) -> Tensor:
        """Return scores (B,) in fp32 of what was seen (B, F...) and vectors of texts (B, W)."""
        raise NotImplementedError


class ProjectedText(nn.Module):
    """A score of features alone, and their product with the text (Miyato 2018, 1802.05637, eq. 3).

    The product is divided by the root of the width, so that both begin alike.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.alone = nn.Linear(features, 1)
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, features)

    def forward(self, features: Tensor, texts: Tensor) -> Tensor:
        """Map features (B, F) and vectors (B, W) to scores (B,)."""
        told = self.project(self.norm(texts))  # (B, F)
        product = (told * features).float().sum(1) * features.shape[1] ** -0.5
        return self.alone(features)[:, 0].float() + product


@dataclass(frozen=True)
class StridedConfig(TextConditioned):
    """Sizes of DCGAN's discriminator, `channels` from fine to coarse.

    `batch_norm` is DCGAN's own, and ties pictures of a batch together, which a gradient penalty
    does not allow; `spectral` bounds the gain of every layer but those of the text encoder, whose
    norms undo it, at 1 (Miyato 2018, arXiv 1802.05957).
    """

    channels: tuple[int, ...] = (32, 64, 128, 256)
    projected: int = 64
    batch_norm: bool = True
    spectral: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "projected")
        check_doublings(self.size, 2, self.channels)


class StridedDiscriminator(Discriminator):
    """Strided convolutions; the text joins at 4x4 cells, as in GAN-CLS (Reed 2016, 1605.05396)."""

    def __init__(self, config: StridedConfig) -> None:
        super().__init__(config)
        layers: list[nn.Module] = []
        before = config.channels_drawn
        for number, channels in enumerate(config.channels):
            layers.append(nn.Conv2d(before, channels, 4, 2, 1))
            if config.batch_norm and number:
                layers.append(nn.BatchNorm2d(channels))
            layers.append(nn.LeakyReLU(SLOPE))
            before = channels
        self.body = nn.Sequential(*layers)
        self.project = nn.Linear(config.width, config.projected)
        self.join = nn.Conv2d(before + config.projected, before, 1)
        self.last = nn.Conv2d(before, 1, 4)
        small_weights(self)
        if config.spectral:
            bound_gain(self.body, self.project, self.join, self.last)

    def look(self, seen: Seen) -> Tensor:
        """Map pictures (B, 3, H, W) to maps (B, F, 4, 4)."""
        (images,) = seen
        return self.body(images.contiguous(memory_format=torch.channels_last))

    def score(self, looked: Tensor, texts: Tensor) -> Tensor:
        """Return scores (B,) of maps (B, F, 4, 4) and vectors of texts (B, W)."""
        told = F.leaky_relu(self.project(texts), SLOPE).to(looked.dtype)
        told = told[..., None, None].expand(-1, -1, *looked.shape[2:])
        joined = F.leaky_relu(self.join(torch.cat([looked, told], dim=1)), SLOPE)
        scores: Tensor = self.last(joined)
        return scores.flatten(1)[:, 0].float()


@dataclass(frozen=True)
class ResidualConfig(TextConditioned):
    """Sizes of the residual discriminator, `channels` from fine to coarse, 4 cells a side last.

    Pixels come in by patches of `patch` a side; `features` is what the projection compares.
    `deviation` adds a map of how varied the batch is, which a collapsed generator cannot hide.
    """

    channels: tuple[int, ...] = (48, 64, 96, 128)
    patch: int = 2
    features: int = 256
    deviation: bool = True
    spectral: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "patch", "features")
        check_doublings(self.size, self.patch, self.channels)


class ResidualDown(nn.Module):
    """Half the cells a side: two convolutions around a skip, both averaged."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, h, w) to (B, out_channels, h / 2, w / 2)."""
        h = F.avg_pool2d(F.leaky_relu(self.conv1(x), SLOPE), 2)  # averaged early: a quarter's work
        h = F.leaky_relu(self.conv2(h), SLOPE)
        return (self.skip(F.avg_pool2d(x, 2)) + h) * 0.5**0.5


class ResidualDiscriminator(Discriminator):
    """Residual blocks from patches to 4x4 cells, and a projection of the text."""

    def __init__(self, config: ResidualConfig) -> None:
        super().__init__(config)
        first, *others = config.channels
        self.patch, self.deviation = config.patch, config.deviation
        layers: list[nn.Module] = [
            nn.Conv2d(config.channels_drawn * config.patch**2, first, 3, padding=1)
        ]
        before = first
        for channels in others:
            layers.append(ResidualDown(before, channels))
            before = channels
        self.body = nn.Sequential(*layers)
        self.mix = nn.Conv2d(before + config.deviation, before, 3, padding=1)
        self.gather = nn.Linear(before * 16, config.features)
        self.head = ProjectedText(config.features, config.width)
        if config.spectral:
            bound_gain(self.body, self.mix, self.gather, self.head)

    def look(self, seen: Seen) -> Tensor:
        """Map pictures (B, 3, H, W) to features (B, F)."""
        (images,) = seen  # (B, 3, H, W)
        x = F.pixel_unshuffle(images, self.patch).contiguous(memory_format=torch.channels_last)
        x = self.body(x)  # (B, C, 4, 4)
        if self.deviation:
            x = torch.cat([x, batch_deviation(x)], dim=1)
        x = F.leaky_relu(self.mix(x), SLOPE)
        return F.leaky_relu(self.gather(x.flatten(1)), SLOPE)

    def score(self, looked: Tensor, texts: Tensor) -> Tensor:
        """Return how real pictures look, and how well they fit their texts."""
        return self.head(looked, texts)


@dataclass(frozen=True)
class FrozenConfig(TextConditioned):
    """Sizes of a discriminator of a frozen encoder's maps, whose channels are `map_channels`."""

    map_channels: tuple[int, ...] = (192, 192)
    features: int = 128
    spectral: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "features")
        if min(self.map_channels, default=0) < 1:
            raise ConfigError(f"map_channels are {list(self.map_channels)}; expected at least one")


class FrozenDiscriminator(Discriminator):
    """Small heads on the maps of a frozen CLIP (GALIP, 2301.12959; StyleGAN-T, 2301.09515)."""

    sees = "maps"

    def __init__(self, config: FrozenConfig) -> None:
        super().__init__(config)
        self.bodies = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, config.features, 1),
                nn.LeakyReLU(SLOPE),
                nn.Conv2d(config.features, config.features, 3, padding=1),
                nn.LeakyReLU(SLOPE),
            )
            for channels in config.map_channels
        )
        features = config.features * len(config.map_channels)
        self.head = ProjectedText(features, config.width)
        if config.spectral:
            bound_gain(self.bodies, self.head)

    def look(self, seen: Seen) -> Tensor:
        """Map maps (B, C, h, w), as many as there are bodies, to features (B, F)."""
        looked = [body(maps).mean((2, 3)) for body, maps in zip(self.bodies, seen, strict=True)]
        return torch.cat(looked, dim=1)

    def score(self, looked: Tensor, texts: Tensor) -> Tensor:
        """Return how real pictures look, and how well they fit their texts."""
        return self.head(looked, texts)


def batch_deviation(x: Tensor) -> Tensor:
    """Return a map (B, 1, h, w) of the mean deviation within a batch (Karras 2018, 1710.10196)."""
    spread = (x.float().var(0, unbiased=False) + 1e-8).sqrt().mean()
    return spread.to(x.dtype).expand(len(x), 1, *x.shape[2:])


def bound_gain(*modules: nn.Module) -> None:
    """Bound the gain of every convolution and linear layer of the modules by the power method."""
    for module in modules:
        for part in module.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                spectral_norm(part)
