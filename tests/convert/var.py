"""VAR restated: random weights in its layout, and the logits, codes and pixels of its equations.

Tian 2024, arXiv 2404.02905, algorithms 1 and 2. Layout and facts that the paper does not have are
from github.com/FoundationVision/VAR at 78b9539: blocks of LayerNorm without weights (1e-6) that a
class scales, shifts and gates, in the order gate, gate, scale, scale, shift, shift; queries and
keys of length 1, their product times a number of each head of at most 100, and no other scale; no
bias of keys; GELU by tanh (models/basic_var.py). The class 1000 is none; a cell reads the area mean
of all that the maps before it add up to, enlarged by bicubic interpolation and a phi; guidance of
map i of M is i / (M - 1) of the whole (models/var.py). Phi is half a convolution and half the map;
which of four a map takes: models/quant.py, by NumPy's linspace. The VQ-VAE has the networks of
taming-transformers, q, k and v in one convolution and 3 x 3 around the codes (models/vqvae.py,
basic_vae.py). No cache: every map is computed with all before it, cell by cell in attention.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.convert import mini, vqgan

State = dict[str, Tensor]
LABELS = ("tench, Tinca tinca", "golden retriever", "crane", "bald eagle", "crane", "strawberry")


@dataclass(frozen=True)
class Sizes:
    """Of the transformer and of the VQ-VAE; `levels` are widths of its levels."""

    width: int = 32
    heads: int = 2
    layers: int = 3
    hidden: int = 48
    codes: int = 24
    classes: int = len(LABELS)
    sides: tuple[int, ...] = (1, 2, 3, 4)
    levels: tuple[int, ...] = (1, 1, 2)
    shared: bool = False

    @property
    def length(self) -> int:
        """Cells of all maps."""
        return sum(side * side for side in self.sides)


TINY = Sizes()


def random_transformer(sizes: Sizes = TINY) -> State:
    """Return the state dict of a VAR, buffers included."""
    torch.manual_seed(8)
    width, hidden, length = sizes.width, sizes.hidden, sizes.length

    def linear(name: str, rows: int, columns: int, size: float = 1.0) -> State:
        weight = torch.randn(rows, columns) * size * columns**-0.5
        return {f"{name}.weight": weight, f"{name}.bias": 0.1 * torch.randn(rows)}

    numbers = [at for at, side in enumerate(sizes.sides) for _ in range(side * side)]
    level = torch.tensor([numbers])
    state = {
        "pos_start": torch.randn(1, sizes.sides[0] ** 2, width),
        "pos_1LC": 0.3 * torch.randn(1, length, width),
        "lvl_1L": level,
        "attn_bias_for_masking": torch.zeros(1, 1, length, length),
        "class_emb.weight": torch.randn(sizes.classes + 1, width),
        "lvl_embed.weight": 0.5 * torch.randn(len(sizes.sides), width),
        **linear("word_embed", width, vqgan.DIMENSIONS, 2.0),
        **linear("head_nm.ada_lin.1", 2 * width, width, 0.5),
        **linear("head", sizes.codes, width, 3.0),
    }
    if sizes.shared:
        state |= linear("shared_ada_lin.1", 6 * width, width)
    for number in range(sizes.layers):
        at = f"blocks.{number}"
        state |= {
            f"{at}.attn.scale_mul_1H11": torch.linspace(1, 6, sizes.heads).view(1, -1, 1, 1),
            f"{at}.attn.q_bias": 0.1 * torch.randn(width),
            f"{at}.attn.v_bias": 0.1 * torch.randn(width),
            f"{at}.attn.zero_k_bias": torch.zeros(width),
            f"{at}.attn.mat_qkv.weight": torch.randn(3 * width, width) * width**-0.5,
            **linear(f"{at}.attn.proj", width, width),
            **linear(f"{at}.ffn.fc1", hidden, width),
            **linear(f"{at}.ffn.fc2", width, hidden),
        }
        if sizes.shared:
            state[f"{at}.ada_gss"] = 0.5 * torch.randn(1, 1, 6, width)
        else:
            state |= linear(f"{at}.ada_lin.1", 6 * width, width)
    return state


def random_vae(sizes: Sizes = TINY) -> State:
    """Return the state dict of a VQ-VAE, buffers included."""
    state = vqgan.random_state(sizes.levels)
    for name in [each for each in state if each.endswith((".q.weight", ".q.bias"))]:
        at, end = name.rpartition(".q.")[::2]
        fused = torch.cat([state.pop(f"{at}.{part}.{end}") for part in "qkv"])
        state[f"{at}.qkv.{end}"] = fused
    for name in ("quant_conv", "post_quant_conv"):
        mini._convolution(state, name, vqgan.LATENT, vqgan.DIMENSIONS, 3)
    state["quantize.embedding.weight"] = torch.randn(sizes.codes, vqgan.DIMENSIONS)
    state["quantize.ema_vocab_hit_SV"] = torch.zeros(len(sizes.sides), sizes.codes)
    for number in range(4):
        name = f"quantize.quant_resi.qresi_ls.{number}"
        mini._convolution(state, name, vqgan.DIMENSIONS, vqgan.DIMENSIONS, 3)
    return state


def write(folder: Path, sizes: Sizes = TINY, *, pickled: bool = True, named: bool = True) -> None:
    """Write the files of a VAR, and a config.json of transformers with the names of classes."""
    from safetensors.torch import save_file

    (folder / "names").mkdir(parents=True, exist_ok=True)
    parts = ((random_transformer(sizes), "var_d16"), (random_vae(sizes), "vae_ch160v4096z32"))
    for state, name in parts:
        if pickled:
            torch.save(state, folder / f"{name}.pth")
        else:
            save_file(state, folder / f"{name}.pth")
    if named:
        labels = {str(at): LABELS[at % len(LABELS)] for at in range(sizes.classes)}
        (folder / "names" / "config.json").write_text(json.dumps({"id2label": labels}))


def _linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def _silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def _changed(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * (1 + scale) + shift


def _attended(state: State, at: str, x: Tensor, level: Tensor, heads: int) -> Tensor:
    """Return what attention makes of cells x (L, D): each sees its map and those before it."""
    width = x.shape[-1]
    bias = torch.cat([state[f"{at}.q_bias"], torch.zeros(width), state[f"{at}.v_bias"]])
    parts = (x @ state[f"{at}.mat_qkv.weight"].T + bias.to(x)).chunk(3, dim=-1)
    q, k, v = (each.unflatten(-1, (heads, -1)) for each in parts)  # (L, H, K)
    q, k = (each / each.square().sum(-1, keepdim=True).sqrt() for each in (q, k))
    sharp = state[f"{at}.scale_mul_1H11"].flatten().exp().clamp(max=100)
    mixed = []
    for cell in range(len(x)):
        seen = level <= level[cell]
        scores = torch.einsum("hk,lhk->hl", q[cell], k[seen]) * sharp[:, None]
        mixed.append(torch.einsum("hl,lhk->hk", scores.softmax(-1), v[seen]).flatten())
    return _linear(state, f"{at}.proj", torch.stack(mixed))


def phi(vae: State, which: int, maps: int, x: Tensor) -> Tensor:
    """Return a phi's mending of x (1, C, h, w) of a map."""
    ticks = np.linspace(1 / 3 / 4, 1 - 1 / 3 / 4, 4)
    index = np.argmin(np.abs(ticks - which / (maps - 1))).item()
    return x * 0.5 + mini._convolved(vae, f"quantize.quant_resi.qresi_ls.{index}", x) * 0.5


