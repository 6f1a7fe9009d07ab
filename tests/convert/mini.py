"""DALL-E mini restated: random weights in min-dalle's layout, and what they make of a prompt.

BART with the norms of NormFormer (arXiv 1910.13461, 2110.09456), a gated GELU (arXiv 2002.05202)
and the decoder of a VQGAN (arXiv 2012.09841), written from these; nothing of limner's is used.
"""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

WIDTH, HEADS, HIDDEN, LAYERS, TEXT_LAYERS = 128, 2, 48, 2, 2
TEXT, CELLS, CODES, ROWS, BEGIN = 12, 256, 24, 25, 24
SIZE = 32  # of pictures: two levels, so cells of two pixels
CHANNELS, DIMENSIONS, LATENT = 32, 8, 8  # of the detokenizer
State = dict[str, Tensor]

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "\u0120", *"abcdefgt!<>/s", "\u0120a", "ca", "cat",
          "\u0120cat", "ab"]  # fmt: skip
MERGES = ["#version: 0.2", "\u0120 a", "c a", "ca t", "\u0120 cat", "a b", ""]


def words() -> dict[str, int]:
    """Return the vocabulary."""
    return {piece: number for number, piece in enumerate(dict.fromkeys(PIECES))}


def tokenize(text: str) -> list[int]:
    """Return the ids of a prompt: of each word the pieces that merges make, framed."""
    table = words()
    rank = {tuple(line.split()): number for number, line in enumerate(MERGES[1:-1])}
    found = [table["<s>"]]
    for word in text.lower().encode("ascii", "ignore").decode().split(" "):
        pieces = ["\u0120", *word] if word else []
        while True:
            pairs = list(pairwise(pieces))
            known = [pair for pair in pairs if pair in rank]
            if not known:
                break
            at = pairs.index(min(known, key=lambda pair: rank[pair]))
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
        found += [table.get(piece, table["<unk>"]) for piece in pieces]
    return [*found, table["</s>"]]


def _norm(state: State, name: str, width: int, *, scaled: bool = True) -> None:
    if scaled:
        state[f"{name}.weight"] = 1 + 0.2 * torch.randn(width)
    state[f"{name}.bias"] = 0.2 * torch.randn(width)


def _matrix(state: State, name: str, rows: int, columns: int, size: float = 1.0) -> None:
    state[f"{name}.weight"] = torch.randn(rows, columns) * size * columns**-0.5


def _part(rows: int, places: int, layers: int, *, draws: bool) -> State:
    state: State = {
        "embed_tokens.weight": torch.randn(rows, WIDTH),
        "embed_positions.weight": torch.randn(places, WIDTH),
    }
    _norm(state, "layernorm_embedding", WIDTH)
    _norm(state, "final_ln", WIDTH, scaled=False)
    for number in range(layers):
        layer = f"layers.{number}"
        for each in ("self_attn", "encoder_attn") if draws else ("self_attn",):
            for part in "qkv":
                _matrix(state, f"{layer}.{each}.{part}_proj", WIDTH, WIDTH)
            _matrix(state, f"{layer}.{each}.out_proj", WIDTH, WIDTH)
            _norm(state, f"{layer}.pre_{each}_layer_norm", WIDTH, scaled=False)
            _norm(state, f"{layer}.{each}_layer_norm", WIDTH)
        for part in ("fc0", "fc1"):
            _matrix(state, f"{layer}.glu.{part}", HIDDEN, WIDTH)
        _matrix(state, f"{layer}.glu.fc2", WIDTH, HIDDEN)
        _norm(state, f"{layer}.glu.ln0", WIDTH, scaled=False)
        _norm(state, f"{layer}.glu.ln1", HIDDEN, scaled=False)
    if draws:
        _matrix(state, "lm_head", rows, WIDTH, 2.0)
    return state


def _convolution(state: State, name: str, inputs: int, outputs: int, kernel: int) -> None:
    shape = (outputs, inputs, kernel, kernel)
    state[f"{name}.weight"] = torch.randn(shape) * (inputs * kernel**2) ** -0.5
    state[f"{name}.bias"] = 0.1 * torch.randn(outputs)


def _block(state: State, name: str, inputs: int, outputs: int) -> None:
    _norm(state, f"{name}.norm1", inputs)
    _convolution(state, f"{name}.conv1", inputs, outputs, 3)
    _norm(state, f"{name}.norm2", outputs)
    _convolution(state, f"{name}.conv2", outputs, outputs, 3)
    if inputs != outputs:
        _convolution(state, f"{name}.nin_shortcut", inputs, outputs, 1)


