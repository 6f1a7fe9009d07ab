"""The block of ViT, CLIP and SigLIP: layer norms before attention and feed-forward, with biases.

Shapes: B rows, L positions, D width, H heads, K = D / H.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import ConfigError
from limner.nn.checks import check_choice, check_least

ACTIVATIONS = ("gelu", "quick_gelu", "gelu_tanh")
_LAYERS_LIMIT = 256


@dataclass(frozen=True)
class BlockConfig:
    """Sizes of a stack of blocks; `hidden` is the width inside the feed-forward.

    `activation` "quick_gelu" is x * sigmoid(1.702 x), as OpenAI's weights were trained, "gelu_tanh"
    an approximation, as SigLIP's were; `epsilon` is that of the layer norms.
    """

    width: int = 192
    layers: int = 6
    heads: int = 4
    hidden: int = 768
    activation: str = "gelu"
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        check_least(self, "width", "layers", "heads", "hidden")
        check_least(self, "epsilon", least=0)
        if self.layers > _LAYERS_LIMIT:
            raise ConfigError(f"layers is {self.layers}; expected at most {_LAYERS_LIMIT}")
        if self.width % self.heads:
            raise ConfigError(f"width is {self.width}; expected a multiple of {self.heads} heads")
        check_choice(self, "activation", ACTIVATIONS)


def activate(x: Tensor, activation: str) -> Tensor:
    """Return x through one of ACTIVATIONS."""
    if activation == "quick_gelu":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if activation == "gelu_tanh" else "none")


class PreNormBlock(nn.Module):
    """Attention, then feed-forward, each layer-normalised before and added after."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.heads, self.activation = config.heads, config.activation
        self.attention_norm = nn.LayerNorm(config.width, config.epsilon)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.feed_forward_norm = nn.LayerNorm(config.width, config.epsilon)
        self.into = nn.Linear(config.width, config.hidden)
        self.back = nn.Linear(config.hidden, config.width)

    def forward(self, x: Tensor, *, causal: bool = False, mask: Tensor | None = None) -> Tensor:
        """Map (B, L, D) to the same shape; `causal` positions see those before them alone.

        `mask` (B, 1, L, L) says instead which positions each one sees.
        """
        qkv = self.qkv(self.attention_norm(x)).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, H, L, K) each
        mixed = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        hidden = activate(self.into(self.feed_forward_norm(x)), self.activation)
        out: Tensor = x + self.back(hidden)
        return out


def initialise_blocks(blocks: nn.ModuleList, width: int) -> None:
    """Scale new blocks by width and depth (OpenAI CLIP's `initialize_parameters`)."""
    depth = (2 * len(blocks)) ** -0.5
    for block in blocks.children():  # the more there are, the less each adds
        assert isinstance(block, PreNormBlock)
        nn.init.normal_(block.qkv.weight, std=width**-0.5)
        nn.init.normal_(block.out.weight, std=width**-0.5 * depth)
        nn.init.normal_(block.into.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(block.back.weight, std=width**-0.5 * depth)
        for linear in (block.qkv, block.out, block.into, block.back):
            nn.init.zeros_(linear.bias)
