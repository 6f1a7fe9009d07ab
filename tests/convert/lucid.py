"""DALLE-pytorch restated: random weights in its layout, and what they make of text and codes.

One pass over all positions and no cache, from the package's description: arXiv 2102.12092 with
layer scale, GEGLU, rotary positions and token shift. Nothing of limner's is used.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.convert import mini

WIDTH, HEADS, HEAD, DEPTH, TEXT, SIDE, CODES = 16, 2, 12, 3, 6, 4, 10
WORDS = ["a", "red", "square", "blue", "circle", "?"]
IDS = len(WORDS) + 1  # 0 pads
VAE = {"image_size": 16, "num_layers": 2, "num_tokens": CODES, "codebook_dim": 6, "hidden_dim": 8,
       "num_resnet_blocks": 1, "channels": 3}  # fmt: skip
State = dict[str, Tensor]


def hparams(**changes: Any) -> dict[str, Any]:
    """Return what train_dalle.py saves of its settings."""
    return {
        "num_text_tokens": IDS, "text_seq_len": TEXT, "dim": WIDTH, "depth": DEPTH, "heads": HEADS,
        "dim_head": HEAD, "reversible": False, "loss_img_weight": 7, "attn_types": ["full"],
        "ff_dropout": 0.0, "attn_dropout": 0.0, "stable": False, "shift_tokens": True,
        "rotary_emb": True, "shared_attn_ids": None, "shared_ff_ids": None,
        "share_input_output_emb": False,
    } | changes  # fmt: skip


def vae_state() -> State:
    """Return a state dict of a DiscreteVAE."""
    state: State = {"codebook.weight": torch.randn(CODES, 6)}
    mini._convolution(state, "encoder.0.0", 3, 8, 4)
    mini._convolution(state, "encoder.1.0", 8, 8, 4)
    mini._convolution(state, "encoder.3", 8, CODES, 1)
    mini._convolution(state, "decoder.0", 6, 8, 1)
    for side, at in (("encoder", 2), ("decoder", 1)):
        for k, kernel in ((0, 3), (2, 3), (4, 1)):
            mini._convolution(state, f"{side}.{at}.net.{k}", 8, 8, kernel)
    for at in (2, 3):
        mini._convolution(state, f"decoder.{at}.0", 8, 8, 4)
    mini._convolution(state, "decoder.4", 8, 3, 1)
    return state


def states(settings: dict[str, Any]) -> State:
    """Return the weights of a whole model, its codec's among them."""
    torch.manual_seed(5)
    total = IDS + TEXT + CODES
    state: State = {
        "text_emb.weight": torch.randn(IDS + TEXT, WIDTH),
        "image_emb.weight": torch.randn(CODES, WIDTH),
    }
    if settings["rotary_emb"]:
        state["transformer.pos_emb"] = torch.randn(1, TEXT + 1 + SIDE**2, 8)
    else:
        state["text_pos_emb.weight"] = torch.randn(TEXT + 1, WIDTH)
        state["image_pos_emb.weights.0"] = torch.randn(1, SIDE, 1, WIDTH)
        state["image_pos_emb.weights.1"] = torch.randn(1, 1, SIDE, WIDTH)
    shift = settings["shift_tokens"]
    for number in range(DEPTH):
        layer = f"transformer.layers.layers.{number}"
        attention = f"{layer}.0.fn.fn.fn" + (".fn.fn" if shift else "")
        feed = f"{layer}.1.fn.fn" + (".fn.fn" if shift else "")
        for part in (0, 1):
            mini._norm(state, f"{layer}.{part}.fn.norm", WIDTH)
            state[f"{layer}.{part}.scale"] = 0.3 + 0.1 * torch.randn(1, 1, WIDTH)
        mini._matrix(state, f"{attention}.to_qkv", 3 * HEADS * HEAD, WIDTH)
        mini._matrix(state, f"{attention}.to_out.0", WIDTH, HEADS * HEAD)
        mini._matrix(state, f"{feed}.net.0", 8 * WIDTH, WIDTH)
        mini._matrix(state, f"{feed}.net.3", WIDTH, 4 * WIDTH)
        biased = {
            f"{attention}.to_out.0": WIDTH,
            f"{feed}.net.0": 8 * WIDTH,
            f"{feed}.net.3": WIDTH,
        }
        state |= {f"{name}.bias": 0.1 * torch.randn(size) for name, size in biased.items()}
    mini._norm(state, "to_logits.0", WIDTH)
    mini._matrix(state, "to_logits.1", total, WIDTH, 3.0)
    state["to_logits.1.bias"] = torch.randn(total)
    return state | {f"vae.{name}": each for name, each in vae_state().items()}


