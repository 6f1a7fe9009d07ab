"""The prior of ruDALL-E: CogView's layers over text and image codes, most of which see but a part.

Shapes: B pictures, T text positions, S cells, V codes, D width. github.com/ai-forever/ru-dalle
1.1.3, rudalle/dalle: layers of GPT-2 with a norm behind each part too (CogView, Ding 2021, arXiv
2105.13290), GELU by tanh, cells placed by row and by column, and rows, columns and, in the last
layer, windows of the picture that are seen. Each place of the text has a padding id of its own. It
comes from published weights.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.nn.checks import check_least
from limner.nn.engine import Seen
from limner.nn.prefix import filled_behind
from limner.nn.windows import allowed
from limner.priors import base, gpt2

BEGIN = 2  # the tokenizer's own id that begins a text


@dataclass(frozen=True)
class RuDalleConfig:
    """Sizes of the transformer.

    `text_vocabulary` counts the ids of the tokenizer, 0 for padding among them. In `version` 2 one
    position more begins the text, and windows go on at the other side of the picture; Malevich has
    both versions, and limner knows 2 and 3.
    """

    text_vocabulary: int
    vocabulary: int = 8192
    text_length: int = 128
    grid: tuple[int, int] = (32, 32)
    width: int = 2048
    layers: int = 24
    heads: int = 16
    version: int = 3
    groups: ClassVar[int] = 1
    levels: ClassVar[tuple[int, ...]] = ()
    maps: ClassVar[base.Maps] = ()

    def __post_init__(self) -> None:
        check_least(self, "vocabulary", "text_length", "width", "layers", "heads")
        check_least(self, "text_vocabulary", least=BEGIN + 2)
        if self.version not in (2, 3):
            raise ConfigError(f"version is {self.version}; expected 2 or 3")
        if min(self.grid) < 1 or self.grid[0] != self.grid[1]:
            raise ConfigError(f"grid is {list(self.grid)}; expected a square")
        if self.width % self.heads:
            raise ConfigError(
                f"width is {self.width} for {self.heads} heads; expected a multiple of them"
            )


class RuDalle(gpt2.GPT2Base):
    """Decoder-only transformer over text and image codes, as ruDALL-E's models are."""

    sandwich: ClassVar[bool] = True

    def __init__(self, config: RuDalleConfig) -> None:
        width, length = config.width, config.text_length
        rows = config.text_vocabulary - 1 + length  # ids of the tokenizer, then one for each place
        super().__init__(config, rows + config.vocabulary)
        self.text_embed = nn.Embedding(rows, width)
        self.text_placed = nn.Embedding(length + 1, width)  # version 3 uses all but the last
        self.rows = nn.Embedding(config.grid[0], width)
        self.columns = nn.Embedding(config.grid[1], width)

    @property
    def prefix(self) -> int:
        """How many positions the text has."""
        return int(self.config.text_length) + (self.config.version == 2)

    def seen(self, length: int) -> Seen:
        """Return who may see whom of so many positions: rows, columns, windows (3, N, N)."""
        config, last = self.config, self.config.layers - 1
        kinds = ("row", "column", "torus" if config.version == 2 else "window")
        # Where the picture begins is where the text without its beginning ends, in both versions.
        masks = [allowed(kind, config.text_length, config.grid[0]) for kind in kinds]
        seen = torch.stack(masks)[:, :length, :length]
        # Every fourth layer from the second on sees columns, and the last one windows.
        order = [1 if at % 4 == 1 else 2 if at == last else 0 for at in range(config.layers)]
        return seen, order

    def text(self, ids: Tensor) -> Tensor:
        """Return the vectors (B, T, D) of ids (B, <= T), T one more in version 2."""
        own = torch.arange(self.config.text_length, device=ids.device)
        own = own + self.config.text_vocabulary - 1
        theirs = filled_behind(ids, own)
        theirs = torch.where(theirs == 0, own, theirs)  # what pads there is 0 too
        if self.config.version == 2:
            theirs = nn.functional.pad(theirs, (1, 0), value=BEGIN)
        out: Tensor = self.text_embed(theirs) + self.text_placed.weight[: self.prefix]
        return out

    def cells(self, codes: Tensor, first: int = 0) -> Tensor:
        """Return the vectors (B, L, D) of codes (B, L) of the cells from `first` on."""
        side = self.config.grid[1]
        where = torch.arange(first, first + codes.shape[1], device=codes.device)
        out: Tensor = self.embed(codes) + self.rows(where // side) + self.columns(where % side)
        return out