def raised(vae: State, codes: Tensor, which: int, sides: tuple[int, ...]) -> Tensor:
    """Return what codes (N,) of a map add to the finest grid (1, C, h, w)."""
    vectors = vae["quantize.embedding.weight"][codes].T.view(1, -1, sides[which], sides[which])
    finest = (sides[-1], sides[-1])
    return phi(vae, which, len(sides), F.interpolate(vectors, finest, mode="bicubic"))


def logits(
    state: State, vae: State, label: int, codes: Tensor, upto: int, sizes: Sizes = TINY
) -> Tensor:
    """Return logits (N, V) of the cells of map `upto` of a class, after codes (S,) before it."""
    sides, level = sizes.sides, state["lvl_1L"][0]
    ends = [sum(side * side for side in sides[: at + 1]) for at in range(len(sides))]
    told = state["class_emb.weight"][label]
    # 1. What cells read: the class, then the sum of the maps before, shrunk.
    rows, known = [told + state["pos_start"][0]], torch.zeros(())
    for which in range(upto):
        part = codes[ends[which] - sides[which] ** 2 : ends[which]]
        known = known + raised(vae, part, which, sides)
        seen = F.interpolate(known, (sides[which + 1],) * 2, mode="area")
        rows.append(_linear(state, "word_embed", seen.flatten(2)[0].T))
    x, level = torch.cat(rows), level[: ends[upto]]
    x = x + state["lvl_embed.weight"][level] + state["pos_1LC"][0, : ends[upto]]
    # 2. The blocks.
    shared = sizes.shared and _linear(state, "shared_ada_lin.1", _silu(told)).view(6, -1)
    for number in range(sizes.layers):
        at = f"blocks.{number}"
        own = (
            state[f"{at}.ada_gss"][0, 0] + shared
            if sizes.shared
            else _linear(state, f"{at}.ada_lin.1", _silu(told)).view(6, -1)
        )
        normed = _changed(x, own[2], own[4])
        x = x + own[0] * _attended(state, f"{at}.attn", normed, level, sizes.heads)
        inner = F.gelu(
            _linear(state, f"{at}.ffn.fc1", _changed(x, own[3], own[5])), approximate="tanh"
        )
        x = x + own[1] * _linear(state, f"{at}.ffn.fc2", inner)
    scale, shift = _linear(state, "head_nm.ada_lin.1", _silu(told)).chunk(2)
    return _linear(state, "head", _changed(x[level == upto], scale, shift))


