"""A generator whose cells read the words: a text, a condition and noise to a codec's latent.

With `levels` it says how likely each value of the codec's finite scalars is, and draws the
likeliest; the gradient of what is drawn is that of what is expected (straight through, Bengio 2013,
arXiv 1308.3432).

Shapes: B pictures, T text positions (left-padded with 0), S cells, C width of the condition, Z of
the noise, D of the transformer.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.gan.generator import Generator, GeneratorConfig, mapping
from limner.nn.cells import WordsAndCells
from limner.nn.checks import check_heads, check_least
from limner.nn.scalars import ScalarHead, check_levels
from limner.nn.transformer import TransformerConfig


@dataclass(frozen=True)
class CellsConfig(GeneratorConfig):
    """Sizes of the transformer, of the `style`, and of what it says of each cell, `local`.

    `patch` pixels or numbers a side make a cell. `levels` are those of the codec's finite scalars,
    or none, and numbers are drawn as they come.
    """

    width: int = 256
    layers: int = 6
    heads: int = 4
    hidden: int = 704
    style: int = 192
    local: int = 16
    patch: int = 1
    levels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_levels(self.levels, self.patch)
        check_least(self, "layers", "heads", "hidden", "style", "local", "patch")
        check_heads(self.width, self.heads)
        if self.size % self.patch:
            raise ConfigError(f"size is {self.size}; expected a multiple of the patch {self.patch}")


class CellsGenerator(Generator):
    """A transformer over the text and all cells at once (GigaGAN, arXiv 2303.05511, section 3.2).

    Condition and noise become one style, as in StyleGAN, which says something to each cell.
    """

    reads_words: ClassVar[bool] = True

    def __init__(self, config: CellsConfig) -> None:
        super().__init__(config)
        side, width = config.size // config.patch, config.width
        self.side, self.patch = side, config.patch
        self.mapping = mapping(config, config.style)
        self.whole = nn.Linear(config.style, width)
        self.local = nn.Linear(config.style, side * side * config.local)
        self.into = nn.Linear(config.local, width)
        self.cells = WordsAndCells(
            side, TransformerConfig(width, config.layers, config.heads, config.hidden)
        )
        self.out: nn.Linear
        if config.levels:
            self.out = ScalarHead(width, config.channels_drawn, config.levels)
        else:
            self.out = nn.Linear(width, config.channels_drawn * config.patch**2)

    def begin_as(self, prior: Any) -> None:
        """Take places, transformer and values from a GPT over the codes of the same cells."""
        self.cells.begin_as(prior)
        if isinstance(self.out, ScalarHead):
            self.out.begin_as(prior)

    def paint(self, condition: Tensor, noise: Tensor, ids: Tensor) -> Tensor:
        """Map conditions (B, C), noise (B, Z) and texts (B, T) to latents (B, G, h, w).

        With `levels` these are logits (B, S, G, V) of the latent's values.
        """
        # 1. What the style says of all cells and of each.
        style = self.mapping(torch.cat([condition, noise], dim=1))
        local = self.into(self.local(style).unflatten(1, (self.side**2, -1)))
        x = self.cells(self.sentence.text(ids), ids, self.whole(style)[:, None] + local)
        drawn: Tensor = self.out(x)
        if isinstance(self.out, ScalarHead):
            return drawn  # logits (B, S, G, V)
        # 2. The numbers of each cell, and of a patch the pixels.
        return nn.functional.pixel_shuffle(
            drawn.mT.unflatten(2, (self.side, self.side)), self.patch
        )

    def finish(self, painted: Tensor) -> Tensor:
        """Map what `paint` returns to latents (B, G, h, w) in fp32: of logits the likeliest."""
        if not isinstance(self.out, ScalarHead):
            return super().finish(painted)
        return self.out.likeliest(painted).mT.unflatten(2, (self.side, self.side))

    def values_loss(self, painted: Tensor, true: Tensor) -> Tensor:
        """Return the cross-entropy of logits (B, S, G, V) with true latents, in nats a number."""
        assert isinstance(self.out, ScalarHead), "asked only where values are told apart"
        return self.out.loss(painted, true.flatten(2).mT)
