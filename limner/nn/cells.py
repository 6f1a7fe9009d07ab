"""Cells of a picture that read words: one transformer over a text and all cells at once.

Shapes: B pictures, T text positions (left-padded with 0), S cells, D width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.nn.prefix import prefix_mask, text_coordinates
from limner.nn.transformer import Transformer, TransformerConfig


class WordsAndCells(nn.Module):
    """Words see words, cells see words and cells; each of `side` x `side` cells has its place.

    Which words say what of which cell is found by attention. It has the parts of a GPT over the
    codes of the same cells, and may begin as one.
    """

    coordinates: Tensor

    def __init__(self, side: int, sizes: TransformerConfig) -> None:
        super().__init__()
        self.placed = nn.Parameter(torch.randn(side * side, sizes.width) * 0.02)
        self.transformer = Transformer(sizes)
        cells = torch.cartesian_prod(torch.arange(side), torch.arange(side))
        self.register_buffer("coordinates", cells.float(), persistent=False)

    @torch.no_grad()
    def begin_as(self, prior: Any) -> None:
        """Take places and transformer from a GPT over the codes of the same cells.

        Raises ConfigError where their sizes differ.
        """
        given = prior.state_dict()
        names = {f"transformer.{name}": own for name, own in self.transformer.state_dict().items()}
        own = {"target": self.placed, **names}
        for name, value in own.items():
            if name not in given or given[name].shape != value.shape:
                raise ConfigError(
                    f"{name} of the prior that it is to begin as does not fit; give the width, "
                    "layers, heads and hidden of that prior"
                )
            value.copy_(given[name])

    def forward(self, words: Tensor, ids: Tensor, cells: Tensor) -> Tensor:
        """Map words (B, T, D) of ids (B, T), and cells (B, S, D), to features (B, S, D)."""
        rows, prefix = ids.shape
        seen = torch.ones(len(self.placed), len(self.placed), dtype=torch.bool, device=ids.device)
        where = [text_coordinates(ids), self.coordinates.expand(rows, -1, -1)]
        x = torch.cat([words, (self.placed + cells).to(words.dtype)], dim=1)
        features: Tensor = self.transformer(x, torch.cat(where, dim=1), prefix_mask(ids, seen))
        return features[:, prefix:]
