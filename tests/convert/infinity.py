"""Infinity restated: random weights in its layout, and the logits, bits and pixels it makes.

Han 2024, arXiv 2412.04431. Layout and facts that the paper does not have are from
github.com/FoundationVision/Infinity at 4c27bbb: layers as VAR's with a condition that all share
(gate, gate, scale, scale, shift, shift), neighbouring pairs of queries and keys turned by row and
by column of a grid of 64 a side, a base of 10,000, and between cells and feed-forward attention to
the text behind a LayerNorm, added as it is; RMSNorm of T5's states; one query sums the text up
(models/basic.py, infinity.py); a map reads the sum of those before, taken to its size by linear
interpolation and not by area; `cfg_uncond` in the place of as many positions of a text; bit j of a
cell has the logits 2j and 2j + 1. A bit is a dimension's sign, of a vector of length 1, and maps
are enlarged by linear interpolation, without phi (bsq_vae/multiscale_bsq.py); the networks have no
attention, and no convolution around the codes (bsq_vae/flux_vqgan.py). T5 is transformers' own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.convert import llamagen, mini
from tests.tiny_encoders import make_tokenizer

State = dict[str, Tensor]
SIDES = (1, 2, 4, 6, 8, 12, 16)
ENDS = [sum(side * side for side in SIDES[: at + 1]) for at in range(len(SIDES))]


@dataclass(frozen=True)
class Sizes:
    """Of the transformer, of T5 and of the VAE, with the widths of its levels."""

    width: int = 32
    heads: int = 2
    chunks: int = 2
    each: int = 1
    hidden: int = 48
    bits: int = 8
    states: int = 32
    length: int = 24
    pooling: int = 4
    channels: int = 32
    levels: tuple[int, ...] = (1, 2)


TINY = Sizes()


def _linear(state: State, name: str, rows: int, columns: int, size: float = 1.0) -> None:
    state[f"{name}.weight"] = torch.randn(rows, columns) * size * columns**-0.5
    state[f"{name}.bias"] = 0.1 * torch.randn(rows)


def random_transformer(sizes: Sizes = TINY) -> State:
    """Return the state dict of a transformer, buffers included."""
    torch.manual_seed(9)
    width, states, state = sizes.width, sizes.states, State()
    state |= {
        "cfg_uncond": torch.randn(sizes.length, states),
        "text_norm.weight": 1 + 0.2 * torch.randn(states),
        "text_proj_for_sos.ca.mat_q": torch.randn(1, sizes.pooling, width // sizes.pooling),
        "text_proj_for_sos.ca.mat_kv.weight": torch.randn(2 * width, states) * states**-0.5,
        "text_proj_for_sos.ca.v_bias": 0.1 * torch.randn(width),
        "text_proj_for_sos.ca.zero_k_bias": torch.zeros(width),
        "pos_start": torch.randn(1, 1, width),
        "lvl_embed.weight": 0.5 * torch.randn(15, width),
    }
    _linear(state, "text_proj_for_sos.ca.proj", width, width)
    _linear(state, "text_proj_for_ca.0", width, states)
    _linear(state, "text_proj_for_ca.2", width, width)
    _linear(state, "word_embed", width, sizes.bits, 2.0)
    _linear(state, "shared_ada_lin.1", 6 * width, width)
    _linear(state, "head_nm.ada_lin.1", 2 * width, width, 0.5)
    _linear(state, "head", 2 * sizes.bits, width, 3.0)
    for number in range(sizes.chunks * sizes.each):
        at = f"block_chunks.{number // sizes.each}.module.{number % sizes.each}"
        state |= {
            f"{at}.ada_gss": 0.5 * torch.randn(1, 1, 6, width),
            f"{at}.sa.scale_mul_1H11": torch.linspace(1, 6, sizes.heads).view(1, -1, 1, 1),
            f"{at}.sa.q_bias": 0.1 * torch.randn(width),
            f"{at}.sa.v_bias": 0.1 * torch.randn(width),
            f"{at}.sa.zero_k_bias": torch.zeros(width),
            f"{at}.sa.mat_qkv.weight": torch.randn(3 * width, width) * width**-0.5,
            f"{at}.ca.mat_kv.weight": torch.randn(2 * width, width) * width**-0.5,
            f"{at}.ca.v_bias": 0.1 * torch.randn(width),
            f"{at}.ca.zero_k_bias": torch.zeros(width),
        }
        mini._norm(state, f"{at}.ca_norm", width)
        for part in ("sa.proj", "ca.proj", "ca.mat_q"):
            _linear(state, f"{at}.{part}", width, width)
        _linear(state, f"{at}.ffn.fc1", sizes.hidden, width)
        _linear(state, f"{at}.ffn.fc2", width, sizes.hidden)
    return state


def random_vae(sizes: Sizes = TINY) -> State:
    """Return the state dict of a VAE by plain names; its files have one more part in each."""
    torch.manual_seed(10)
    widths, state = [sizes.channels * each for each in sizes.levels], State()
    last = len(widths) - 1
    mini._convolution(state, "encoder.conv_in", 3, sizes.channels, 3)
    before = sizes.channels
    for at, width in enumerate(widths):
        for number in range(2):
            mini._block(state, f"encoder.down.{at}.block.{number}", before, width)
            before = width
        if at < last:
            mini._convolution(state, f"encoder.down.{at}.downsample.conv", width, width, 3)
    for side in ("encoder", "decoder"):
        for part in ("block_1", "block_2"):
            mini._block(state, f"{side}.mid.{part}", widths[-1], widths[-1])
    mini._norm(state, "encoder.norm_out", widths[-1])
    mini._convolution(state, "encoder.conv_out", widths[-1], sizes.bits, 3)
    mini._convolution(state, "decoder.conv_in", sizes.bits, widths[-1], 3)
    before = widths[-1]
    for at in reversed(range(len(widths))):
        for number in range(3):
            mini._block(state, f"decoder.up.{at}.block.{number}", before, widths[at])
            before = widths[at]
        if at:
            mini._convolution(state, f"decoder.up.{at}.upsample.conv", widths[at], widths[at], 3)
    mini._norm(state, "decoder.norm_out", widths[0])
    mini._convolution(state, "decoder.conv_out", widths[0], 3, 3)
    return state


def in_its_names(vae: State) -> State:
    """Return a VAE's tensors as its file names them."""
    found = {"quantizer.lfq.mask": torch.arange(8), "quantize.lfq.mask": torch.arange(8)}
    for name, value in vae.items():
        at, _, end = name.rpartition(".")
        hop = "norm" if at.rpartition(".")[2].startswith("norm") else "conv"
        found[f"{at}.{hop}.{end}"] = value
    return found


