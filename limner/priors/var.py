"""The prior of VAR: a class of ImageNet, then one whole token map at a time, coarse to fine.

Shapes: B pictures, M maps, S cells of all maps, N of one, V codes, C dimensions of a code, D width,
h and w the finest map. Tian 2024, arXiv 2404.02905; github.com/FoundationVision/VAR, models/var.py
and basic_var.py: layers whose norms a class scales and shifts, and attention by cosine. It comes
from published weights. A cell reads what the codec has summed up of the maps before its own, so
that the prior has the codebook and the phis of its codec.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import ConfigError
from limner.nn.checks import check_heads, check_least
from limner.nn.maps import Phi, lower_map, phi_of_map, raise_map
from limner.nn.transformer import KeyValueCache, TransformerConfig, neighbours_apart, rotate
from limner.priors import base
from limner.priors.by_map import MapDrawing, MapPrior
from limner.sampling.tokens import TokenSampling
from limner.types import LogitsProcessor

EPSILON = 1e-6  # of norms
SHARPEST = log(100)  # the greatest logarithm of what a cosine is multiplied by


@dataclass(frozen=True)
class VARConfig:
    """Sizes of the transformer; `text_vocabulary` counts the classes, and 0 for none.

    `maps` are rows and columns of the codec's token maps, which share a few `phis`; `dimensions`
    are those of a code. Where `common`, all layers take one map of the class, each with an offset
    of its own, as the model of 512 pixels does.
    """

    text_vocabulary: int
    maps: base.Maps
    vocabulary: int = 4096
    dimensions: int = 32
    phis: int = 4
    width: int = 1024
    layers: int = 16
    heads: int = 16
    hidden: int = 4096
    common: bool = False
    groups: ClassVar[int] = 1
    levels: ClassVar[tuple[int, ...]] = ()

    def __post_init__(self) -> None:
        check_least(self, "vocabulary", "dimensions", "phis", "width", "layers", "heads", "hidden")
        check_least(self, "text_vocabulary", least=2)
        check_heads(self.width, self.heads)
        if not self.maps or any(min(each) < 1 for each in self.maps):
            raise ConfigError(
                f"maps is {[list(each) for each in self.maps]}; expected some, each of at least 1 "
                "row and column"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the finest map."""
        return self.maps[-1]


