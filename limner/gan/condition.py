"""What the words say to a GAN: ids to one vector, and that to a condition drawn around it.

Shapes: B pictures, T token positions (left-padded with id 0), W width of the text's features, C
width of the condition.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.nn.checks import check_least
from limner.text.encoders import check_text_encoder, mean_of_tokens, text_encoder_of

OWN_TEXT = {"layers": 2, "heads": 4, "hidden": 256}  # of our own encoder where none is named


@dataclass(frozen=True)
class TextConditioned:
    """What every generator and discriminator is told: how its text is read, how large pictures are.

    `width` is that of the text's features, `size` that of the pictures in pixels; `text_encoder`
    {} is our own. Of a codec's latent `size` is in cells, each of so many `channels_drawn`.
    """

    text_vocabulary: int
    size: int = 64
    channels_drawn: int = 3
    width: int = 128
    text_encoder: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_least(self, "text_vocabulary", "size", "width", "channels_drawn")
        check_text_encoder(self, OWN_TEXT)


def check_doublings(size: int, patch: int, channels: tuple[int, ...], starts: int = 4) -> None:
    """Raise ConfigError unless so many widths lead from `starts` cells a side to the pictures."""
    if min(channels, default=0) < 4 or any(each % 4 for each in channels):
        raise ConfigError(f"channels are {list(channels)}; expected multiples of 4, at least one")
    side = starts * 2 ** (len(channels) - 1) * patch  # pixels
    if side != size:
        raise ConfigError(
            f"{len(channels)} channels with patch {patch} make {side} pixels, but size is {size}; "
            "give a width for 4 cells a side and one for each doubling"
        )


class Condition(NamedTuple):
    """A drawn condition (B, C), and the mean and log variance (B, C) that it was drawn with."""

    drawn: Tensor
    mean: Tensor
    log_variance: Tensor


class SentenceEncoder(nn.Module):
    """Token features by any text encoder, and their mean."""

    def __init__(self, config: TextConditioned) -> None:
        super().__init__()
        self.text = text_encoder_of(config, OWN_TEXT)

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (B, T) to vectors (B, W); of a text without a token, the last position's."""
        return mean_of_tokens(self.text(ids), ids)


class Conditioning(nn.Module):
    """A sentence's vector to a Gaussian around what it means (Zhang 2017, 1612.03242, eq. 2)."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.both = nn.Linear(width, 2 * condition)

    def forward(self, sentences: Tensor, chance: Tensor) -> Condition:
        """Map vectors (B, W) and unit noise (B, C) to conditions (B, C)."""
        mean, log_variance = self.both(self.norm(sentences)).float().chunk(2, dim=1)
        log_variance = log_variance.clamp(-10, 10)
        return Condition(mean + (0.5 * log_variance).exp() * chance, mean, log_variance)


@torch.no_grad()
def small_weights(module: nn.Module) -> None:
    """Draw the weights of convolutions from N(0, 0.02), as DCGAN does (1511.06434, section 4)."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            part.weight.normal_(0, 0.02)