def write(folder: Path, sizes: Sizes = TINY, *, pickled: bool = True) -> Any:
    """Write the files of a model, and return T5."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    name, state, vae = "infinity_125M_256x256.pth", random_transformer(sizes), random_vae(sizes)
    if pickled:
        torch.save(state, folder / name)
        torch.save({"vae": in_its_names(vae), "step": 3}, folder / "infinity_vae_d16.pth")
    else:
        save_file(state, folder / name)
        save_file(in_its_names(vae), folder / "infinity_vae_d16.pth")
    t5 = llamagen.random_t5(llamagen.Sizes(states=sizes.states))
    t5.save_pretrained(folder / "flan-t5-xl")
    make_tokenizer("t5").save(str(folder / "flan-t5-xl" / "tokenizer.json"))
    return t5


def _by(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def _silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def _plain(x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def _turned(x: Tensor) -> Tensor:
    """Turn the pairs of cells' queries or keys x (L, H, K) by where each stands."""
    head, angles = x.shape[-1], []
    frequencies = 1 / 10_000.0 ** (torch.arange(0, head // 2, 2) / (head // 2))
    for side in SIDES:
        for row in range(side):
            for column in range(side):
                places = torch.tensor([row * (64 / side), column * (64 / side)]).round()
                angles.append((places[:, None] * frequencies).flatten())
    turns = torch.stack(angles)[: len(x)]
    turns = torch.polar(torch.ones_like(turns), turns)[:, None]
    turned = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * turns
    return torch.view_as_real(turned).flatten(-2)


def _seen(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attend with queries (L, H, K), whose scale is in them, to (T, H, K)."""
    scores = torch.einsum("lhk,thk->hlt", q, k)
    scores = scores if mask is None else scores.masked_fill(~mask, float("-inf"))
    return torch.einsum("hlt,thk->lhk", scores.softmax(-1), v).flatten(1)


def _text(state: State, at: str, q: Tensor, text: Tensor) -> Tensor:
    """Return what queries (L, H, K) see of a text (T, C)."""
    k, v = (text @ state[f"{at}.mat_kv.weight"].T).chunk(2, dim=-1)
    k, v = (each.unflatten(-1, q.shape[1:]) for each in (k, v + state[f"{at}.v_bias"]))
    return _by(state, f"{at}.proj", _seen(q / q.shape[-1] ** 0.5, k, v))


def raised(bits: Tensor, side: int) -> Tensor:
    """Return what bits (N, G) of a map add to the finest grid (1, G, h, w)."""
    vectors = (bits * 2.0 - 1) / bits.shape[1] ** 0.5
    return F.interpolate(vectors.T.view(1, -1, side, side), (SIDES[-1],) * 2, mode="bilinear")


def logits(state: State, states: Tensor, codes: Tensor, sizes: Sizes = TINY) -> Tensor:
    """Return logits (S, G, 2) of bits (S, G) after T5's states (T, C), by the maps before each."""
    # 1. The text: one vector, and what the layers look at.
    text = states / (states.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    text = text * state["text_norm.weight"]
    told = _text(state, "text_proj_for_sos.ca", state["text_proj_for_sos.ca.mat_q"], text)[0]
    text = F.gelu(_by(state, "text_proj_for_ca.0", text), approximate="tanh")
    text = _by(state, "text_proj_for_ca.2", text)
    # 2. What cells read.
    rows, known = [(told + state["pos_start"][0]) + state["lvl_embed.weight"][0]], torch.zeros(())
    for which, side in enumerate(SIDES[:-1]):
        known = known + raised(codes[ENDS[which] - side * side : ENDS[which]], side)
        seen = F.interpolate(known, (SIDES[which + 1],) * 2, mode="bilinear").flatten(2)[0].T
        rows.append(_by(state, "word_embed", seen) + state["lvl_embed.weight"][which + 1])
    x = torch.cat(rows)
    numbers = torch.tensor([at for at, side in enumerate(SIDES) for _ in range(side * side)])
    mask = numbers[None, :] <= numbers[:, None]
    # 3. The layers.
    shared = _by(state, "shared_ada_lin.1", _silu(told)).view(6, -1)
    for number in range(sizes.chunks * sizes.each):
        at = f"block_chunks.{number // sizes.each}.module.{number % sizes.each}"
        own = state[f"{at}.ada_gss"][0, 0] + shared
        normed = _plain(x) * (1 + own[2]) + own[4]
        zeros = torch.zeros(sizes.width)
        bias = torch.cat([state[f"{at}.sa.q_bias"], zeros, state[f"{at}.sa.v_bias"]])
        parts = (normed @ state[f"{at}.sa.mat_qkv.weight"].T + bias).chunk(3, dim=-1)
        q, k, v = (each.unflatten(-1, (sizes.heads, -1)) for each in parts)
        q, k = (_turned(each / each.square().sum(-1, keepdim=True).sqrt()) for each in (q, k))
        sharp = state[f"{at}.sa.scale_mul_1H11"].flatten().exp().clamp(max=100)[:, None]
        x = x + own[0] * _by(state, f"{at}.sa.proj", _seen(q * sharp, k, v, mask))
        normed = _plain(x) * state[f"{at}.ca_norm.weight"] + state[f"{at}.ca_norm.bias"]
        q = _by(state, f"{at}.ca.mat_q", normed).unflatten(-1, (sizes.heads, -1))
        x = x + _text(state, f"{at}.ca", q, text)
        normed = _plain(x) * (1 + own[3]) + own[5]
        inner = F.gelu(_by(state, f"{at}.ffn.fc1", normed), approximate="tanh")
        x = x + own[1] * _by(state, f"{at}.ffn.fc2", inner)
    scale, shift = _by(state, "head_nm.ada_lin.1", _silu(told)).chunk(2)
    return _by(state, "head", _plain(x) * (1 + scale) + shift).unflatten(-1, (-1, 2))


def guided(
    state: State, states: Tensor, codes: Tensor, scale: float, sizes: Sizes = TINY
) -> Tensor:
    """Return logits (S, G, 2) pushed from those without a text, as cfg `scale` says."""
    untold = state["cfg_uncond"][: len(states)]
    told = logits(state, states, codes, sizes)
    return scale * told + (1 - scale) * logits(state, untold, codes, sizes)


def features(vae: State, images: Tensor) -> Tensor:
    """Return what is quantised (B, G, h, w) of images."""
    x = mini._convolved(vae, "encoder.conv_in", images)
    levels = len({name.split(".")[2] for name in vae if name.startswith("encoder.down.")})
    for at in range(levels):
        for number in range(2):
            x = mini.residual(vae, f"encoder.down.{at}.block.{number}", x, 1e-6)
        if at < levels - 1:
            name = f"encoder.down.{at}.downsample.conv"
            x = F.conv2d(F.pad(x, (0, 1, 0, 1)), vae[f"{name}.weight"], vae[f"{name}.bias"], 2)
    for part in ("block_1", "block_2"):
        x = mini.residual(vae, f"encoder.mid.{part}", x, 1e-6)
    x = mini._grouped(vae, "encoder.norm_out", x, 1e-6)
    return mini._convolved(vae, "encoder.conv_out", x * x.sigmoid())


def encode(vae: State, images: Tensor) -> Tensor:
    """Return bits (1, S, G) of an image: signs of what the maps before left."""
    rest, found = features(vae, images), []
    for side in SIDES:
        seen = F.interpolate(rest, (side, side), mode="area")
        bits = (seen > 0).long().flatten(2).mT[0]
        found.append(bits)
        rest = rest - raised(bits, side)
    return torch.cat(found)[None]


def decode(vae: State, codes: Tensor) -> Tensor:
    """Return an image (1, 3, H, W) of bits (S, G), clipped."""
    parts = codes.split([side * side for side in SIDES])
    x = torch.stack([raised(each, side) for each, side in zip(parts, SIDES, strict=True)]).sum(0)
    x = mini._convolved(vae, "decoder.conv_in", x)
    for part in ("block_1", "block_2"):
        x = mini.residual(vae, f"decoder.mid.{part}", x, 1e-6)
    levels = len({name.split(".")[2] for name in vae if name.startswith("decoder.up.")})
    for level in reversed(range(levels)):
        for number in range(3):
            x = mini.residual(vae, f"decoder.up.{level}.block.{number}", x, 1e-6)
        if level:
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = mini._convolved(vae, f"decoder.up.{level}.upsample.conv", x)
    x = mini._grouped(vae, "decoder.norm_out", x, 1e-6)
    return mini._convolved(vae, "decoder.conv_out", x * x.sigmoid()).clamp(-1, 1)
