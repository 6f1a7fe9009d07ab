"""What a U-Net is made of: residual blocks that know the time, and attention with a context.

Shapes: B pictures, C channels, H and W cells, E width of the time vector, L context tokens of
width D.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TimedBlock(nn.Module):
    """Two convolutions around a skip; the time scales and shifts between them.

    Dhariwal 2021, arXiv 2105.05233, section 3.1 ("adaptive group normalisation"). Without `scales`
    it shifts alone (Ho 2020, arXiv 2006.11239). `changed` says whether cells are "halved" on the
    way, by their means, or "doubled" (Dhariwal 2021, "BigGAN up/downsampling"). `groups` is as in
    `group_norm`.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        time_width: int,
        *,
        groups: int = 0,
        scales: bool = True,
        changed: str = "",
    ) -> None:
        super().__init__()
        self.scales, self.changed = scales, changed
        self.norm1 = group_norm(channels, groups)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.time = nn.Linear(time_width, (1 + scales) * out_channels)
        self.norm2 = group_norm(out_channels, groups)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        same = channels == out_channels
        self.skip = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Map (B, C, H, W) and time vectors (B, E) to (B, out_channels, H, W), H and W changed."""
        h = F.silu(self.norm1(x))
        if self.changed == "halved":
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        elif self.changed == "doubled":
            h, x = (F.interpolate(each, scale_factor=2.0) for each in (h, x))
        h = self.conv1(h)  # (B, out_channels, H, W)
        told = self.time(F.silu(time))[..., None, None]
        if self.scales:
            scale, shift = told.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + told)
        return self.skip(x) + self.conv2(F.silu(h))


class ContextAttention(nn.Module):
    """Cells look at one another and at a context of tokens in one softmax, around a skip.

    Nichol 2021, arXiv 2112.10741 (GLIDE), section 4: the context's keys and values are projected
    apart and stand behind those of the cells.
    """

    def __init__(self, channels: int, heads: int, context_width: int, groups: int = 0) -> None:
        super().__init__()
        self.heads = heads
        self.norm = group_norm(channels, groups)
        self.queries_keys_values = nn.Conv2d(channels, 3 * channels, 1)
        self.context = nn.Linear(context_width, 2 * channels) if context_width else None
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, context: Tensor | None, real: Tensor | None) -> Tensor:
        """Map (B, C, H, W) to the same shape; `real` (B, L) says which tokens mean something."""
        cells = self.queries_keys_values(self.norm(x)).flatten(2).mT  # (B, H * W, 3C)
        q, k, v = cells.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None
        if self.context is not None and context is not None and real is not None:
            told = self.context(context).unflatten(2, (2, self.heads, -1))
            keys, values = told.permute(2, 0, 3, 1, 4)  # (B, heads, L, K) each
            k, v = torch.cat([k, keys], dim=2), torch.cat([v, values], dim=2)
            mask = F.pad(real, (cells.shape[1], 0), value=True)[:, None, None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (B, heads, H * W, K)
        mixed = mixed.transpose(1, 2).flatten(2).mT.unflatten(2, x.shape[2:])
        return x + self.out(mixed)


def group_norm(channels: int, groups: int = 0) -> nn.GroupNorm:
    """Return a normalisation by so many groups; of 0, by 32 at most, of at least 4 channels."""
    return nn.GroupNorm(groups or math.gcd(32, channels // 4), channels)
