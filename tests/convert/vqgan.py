"""The VQGAN of taming-transformers restated: random weights in its layout, and what they make.

Esser 2020, arXiv 2012.09841; its blocks are those of `tests.convert.mini`.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.convert import mini

CODES, DIMENSIONS, LATENT, CHANNELS = 24, 8, 8, 32
State = dict[str, Tensor]


def random_state(levels: tuple[int, ...] = (1, 2), *, gumbel: bool = False) -> State:
    """Return a state dict: `levels` are widths from fine to coarse, the coarsest sees all cells."""
    torch.manual_seed(3)
    widths = [CHANNELS * each for each in levels]
    last, state = len(levels) - 1, State()
    mini._convolution(state, "encoder.conv_in", 3, CHANNELS, 3)
    before = CHANNELS
    for at, width in enumerate(widths):
        for number in range(2):
            mini._block(state, f"encoder.down.{at}.block.{number}", before, width)
            before = width
            if at == last:
                mini._seeing(state, f"encoder.down.{at}.attn.{number}", width)
        if at < last:
            mini._convolution(state, f"encoder.down.{at}.downsample.conv", width, width, 3)
    for side in ("encoder", "decoder"):
        for part in ("block_1", "block_2"):
            mini._block(state, f"{side}.mid.{part}", widths[-1], widths[-1])
        mini._seeing(state, f"{side}.mid.attn_1", widths[-1])
    mini._norm(state, "encoder.norm_out", widths[-1])
    mini._convolution(state, "encoder.conv_out", widths[-1], LATENT, 3)
    mini._convolution(state, "quant_conv", LATENT, DIMENSIONS, 1)
    mini._convolution(state, "post_quant_conv", DIMENSIONS, LATENT, 1)
    name = "embed" if gumbel else "embedding"
    state[f"quantize.{name}.weight"] = torch.randn(CODES, DIMENSIONS)
    if gumbel:
        mini._convolution(state, "quantize.proj", DIMENSIONS, CODES, 1)
    mini._convolution(state, "decoder.conv_in", LATENT, widths[-1], 3)
    before = widths[-1]
    for at in reversed(range(len(levels))):
        for number in range(3):
            mini._block(state, f"decoder.up.{at}.block.{number}", before, widths[at])
            before = widths[at]
            if at == last:
                mini._seeing(state, f"decoder.up.{at}.attn.{number}", widths[at])
        if at:
            mini._convolution(state, f"decoder.up.{at}.upsample.conv", widths[at], widths[at], 3)
    mini._norm(state, "decoder.norm_out", widths[0])
    mini._convolution(state, "decoder.conv_out", widths[0], 3, 3)
    return state


def encode(state: State, images: Tensor) -> Tensor:
    """Return what is quantised (B, D, h, w) of images (B, 3, H, W) in [-1, 1]."""
    x = mini._convolved(state, "encoder.conv_in", images)
    levels = len({name.split(".")[2] for name in state if name.startswith("encoder.down.")})
    for at in range(levels):
        for number in range(2):
            x = mini.residual(state, f"encoder.down.{at}.block.{number}", x, 1e-6)
            if f"encoder.down.{at}.attn.{number}.norm.weight" in state:
                x = mini.seen(state, f"encoder.down.{at}.attn.{number}", x, 1e-6)
        if at < levels - 1:
            name = f"encoder.down.{at}.downsample.conv"
            x = F.conv2d(F.pad(x, (0, 1, 0, 1)), state[f"{name}.weight"], state[f"{name}.bias"], 2)
    x = mini.residual(state, "encoder.mid.block_1", x, 1e-6)
    x = mini.seen(state, "encoder.mid.attn_1", x, 1e-6)
    x = mini.residual(state, "encoder.mid.block_2", x, 1e-6)
    x = mini._grouped(state, "encoder.norm_out", x, 1e-6)
    x = mini._convolved(state, "encoder.conv_out", x * x.sigmoid())
    return mini._convolved(state, "quant_conv", x)


def codes_of(state: State, images: Tensor) -> Tensor:
    """Return the codes (B, h, w): the nearest vector's, or the likeliest of a Gumbel quantiser."""
    found = encode(state, images)
    if "quantize.proj.weight" in state:
        return mini._convolved(state, "quantize.proj", found).argmax(1)
    return nearest(state, found)


def nearest(state: State, vectors: Tensor) -> Tensor:
    """Return the codes (B, h, w) whose vectors are nearest to vectors (B, D, h, w)."""
    own = vectors.permute(0, 2, 3, 1)[..., None, :]
    return (own - state["quantize.embedding.weight"]).square().sum(-1).argmin(-1)


def decode(state: State, codes: Tensor) -> Tensor:
    """Return images (B, 3, H, W), not clipped, of codes (B, h, w)."""
    name = "embed" if "quantize.embed.weight" in state else "embedding"
    renamed = state | {"embedding.weight": state[f"quantize.{name}.weight"]}
    return mini.paint(renamed, codes.flatten(1), 1e-6, codes.shape[1])