class Layer(nn.Module):
    """Attention by cosine, then a feed-forward; a class scales, shifts and gates both."""

    def __init__(self, config: Any, *, common: bool) -> None:
        """Have the `width`, `heads` and `hidden` of a config; `common` as VARConfig."""
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.query_bias = nn.Parameter(torch.zeros(width))
        self.value_bias = nn.Parameter(torch.zeros(width))
        self.sharpness = nn.Parameter(torch.zeros(1, config.heads, 1, 1))
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, config.hidden)
        self.down = nn.Linear(config.hidden, width)
        if common:
            self.offset = nn.Parameter(torch.zeros(1, 1, 6, width))
        else:
            self.condition = nn.Linear(width, 6 * width)
        self.common = common

    def changes(self, told: Tensor) -> Tensor:
        """Return gates, scales and shifts (B, 1, 6, D) of a class (B, D), or of what all share."""
        if self.common:
            return told + self.offset
        return self.condition(F.silu(told)).view(len(told), 1, 6, -1)

    def forward(
        self,
        x: Tensor,
        changes: Tensor,
        mask: Tensor | None,
        cache: KeyValueCache | None = None,
        layer: int = 0,
    ) -> Tensor:
        """Map x (B, L, D) to the same shape; `mask` (L, L) is true where one sees another."""
        gate, gate_2, scale, scale_2, shift, shift_2 = changes.unbind(2)  # (B, 1, D) each
        x = x + gate * self.attend(normed(x, scale, shift), mask, cache, layer)
        return x + gate_2 * self.feed(normed(x, scale_2, shift_2))

    def attend(
        self,
        x: Tensor,
        mask: Tensor | None,
        cache: KeyValueCache | None,
        layer: int,
        rotary: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Return what cells x (B, L, D) see in one another, turned by `rotary` where there is any.

        By the cosine of query and key, the sharper the greater a head's number is.
        """
        bias = torch.cat([self.query_bias, torch.zeros_like(self.query_bias), self.value_bias])
        parts = F.linear(x, self.qkv.weight, bias).unflatten(2, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # (B, H, L, K) each
        q = F.normalize(q, dim=-1) * self.sharpness.clamp_max(SHARPEST).exp()
        k = F.normalize(k, dim=-1)
        if rotary is not None:
            q, k = (rotate(neighbours_apart(each), *rotary) for each in (q, k))
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out

    def feed(self, x: Tensor) -> Tensor:
        """Map each cell of x (B, L, D) for itself."""
        out: Tensor = self.down(F.gelu(self.up(x), approximate="tanh"))
        return out


def normed(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return x (B, L, D) normalised, then scaled and shifted by (B, 1, D) each."""
    return F.layer_norm(x, x.shape[-1:], eps=EPSILON) * (1 + scale) + shift


class VAR(MapPrior):
    """A class and token maps, as VAR's models of ImageNet draw; a text is the id of a class."""

    map_numbers: Tensor

    def __init__(self, config: VARConfig) -> None:
        super().__init__()
        self.config = config
        self.slices = base.map_slices(self.maps)
        width, (rows, columns) = config.width, self.maps[0]
        self.codebook = nn.Embedding(config.vocabulary, config.dimensions)
        self.phi = nn.ModuleList(Phi(config.dimensions) for _ in range(config.phis))
        self.classes = nn.Embedding(config.text_vocabulary, width)  # the last is none
        self.begin = nn.Parameter(torch.zeros(1, rows * columns, width))
        self.placed = nn.Parameter(torch.zeros(1, self.length, width))
        self.map_embedding = nn.Embedding(len(self.maps), width)
        self.into = nn.Linear(config.dimensions, width)
        self.common = nn.Linear(width, 6 * width) if config.common else nn.Identity()
        self.layers = nn.ModuleList(
            Layer(config, common=config.common) for _ in range(config.layers)
        )
        self.condition = nn.Linear(width, 2 * width)
        self.head = nn.Linear(width, config.vocabulary)
        numbers = [torch.full((rows * columns,), k) for k, (rows, columns) in enumerate(self.maps)]
        self.register_buffer("map_numbers", torch.cat(numbers), persistent=False)

    @property
    def batch_rows(self) -> int:
        """As PriorBase: on a processor two take twice as long, and one waits for no other."""
        return 1

    def text(self, ids: Tensor) -> Tensor:
        """Return the vectors (B, D) of the classes of ids (B, T), the last of each row; 0 none."""
        last = ids[:, -1]
        return self.classes(torch.where(last == 0, self.config.text_vocabulary, last) - 1)

    def changes(self, told: Tensor) -> list[Tensor]:
        """Return the gates, scales and shifts (B, 1, 6, D) of every layer, of classes (B, D)."""
        if self.config.common:
            told = self.common(F.silu(told)).view(len(told), 1, 6, -1)
        layers: Any = self.layers
        return [layer.changes(told) for layer in layers]

    def added(self, codes: Tensor, which: int) -> Tensor:
        """Return what codes (B, N) of a map add to the finest grid (B, C, h, w)."""
        values = self.codebook(codes).mT.unflatten(2, self.maps[which])
        phi = self.phi[phi_of_map(which, len(self.maps), self.config.phis)]
        return raise_map(values, phi, self.maps[-1])

    def inputs(self, told: Tensor, known: Tensor | None, which: int) -> Tensor:
        """Return what cells of a map read (B, N, D): a class, or the sum (B, C, h, w) so far."""
        cells = self.slices[which]
        own = self.placed[:, cells] + self.map_embedding(self.map_numbers[cells])
        if known is None:
            return told[:, None] + self.begin + own
        return self.into(lower_map(known, self.maps[which]).flatten(2).mT) + own

    def logits(self, x: Tensor, told: Tensor) -> Tensor:
        """Return logits (B, L, V) of what the layers made of cells (B, L, D)."""
        scale, shift = self.condition(F.silu(told)).view(len(told), 1, 2, -1).unbind(2)
        logits: Tensor = self.head(normed(x, scale, shift))
        return logits

    def forward(self, text: Tensor, codes: Tensor, sampled: None = None) -> Tensor:
        """Return logits (B, S, 1, V) of codes (B, S), teacher-forced, map after map."""
        told, codes = self.text(text), codes.flatten(1)
        x, known = [self.inputs(told, None, 0)], torch.zeros(())
        for which, cells in enumerate(self.slices[:-1]):
            known = known + self.added(codes[:, cells], which)
            x.append(self.inputs(told, known, which + 1))
        seen = self.map_numbers[None, :] <= self.map_numbers[:, None]
        states = torch.cat(x, dim=1)
        for layer, changes in zip(self.layers, self.changes(told), strict=True):
            states = layer(states, changes, seen)
        return self.logits(states, told)[:, :, None]

    def begin_drawing(
        self, text: Tensor, sampling: TokenSampling, processors: Sequence[LogitsProcessor]
    ) -> MapDrawing:
        """As MapPrior."""
        return VARDrawing(self, text, sampling, processors)


class VARDrawing(MapDrawing):
    """One drawing in progress: the cache, and the sum of the maps drawn so far."""

    prior: VAR

    def __init__(
        self,
        prior: VAR,
        text: Tensor,
        sampling: TokenSampling,
        processors: Sequence[LogitsProcessor] = (),
    ) -> None:
        super().__init__(prior, text, sampling, processors)
        self.classes = prior.text(self.told(text))  # (B or 2B, D)
        self.changes = prior.changes(self.classes)
        config = prior.config
        sizes = TransformerConfig(config.width, config.layers, config.heads, config.hidden)
        self.cache = KeyValueCache(sizes, len(self.classes), prior.length, text.device)
        self.known: Tensor | None = None  # (B, C, h, w)

    def draw(self, which: int, noise: Tensor) -> Tensor:
        """Return the codes (B, N, 1) of a map by uniform numbers (B, N, 1)."""
        prior, rows = self.prior, len(self.classes)
        x = prior.inputs(self.classes, self.known, which)
        x = x.repeat(rows // len(x), 1, 1)  # guided rows have drawn the same
        layers = zip(prior.layers, self.changes, strict=True)
        for number, (layer, changes) in enumerate(layers):
            x = layer(x, changes, None, self.cache, number)
        self.cache.filled += x.shape[1]
        logits = prior.logits(x, self.classes).flatten(0, 1)
        chosen = self.picker(which, noise)(logits, 0)
        return chosen[: noise.shape[0] * noise.shape[1]].view(noise.shape)

    def take(self, which: int, codes: Tensor) -> None:
        """Let the maps that follow know the codes (B, N, 1) of a map."""
        super().take(which, codes)
        if which + 1 < len(self.prior.maps):
            added = self.prior.added(codes[..., 0], which)
            self.known = added if self.known is None else self.known + added
