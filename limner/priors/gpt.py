"""The GPT prior: one stream of text tokens and image tokens (DALL-E, arXiv 2102.12092).

Shapes: B pictures, T text positions (left-padded with 0), S = h * w cells of the grid, G codes a
cell, V values of a code, D width. The text is a prefix whose positions see each other; cells see
the text and the cells drawn before them. The input that predicts a cell holds the codes drawn
before it, where those lie, and which cell comes next; so any order can be learnt (RAR, Yu 2024,
arXiv 2411.00776) and a raster order is the plain case.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import ConfigError, UsageError
from limner.nn.transformer import Transformer, TransformerConfig
from limner.priors.codes import CellHead, CodeTable, embed_cells
from limner.priors.decoding import Decoder
from limner.sampling.tokens import TokenSampling
from limner.text.encoders import OwnEncoder, OwnEncoderConfig

ROWS_AT_ONCE = 4  # pictures drawn together: fixed, so that a picture never depends on its company


@dataclass(frozen=True)
class GPTConfig:
    """Sizes of the prior, and the codec's: `groups` codes a cell of `vocabulary` values each.

    `levels` are the codec's levels of finite scalar quantisation, where it has such.
    """

    text_vocabulary: int
    vocabulary: int
    grid: tuple[int, int] = (8, 8)
    groups: int = 1
    levels: tuple[int, ...] = ()
    width: int = 256
    layers: int = 6
    heads: int = 4
    hidden: int = 704

    def __post_init__(self) -> None:
        sizes = ("text_vocabulary", "vocabulary", "groups", "width", "layers", "heads", "hidden")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least 1")
        if min(self.grid) < 1:
            raise ConfigError(f"grid is {list(self.grid)}; expected at least 1 row and column")
        if any(level < 2 for level in self.levels):
            raise ConfigError(f"levels is {list(self.levels)}; expected each to be at least 2")
        if self.width % (self.heads * 4):
            raise ConfigError(
                f"width is {self.width} for {self.heads} heads; expected a multiple of 4 x heads, "
                f"as {-(-self.width // (self.heads * 4)) * self.heads * 4}"
            )


class GPT(nn.Module):
    """Decoder-only transformer over text and image codes with an image-only head."""

    image_coordinates: Tensor

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.length = config.grid[0] * config.grid[1]
        width = config.width
        coding = (config.groups, config.vocabulary, config.levels, width)
        self.text = OwnEncoder(OwnEncoderConfig(config.text_vocabulary, width))
        self.codes = CodeTable(*coding, config.groups**-0.5)
        self.begin = nn.Parameter(torch.zeros(width))
        self.placed = nn.Parameter(torch.randn(self.length, width) * 0.02)
        self.target = nn.Parameter(torch.randn(self.length, width) * 0.02)
        self.transformer = Transformer(
            TransformerConfig(width, config.layers, config.heads, config.hidden)
        )
        self.head = CellHead(*coding, hidden=width)
        rows, columns = torch.meshgrid(
            torch.arange(config.grid[0]), torch.arange(config.grid[1]), indexing="ij"
        )
        coordinates = torch.stack([rows, columns], dim=-1).view(-1, 2)
        self.register_buffer("image_coordinates", coordinates, persistent=False)

    def forward(self, text: Tensor, codes: Tensor, order: Tensor | None = None) -> Tensor:
        """Return logits (B, S, G, V) of codes (B, S) or (B, S, G) in `order`, teacher-forced.

        `order` (B, S) lists cells in the order they are drawn; None is raster. Logits come in that
        order.
        """
        if order is None:
            order = torch.arange(self.length, device=codes.device).expand(len(codes), -1)
        drawn = self._in_order(codes, order)
        inputs = self.codes()
        image = embed_cells(inputs, drawn[:, :-1]) + self.placed[order[:, :-1]]
        image = torch.cat([self.begin.expand(len(codes), 1, -1), image], dim=1)
        image = image + self.target[order]
        x = torch.cat([self.text(text), image], dim=1)
        coordinates = torch.cat([self.text_coordinates(text), self.image_coordinates[order]], dim=1)
        features = self.transformer(x, coordinates, self.mask(text))[:, text.shape[1] :]
        logits: Tensor = self.head(features, drawn, inputs)
        return logits

    def loss(self, text: Tensor, codes: Tensor, order: Tensor | None = None) -> Tensor:
        """Return the mean negative log-likelihood in nats a code."""
        logits = self(text, codes, order)
        wanted = self._in_order(codes, order)
        return F.cross_entropy(logits.flatten(0, 2).float(), wanted.flatten())

    def stream(
        self,
        text: Tensor,
        sampling: TokenSampling,
        seeds: Sequence[int],
        given: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """Draw codes in raster order for text (B, T), yielding (B, <= S, G) after every cell.

        Picture i uses `seeds[i]` alone. Where `keep` (B, S) is true the codes of `given` (B, S, G)
        are taken. At most ROWS_AT_ONCE pictures; fewer are padded to that many, so that the
        arithmetic of a picture is the same alone and in company. With one code a cell the last
        dimension is left out. Raises UsageError for more pictures.
        """
        count = len(text)
        if count > ROWS_AT_ONCE:
            raise UsageError(f"{count} pictures at once; this prior draws at most {ROWS_AT_ONCE}")
        groups = self.config.groups
        noise = torch.stack([_uniforms(seed, self.length, groups) for seed in seeds])
        uniforms = _fill(noise.to(text.device))
        decoder = Decoder(self, _fill(text), sampling)
        codes = text.new_zeros(ROWS_AT_ONCE, 0, groups)
        for cell in range(self.length):
            chosen = decoder.step(codes, uniforms[:, cell])
            if given is not None and keep is not None:
                known = _fill(given).reshape(ROWS_AT_ONCE, self.length, groups)[:, cell]
                chosen = torch.where(_fill(keep)[:, cell, None], known, chosen)
            codes = torch.cat([codes, chosen[:, None]], dim=1)
            yield codes[:count] if groups > 1 else codes[:count, :, 0]

    def _in_order(self, codes: Tensor, order: Tensor | None) -> Tensor:
        cells = codes.reshape(len(codes), self.length, self.config.groups)
        if order is None:
            return cells
        return cells.gather(1, order[..., None].expand(-1, -1, self.config.groups))

    @staticmethod
    def text_coordinates(text: Tensor) -> Tensor:
        """Return where the positions of text (B, T) lie (B, T, 2): before the first cell."""
        before = torch.arange(text.shape[1], device=text.device) - text.shape[1]
        return before[None, :, None].expand(len(text), -1, 2)

    def mask(self, text: Tensor) -> Tensor:
        """Return who may see whom (B, 1, T + S, T + S)."""
        prefix = text.shape[1]
        total = prefix + self.length
        causal = torch.ones(total, total, dtype=torch.bool, device=text.device).tril()
        causal[:prefix, :prefix] = True
        real = F.pad(text != 0, (0, self.length), value=True)
        allowed = causal[None] & real[:, None, :]
        return (allowed | torch.eye(total, dtype=torch.bool, device=text.device))[:, None]


def _uniforms(seed: int, cells: int, groups: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(cells, groups, generator=generator, dtype=torch.float64)


def _fill(rows: Tensor) -> Tensor:
    missing = ROWS_AT_ONCE - len(rows)
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows
