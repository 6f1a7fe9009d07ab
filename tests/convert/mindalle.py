"""minDALL-E restated: random weights in its layout, and the logits that its equations give.

Radford 2019 (GPT-2): LayerNorm with 1e-5 before attention and before a feed-forward of four times
the width, GELU by the error function, biases, learnt positions. Layout, the padding behind a text
that is read like any token, and the heads: github.com/kakaobrain/minDALL-E at e548007,
dalle/models/stage2/transformer.py and layers.py, dalle/utils/sampling.py, configs/dalle-1.3B.yaml.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from tests.convert import vqgan

State = dict[str, Tensor]
LETTERS = "abcdefghijklmnopqrstuvwxyz.,'!"
WORDS = ("ap", "app", "le</w>", "apple</w>", "re", "red</w>", "th", "th</w>")
MERGES = ("a p", "ap p", "l e</w>", "app le</w>", "r e", "re d</w>", "t h", "t h</w>")


@dataclass(frozen=True)
class Sizes:
    """Of the transformer and of the VQGAN; `widths` are those of the VQGAN's levels."""

    width: int = 128
    heads: int = 2
    layers: int = 2
    rows: int = 80
    codes: int = vqgan.CODES
    length: int = 12
    side: int = 16
    widths: tuple[int, ...] = (1, 1, 1, 1, 2)


TINY = Sizes()


def random_transformer(sizes: Sizes = TINY) -> State:
    """Return the state dict of the second stage."""
    torch.manual_seed(5)
    width, state = sizes.width, State()

    def linear(name: str, rows: int, columns: int, *, bias: bool = True) -> None:
        state[f"{name}.weight"] = torch.randn(rows, columns) * columns**-0.5
        if bias:
            state[f"{name}.bias"] = 0.2 * torch.randn(rows)

    def norm(name: str) -> None:
        state[f"{name}.weight"] = 1 + 0.2 * torch.randn(width)
        state[f"{name}.bias"] = 0.2 * torch.randn(width)

    for name, rows in (("tok_emb_img", sizes.codes), ("tok_emb_txt", sizes.rows),
                       ("pos_emb_img", sizes.side**2), ("pos_emb_txt", sizes.length)):  # fmt: skip
        state[f"{name}.weight"] = 0.5 * torch.randn(rows, width)
    for number in range(sizes.layers):
        at = f"blocks.{number}"
        norm(f"{at}.ln1")
        norm(f"{at}.ln2")
        for part in ("key", "query", "value", "proj"):
            linear(f"{at}.attn.{part}", width, width)
        linear(f"{at}.mlp.0", 4 * width, width)
        linear(f"{at}.mlp.2", width, 4 * width)
    norm("ln_f")
    linear("head_img", sizes.codes, width, bias=False)
    linear("head_txt", sizes.rows, width, bias=False)
    return state


def random_vqgan(sizes: Sizes = TINY) -> State:
    """Return the state dict of the first stage."""
    state = vqgan.random_state(sizes.widths)
    if sizes.codes != vqgan.CODES:
        state["quantize.embedding.weight"] = torch.randn(sizes.codes, vqgan.DIMENSIONS)
    return state


def write_tokenizer(folder: Path) -> None:
    """Write a vocabulary of letters and a few words, and the merges that make them."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = ["[PAD]", "[UNK]", *LETTERS, *(f"{each}</w>" for each in LETTERS), *WORDS]
    table = {piece: number for number, piece in enumerate(pieces)}
    (folder / "bpe-16k-vocab.json").write_text(json.dumps(table), encoding="utf-8")
    merges = "\n".join(["#version: 0.2", *MERGES, ""])
    (folder / "bpe-16k-merges.txt").write_text(merges, encoding="utf-8")


def write(folder: Path, sizes: Sizes = TINY, *, pickled: bool = True) -> None:
    """Write the files that minDALL-E's archive has."""
    write_tokenizer(folder / "tokenizer")
    stages = {"stage1_last.ckpt": random_vqgan, "stage2_last.ckpt": random_transformer}
    for name, make in stages.items():
        if pickled:
            torch.save({"state_dict": make(sizes)}, folder / name)
        else:
            save_file(
                {f"state_dict/{key}": each for key, each in make(sizes).items()}, folder / name
            )
    config = f"stage2:\n  hparams:\n    n_heads: {sizes.heads}\n    gelu_use_approx: False\n"
    (folder / "config.yaml").write_text(config, encoding="utf-8")


def tokenize(folder: Path, text: str, length: int) -> list[int]:
    """Return the ids of a text as `CharBPETokenizer` of `tokenizers` gives them, padded."""
    from tokenizers import CharBPETokenizer

    names = (str(folder / f"bpe-16k-{each}") for each in ("vocab.json", "merges.txt"))
    theirs: Any = CharBPETokenizer.from_file(*names, unk_token="[UNK]", lowercase=True)
    theirs.add_special_tokens(["[PAD]"])
    theirs.enable_padding(length=length, pad_id=theirs.token_to_id("[PAD]"))
    theirs.enable_truncation(max_length=length)
    found: list[int] = theirs.encode(text).ids
    return found


def _normed(state: State, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def _linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def logits(state: State, ids: list[int], codes: Tensor, sizes: Sizes = TINY) -> Tensor:
    """Return logits (S, V) of codes (S,) after a text's ids (T,), each knowing those before it."""
    told = state["tok_emb_txt.weight"][ids] + state["pos_emb_txt.weight"]
    cells = state["tok_emb_img.weight"][codes] + state["pos_emb_img.weight"]
    x = torch.cat([told, cells[:-1]])
    later = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
    for number in range(sizes.layers):
        at = f"blocks.{number}"
        normed = _normed(state, f"{at}.ln1", x)
        q, k, v = (_linear(state, f"{at}.attn.{part}", normed).unflatten(-1, (sizes.heads, -1))
                   for part in ("query", "key", "value"))  # fmt: skip
        scores = torch.einsum("lhk,thk->hlt", q, k) / (sizes.width // sizes.heads) ** 0.5
        seen = scores.masked_fill(later, float("-inf")).softmax(-1)
        mixed = torch.einsum("hlt,thk->lhk", seen, v).flatten(1)
        x = x + _linear(state, f"{at}.attn.proj", mixed)
        inner = F.gelu(_linear(state, f"{at}.mlp.0", _normed(state, f"{at}.ln2", x)))
        x = x + _linear(state, f"{at}.mlp.2", inner)
    return _normed(state, "ln_f", x[sizes.length - 1 :]) @ state["head_img.weight"].T