def _seeing(state: State, name: str, width: int) -> None:
    _norm(state, f"{name}.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        _convolution(state, f"{name}.{part}", width, width, 1)


def random_detokenizer() -> State:
    """Return a decoder of two levels, of which the coarse one looks at all cells."""
    coarse = 2 * CHANNELS
    state: State = {"embedding.weight": torch.randn(CODES, DIMENSIONS)}
    _convolution(state, "post_quant_conv", DIMENSIONS, LATENT, 1)
    _convolution(state, "decoder.conv_in", LATENT, coarse, 3)
    for part in ("block_1", "block_2"):
        _block(state, f"decoder.mid.{part}", coarse, coarse)
    _seeing(state, "decoder.mid.attn_1", coarse)
    for number in range(3):
        _block(state, f"decoder.up.1.block.{number}", coarse, coarse)
        _seeing(state, f"decoder.up.1.attn.{number}", coarse)
        inputs = CHANNELS if number else coarse
        _block(state, f"decoder.up.0.block.{number}", inputs, CHANNELS)
    _convolution(state, "decoder.up.1.upsample.conv", coarse, coarse, 3)
    _norm(state, "decoder.norm_out", CHANNELS)
    _convolution(state, "decoder.conv_out", CHANNELS, 3, 3)
    return state


def random_states(seed: int = 0) -> tuple[State, State, State]:
    """Return state dicts of encoder, decoder and detokenizer."""
    torch.manual_seed(seed)
    encoder = _part(len(words()), TEXT, TEXT_LAYERS, draws=False)
    return encoder, _part(ROWS, CELLS, LAYERS, draws=True), random_detokenizer()


def write_mini(folder: Path, endings: str = "", *, pickled: bool = False, **changes: Any) -> Path:
    """Write min-dalle's five files, and return the folder.

    By default they are safetensors, whatever their names say: a pickle takes a process to open.
    """
    save: Callable[..., Any] = torch.save if pickled else save_file
    folder.mkdir(parents=True, exist_ok=True)
    encoder, decoder, detokenizer = random_states()
    save(encoder, folder / f"encoder{endings}.pt")
    save(decoder | changes, folder / f"decoder{endings}.pt")
    save(detokenizer, folder / "detoker.pt")
    (folder / f"vocab{endings}.json").write_text(json.dumps(words()), encoding="utf-8")
    (folder / f"merges{endings}.txt").write_text("\n".join(MERGES), encoding="utf-8")
    return folder


def _normed(state: State, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state.get(f"{name}.weight"), state[f"{name}.bias"])


def _attended(state: State, name: str, x: Tensor, seen: Tensor, allowed: Tensor) -> Tensor:
    """Return what positions of x (L, D) see of others (T, D), where `allowed` (L, T)."""
    q, k, v = (
        (each @ state[f"{name}.{part}_proj.weight"].T).view(len(each), HEADS, -1)
        for part, each in zip("qkv", (x, seen, seen), strict=True)
    )
    scores = torch.einsum("lhk,thk->hlt", q, k) / (WIDTH // HEADS) ** 0.5
    scores = scores.masked_fill(~allowed, float("-inf"))
    mixed = torch.einsum("hlt,thk->lhk", scores.softmax(-1), v).reshape(len(x), WIDTH)
    return mixed @ state[f"{name}.out_proj.weight"].T


def _layers(state: State, x: Tensor, allowed: Tensor, memory: Tensor | None) -> Tensor:
    count = len({name.split(".")[1] for name in state if name.startswith("layers.")})
    for number in range(count):
        layer = f"layers.{number}"
        for each in ("self_attn",) if memory is None else ("self_attn", "encoder_attn"):
            inner = _normed(state, f"{layer}.pre_{each}_layer_norm", x)
            seen, whom = (inner, allowed)
            if each == "encoder_attn" and memory is not None:
                seen, whom = memory, torch.ones(len(x), len(memory), dtype=torch.bool)
            inner = _attended(state, f"{layer}.{each}", inner, seen, whom)
            x = x + _normed(state, f"{layer}.{each}_layer_norm", inner)
        inner = _normed(state, f"{layer}.glu.ln0", x)
        gate, up = (inner @ state[f"{layer}.glu.{part}.weight"].T for part in ("fc0", "fc1"))
        inner = _normed(state, f"{layer}.glu.ln1", F.gelu(gate) * up)
        x = x + inner @ state[f"{layer}.glu.fc2.weight"].T
    return _normed(state, "final_ln", x)


def encode(state: State, ids: list[int]) -> Tensor:
    """Return the encoder's states (T, D) of ids without padding."""
    x = state["embed_tokens.weight"][ids] + state["embed_positions.weight"][: len(ids)]
    x = _normed(state, "layernorm_embedding", x)
    return _layers(state, x, torch.ones(len(ids), len(ids), dtype=torch.bool), None)


def logits(state: State, memory: Tensor, codes: Tensor) -> Tensor:
    """Return logits (S, V) of codes (S,), each knowing those before it, by one long pass."""
    before = torch.cat([torch.tensor([BEGIN]), codes[:-1]])
    x = state["embed_tokens.weight"][before] + state["embed_positions.weight"][: len(codes)]
    x = _normed(state, "layernorm_embedding", x)
    causal = torch.ones(len(codes), len(codes), dtype=torch.bool).tril()
    x = _layers(state, x, causal, memory)
    return (x @ state["lm_head.weight"].T)[:, :CODES]


def guided(states: tuple[State, State, State], prompt: str, codes: Tensor, factor: float) -> Tensor:
    """Return logits (S, V) pushed from those of the empty prompt, as min-dalle's factor says."""
    encoder, decoder, _ = states
    ids = tokenize(prompt)
    told, untold = (
        logits(decoder, encode(encoder, each), codes) for each in (ids, [ids[0], ids[-1]])
    )
    return untold * (1 - factor) + told * factor


def _grouped(state: State, name: str, x: Tensor, epsilon: float) -> Tensor:
    return F.group_norm(x, 32, state[f"{name}.weight"], state[f"{name}.bias"], epsilon)


def _convolved(state: State, name: str, x: Tensor) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)


def residual(state: State, name: str, x: Tensor, epsilon: float) -> Tensor:
    """Return what a block of the VQGAN makes of x."""
    inner = x
    for number in (1, 2):
        inner = _grouped(state, f"{name}.norm{number}", inner, epsilon)
        inner = _convolved(state, f"{name}.conv{number}", inner * inner.sigmoid())
    shortcut = f"{name}.nin_shortcut"
    return inner + (_convolved(state, shortcut, x) if f"{shortcut}.weight" in state else x)


def seen(state: State, name: str, x: Tensor, epsilon: float) -> Tensor:
    """Return what attention among all cells makes of x."""
    normed = _grouped(state, f"{name}.norm", x, epsilon)
    q, k, v = (_convolved(state, f"{name}.{part}", normed).flatten(2) for part in "qkv")
    weights = (q.transpose(1, 2) @ k / q.shape[1] ** 0.5).softmax(-1)  # (B, queries, keys)
    mixed = (v @ weights.transpose(1, 2)).view_as(x)
    return x + _convolved(state, f"{name}.proj_out", mixed)


def paint(state: State, codes: Tensor, epsilon: float = 1e-5, side: int = 16) -> Tensor:
    """Return what the decoder makes of codes (B, S), before anything is clipped: (B, 3, H, W)."""
    vectors = state["embedding.weight"][codes].view(len(codes), side, side, -1)
    x = _convolved(state, "post_quant_conv", vectors.permute(0, 3, 1, 2))
    x = _convolved(state, "decoder.conv_in", x)
    x = residual(state, "decoder.mid.block_1", x, epsilon)
    x = seen(state, "decoder.mid.attn_1", x, epsilon)
    x = residual(state, "decoder.mid.block_2", x, epsilon)
    levels = len({name.split(".")[2] for name in state if name.startswith("decoder.up.")})
    for level in reversed(range(levels)):
        for number in range(3):
            x = residual(state, f"decoder.up.{level}.block.{number}", x, epsilon)
            if f"decoder.up.{level}.attn.0.norm.weight" in state:
                x = seen(state, f"decoder.up.{level}.attn.{number}", x, epsilon)
        if level:
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = _convolved(state, f"decoder.up.{level}.upsample.conv", x)
    x = _grouped(state, "decoder.norm_out", x, epsilon)
    return _convolved(state, "decoder.conv_out", x * x.sigmoid())
