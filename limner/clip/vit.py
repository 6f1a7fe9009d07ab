"""The vision transformer as CLIP and SigLIP have it. Shapes: B pictures, L positions, D width."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.clip.preparing import FILTERS, Preparation
from limner.errors import ConfigError
from limner.nn.checks import check_choice, check_least
from limner.nn.pre_norm import BlockConfig, PreNormBlock, activate, initialise_blocks

POOLINGS = ("class", "attention")
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class ViTConfig(BlockConfig):
    """Sizes of the image tower; `size` and `patch` in pixels.

    `pooling` makes one vector of a picture: that of a "class" token, as CLIP, or an "attention"
    over the patches, as SigLIP.
    `mean` and `std` are those of red, green and blue in [0, 1]; pictures of other sizes are
    prepared as `limner.clip.preparing` says, where `edge` 0 is `size`.
    """

    size: int = 64
    patch: int = 8
    pooling: str = "class"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    edge: int = 0
    squash: bool = False
    resample: str = "bicubic"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "size", "patch")
        if self.size % self.patch:
            raise ConfigError(f"size is {self.size}; expected a multiple of patch, {self.patch}")
        check_choice(self, "pooling", POOLINGS)
        check_choice(self, "resample", FILTERS)
        if self.edge and self.edge < self.size:
            raise ConfigError(f"edge is {self.edge}; expected at least size, {self.size}, or 0")
        if min(self.std) <= 0:
            raise ConfigError(f"std is {list(self.std)}; expected numbers above 0")


class AttentionPooling(nn.Module):
    """One learnt question to all patches, then a feed-forward network (SigLIP's head)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        width = config.width
        self.heads, self.activation = config.heads, config.activation
        self.probe = nn.Parameter(torch.randn(width) * width**-0.5)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, config.epsilon)
        self.into = nn.Linear(width, config.hidden)
        self.back = nn.Linear(config.hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, D) to one vector each (B, D)."""
        width = x.shape[2]
        weight, bias = self.qkv.weight, self.qkv.bias
        q = F.linear(self.probe.to(x.dtype).expand(len(x), 1, -1), weight[:width], bias[:width])
        k, v = F.linear(x, weight[width:], bias[width:]).chunk(2, dim=2)
        q, k, v = (each.unflatten(2, (self.heads, -1)).transpose(1, 2) for each in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        found = self.out(mixed)[:, 0]
        out: Tensor = found + self.back(activate(self.into(self.norm(found)), self.activation))
        return out


class ViT(nn.Module):
    """Patches through a transformer to one vector (arXiv 2010.11929, as in CLIP and SigLIP)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.size = config.size
        self.prepare = Preparation(
            config.size, config.edge or config.size, config.squash, config.resample
        )
        self.width = config.width
        self.pool: AttentionPooling | None = None
        width, count = config.width, (config.size // config.patch) ** 2
        classes = config.pooling == "class"
        self.patches = nn.Conv2d(3, width, config.patch, config.patch, bias=not classes)
        if classes:
            self.token = nn.Parameter(torch.randn(width) * width**-0.5)
            self.norm_before = nn.LayerNorm(width, config.epsilon)
        else:
            self.pool = AttentionPooling(config)
        self.places = nn.Parameter(torch.randn(count + classes, width) * width**-0.5)
        self.blocks = nn.ModuleList(PreNormBlock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width, config.epsilon)
        initialise_blocks(self.blocks, width)
        # Colours of [-1, 1] are those of mean and std 0.5 already.
        self.recolours = any(each != 0.5 for each in (*config.mean, *config.std))
        for name in ("mean", "std"):
            values = torch.tensor(getattr(config, name))[:, None, None]
            self.register_buffer(f"colour_{name}", values, persistent=False)

    @property
    def map_channels(self) -> tuple[int, ...]:
        """The channels of `maps`."""
        return (self.width, self.width)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Map images (B, 3, size, size) to patches half way and at the end: (B, D, h, w) each."""
        x = self._embed(images)
        first, side = int(self.pool is None), self.config.size // self.config.patch
        found = []
        for count, block in enumerate(self.blocks, start=1):
            x = block(x)
            if count in ((len(self.blocks) + 1) // 2, len(self.blocks)):
                found.append(x[:, first:].mT.unflatten(2, (side, -1)))
        return [found[0], found[-1]]  # of one block, twice the same

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, size, size) in [-1, 1] to features (B, D)."""
        x = self._embed(images)
        for block in self.blocks:
            x = block(x)
        if self.pool is None:
            classes: Tensor = self.norm(x[:, 0])
            return classes
        pooled: Tensor = self.pool(self.norm(x))
        return pooled

    def _embed(self, images: Tensor) -> Tensor:
        if self.recolours:
            mean, std = self.get_buffer("colour_mean"), self.get_buffer("colour_std")
            images = (images / 2 + 0.5 - mean) / std
        x: Tensor = self.patches(images).flatten(2).mT  # (B, patches, D)
        if self.pool is not None:
            return x + self.places
        x = torch.cat([self.token.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
        placed: Tensor = self.norm_before(x + self.places)
        return placed
