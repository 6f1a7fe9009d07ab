"""The vision transformer as CLIP has it. Shapes: B pictures, L patches + 1, D width."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.clip.preparing import Preparation
from limner.errors import ConfigError
from limner.nn.checks import check_choice, check_least

ACTIVATIONS = ("gelu", "quick_gelu")
_LAYERS_LIMIT = 256


@dataclass(frozen=True)
class ViTConfig:
    """Sizes of the image tower; `size` and `patch` in pixels, `hidden` inside the feed-forward.

    `activation` "quick_gelu" is x * sigmoid(1.702 x), as OpenAI's weights were trained.
    """

    size: int = 64
    patch: int = 8
    width: int = 192
    layers: int = 6
    heads: int = 4
    hidden: int = 768
    activation: str = "gelu"

    def __post_init__(self) -> None:
        check_least(self, "size", "patch", "width", "layers", "heads", "hidden")
        if self.layers > _LAYERS_LIMIT:
            raise ConfigError(f"layers is {self.layers}; expected at most {_LAYERS_LIMIT}")
        if self.size % self.patch:
            raise ConfigError(f"size is {self.size}; expected a multiple of patch, {self.patch}")
        if self.width % self.heads:
            raise ConfigError(f"width is {self.width}; expected a multiple of {self.heads} heads")
        check_choice(self, "activation", ACTIVATIONS)


class VisionBlock(nn.Module):
    """Attention, then feed-forward, each layer-normalised before and added after."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.quick = config.activation == "quick_gelu"
        self.attention_norm = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.feed_forward_norm = nn.LayerNorm(config.width)
        self.into = nn.Linear(config.width, config.hidden)
        self.back = nn.Linear(config.hidden, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, D) to the same shape."""
        qkv = self.qkv(self.attention_norm(x)).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, H, L, K) each
        mixed = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        hidden = self.into(self.feed_forward_norm(x))
        hidden = hidden * torch.sigmoid(1.702 * hidden) if self.quick else F.gelu(hidden)
        return x + self.back(hidden)


class ViT(nn.Module):
    """Patches and a class token through a transformer (arXiv 2010.11929, as in CLIP)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.size = config.size
        self.prepare = Preparation(config.size, config.size)
        self.width = config.width
        width, count = config.width, (config.size // config.patch) ** 2  # L - 1 patches
        self.patches = nn.Conv2d(3, width, config.patch, config.patch, bias=False)
        self.token = nn.Parameter(torch.randn(width) * width**-0.5)
        self.places = nn.Parameter(torch.randn(count + 1, width) * width**-0.5)
        self.norm_before = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self._initialise()

    @property
    def map_channels(self) -> tuple[int, ...]:
        """The channels of `maps`."""
        return (self.width, self.width)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Map images (B, 3, size, size) to patches half way and at the end: (B, D, h, w) each."""
        x = self._embed(images)
        found = []
        for count, block in enumerate(self.blocks, start=1):
            x = block(x)
            if count in ((len(self.blocks) + 1) // 2, len(self.blocks)):
                found.append(x[:, 1:].mT.unflatten(2, (self.config.size // self.config.patch, -1)))
        return [found[0], found[-1]]  # of one block, twice the same

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, size, size) in [-1, 1] to the class token's features (B, D)."""
        x = self._embed(images)
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, 0])

    def _embed(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).mT  # (B, L - 1, D)
        x = torch.cat([self.token.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
        return self.norm_before(x + self.places)

    def _initialise(self) -> None:
        """Scale by width and depth (OpenAI CLIP's `initialize_parameters`, towers of the text)."""
        width, depth = self.config.width, (2 * self.config.layers) ** -0.5
        for block in self.blocks.children():  # the more there are, the less each adds
            assert isinstance(block, VisionBlock)
            nn.init.normal_(block.qkv.weight, std=width**-0.5)
            nn.init.normal_(block.out.weight, std=width**-0.5 * depth)
            nn.init.normal_(block.into.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.back.weight, std=width**-0.5 * depth)
            for linear in (block.qkv, block.out, block.into, block.back):
                nn.init.zeros_(linear.bias)