def guided(
    state: State, vae: State, label: int, codes: Tensor, scale: float, sizes: Sizes = TINY
) -> Tensor:
    """Return the guided logits (S, V) of every map, each after codes (S,) before it."""
    found, last = [], len(sizes.sides) - 1
    for which in range(last + 1):
        with_class, without = (
            logits(state, vae, each, codes, which, sizes) for each in (label, sizes.classes)
        )
        share = scale * which / last
        found.append((1 + share) * with_class - share * without)
    return torch.cat(found)


def _unfused(vae: State) -> State:
    found = dict(vae)
    for name in [each for each in vae if ".qkv." in each]:
        for part, value in zip("qkv", found.pop(name).chunk(3), strict=True):
            found[name.replace(".qkv.", f".{part}.")] = value
    return found


def encode(vae: State, images: Tensor, sizes: Sizes = TINY) -> Tensor:
    """Return codes (B, S) of images: algorithm 1."""
    sides, rest, found = sizes.sides, vqgan.encode(_unfused(vae), images), []
    for which, side in enumerate(sides):
        seen = F.interpolate(rest, (side, side), mode="area").permute(0, 2, 3, 1)
        table = vae["quantize.embedding.weight"]
        codes = (seen[..., None, :] - table).square().sum(-1).argmin(-1).flatten(1)
        found.append(codes)
        rest = rest - torch.cat([raised(vae, each, which, sides) for each in codes])
    return torch.cat(found, dim=1)


def decode(vae: State, codes: Tensor, sizes: Sizes = TINY) -> Tensor:
    """Return images (1, 3, H, W) of codes (S,), clipped: algorithm 2."""
    sides = sizes.sides
    parts = codes.split([side * side for side in sides])
    known = sum(raised(vae, each, which, sides) for which, each in enumerate(parts))
    assert isinstance(known, Tensor)
    # `paint` looks vectors up: here each cell of the finest grid is a code of its own.
    table = known.flatten(2)[0].T
    renamed = _unfused(vae) | {"embedding.weight": table}
    images = mini.paint(renamed, torch.arange(len(table))[None], 1e-6, sides[-1])
    return images.clamp(-1, 1)