def tokenizer() -> str:
    """Return a tokenizer.json of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {"[PAD]": 0} | {word: number for number, word in enumerate(WORDS, start=1)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return str(made.to_str())


def write(folder: Path, **changes: Any) -> Path:
    """Write what train_dalle.py saves and a tokenizer, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = hparams(**changes)
    saved = {
        "hparams": settings, "vae_params": VAE, "epoch": 3, "version": "1.6.6",
        "vae_class_name": "DiscreteVAE", "weights": states(settings),
        "opt_state": {"state": {0: {"step": 1}}, "param_groups": [{"lr": 1e-3}]},
        "scheduler_state": None,
    }  # fmt: skip
    torch.save(saved, folder / "dalle.pt")
    (folder / "tokenizer.json").write_text(tokenizer(), encoding="utf-8")
    return folder


def ids(prompt: str) -> Tensor:
    """Return the ids (T,) of a prompt, with 0 behind them."""
    found = [WORDS.index(word) + 1 for word in prompt.split()]
    return torch.tensor(found + [0] * (TEXT - len(found)))


def _shifted(x: Tensor) -> Tensor:
    """Return x (N, D) with halves and quarters of neighbours, as token shift has them."""
    text, rest = x[: TEXT + 1], x[TEXT + 1 :]
    moved = F.pad(text[:, : WIDTH // 2], (0, 0, 1, 0))[:-1]
    text = torch.cat([moved, text[:, WIDTH // 2 :]], dim=1)
    cells = F.pad(rest, (0, 0, 0, SIDE**2 - len(rest))).view(SIDE, SIDE, WIDTH)
    top, left, kept = cells.split([WIDTH // 4, WIDTH // 4, WIDTH // 2], dim=-1)
    top = F.pad(top, (0, 0, 0, 0, 1, 0))[:-1]
    left = F.pad(left, (0, 0, 1, 0))[:, :-1]
    cells = torch.cat([top, left, kept], dim=-1).view(SIDE**2, WIDTH)[: len(rest)]
    return torch.cat([text, cells])


def _turned(angles: Tensor, x: Tensor) -> Tensor:
    """Return x (N, H, K) of which pairs of the first dimensions are turned by angles (N, R)."""
    count = angles.shape[1]
    out = x.clone()
    for at in range(0, count, 2):
        first, second = x[..., at], x[..., at + 1]
        for k, (one, other) in enumerate(((first, -second), (second, first))):
            angle = angles[:, at + k, None]
            out[..., at + k] = one * angle.cos() + other * angle.sin()
    return out


def _mask(kind: str, length: int) -> Tensor:
    seen = torch.zeros(length, length, dtype=torch.bool)
    for i in range(length):
        for j in range(i + 1):
            a, b = i - TEXT - 1, j - TEXT - 1
            same = {"full": True, "axial_row": a // SIDE == b // SIDE,
                    "axial_col": a % SIDE == b % SIDE}[kind]  # fmt: skip
            seen[i, j] = a < 0 or b < 0 or same
    return seen


def logits(state: State, settings: dict[str, Any], text: Tensor, codes: Tensor) -> Tensor:
    """Return logits (S, V) of codes (S,) after text (T,), each knowing those before it."""
    text = torch.where(text == 0, torch.arange(TEXT) + IDS, text)
    x = state["text_emb.weight"][F.pad(text, (1, 0))]
    cells = state["image_emb.weight"][codes[:-1]]
    if not settings["rotary_emb"]:
        x = x + state["text_pos_emb.weight"]
        placed = state["image_pos_emb.weights.0"] + state["image_pos_emb.weights.1"]
        cells = cells + placed.view(-1, WIDTH)[: len(cells)]
    x = torch.cat([x, cells])
    kinds = settings["attn_types"]
    for number in range(DEPTH):
        layer, shift = f"transformer.layers.layers.{number}", settings["shift_tokens"]
        deep = ".fn.fn" if shift else ""
        # attention
        name = f"{layer}.0.fn.fn.fn{deep}"
        inner = mini._normed(state, f"{layer}.0.fn.norm", x)
        inner = _shifted(inner) if shift else inner
        qkv = (inner @ state[f"{name}.to_qkv.weight"].T).view(len(x), 3, HEADS, HEAD)
        parts = list(qkv.unbind(1))
        if settings["rotary_emb"]:
            angles = state["transformer.pos_emb"][0, : len(x)]
            parts = [_turned(angles, each) for each in parts]
        scores = torch.einsum("ihk,jhk->hij", parts[0], parts[1]) / HEAD**0.5
        seen = _mask(kinds[number % len(kinds)], len(x))
        mixed = scores.masked_fill(~seen, float("-inf")).softmax(-1)
        out = torch.einsum("hij,jhk->ihk", mixed, parts[2]).reshape(len(x), -1)
        out = out @ state[f"{name}.to_out.0.weight"].T + state[f"{name}.to_out.0.bias"]
        x = x + out * state[f"{layer}.0.scale"][0]
        # feed-forward
        name = f"{layer}.1.fn.fn{deep}"
        inner = mini._normed(state, f"{layer}.1.fn.norm", x)
        inner = _shifted(inner) if shift else inner
        both = inner @ state[f"{name}.net.0.weight"].T + state[f"{name}.net.0.bias"]
        value, gate = both.chunk(2, dim=-1)
        out = (value * F.gelu(gate)) @ state[f"{name}.net.3.weight"].T
        x = x + (out + state[f"{name}.net.3.bias"]) * state[f"{layer}.1.scale"][0]
    if settings["stable"]:
        x = x / x.amax(-1, keepdim=True)
    x = mini._normed(state, "to_logits.0", x)
    found = x @ state["to_logits.1.weight"].T + state["to_logits.1.bias"]
    return found[TEXT:, -CODES:]


def _residual(state: State, name: str, x: Tensor) -> Tensor:
    inner = mini._convolved(state, f"{name}.net.0", x).relu()
    inner = mini._convolved(state, f"{name}.net.2", inner).relu()
    return x + mini._convolved(state, f"{name}.net.4", inner)


def encode(state: State, images: Tensor) -> Tensor:
    """Return logits (B, V, h, w) of images (B, 3, H, W) in [-1, 1]."""
    x = images
    for at in (0, 1):
        name = f"encoder.{at}.0"
        x = F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], 2, 1).relu()
    return mini._convolved(state, "encoder.3", _residual(state, "encoder.2", x))


def decode(state: State, codes: Tensor) -> Tensor:
    """Return images (B, 3, H, W), not clipped, of codes (B, h, w)."""
    x = state["codebook.weight"][codes].permute(0, 3, 1, 2)
    x = _residual(state, "decoder.1", mini._convolved(state, "decoder.0", x))
    for at in (2, 3):
        name = f"decoder.{at}.0"
        x = F.conv_transpose2d(x, state[f"{name}.weight"], state[f"{name}.bias"], 2, 1).relu()
    return mini._convolved(state, "decoder.4", x)
