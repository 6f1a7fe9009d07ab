"""ruDALL-E restated: random weights in its layout, and the logits that its equations give.

Ding 2021 (CogView, arXiv 2105.13290): layers of GPT-2 with a norm behind each part too; GELU by
tanh. Layout, what each layer sees, the padding id of each place and both versions: PyPI rudalle
1.1.3, rudalle/dalle/model.py, transformer.py and image_attention.py. Its tokenizer is
github.com/VKCOM/YouTokenToMe, youtokentome/cpp/bpe.cpp.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from tests.convert import vqgan
from tests.convert.mindalle import State, _linear, _normed

MARK, PAD, UNK, BOS, EOS = "\u2581", 0, 1, 2, 3
LETTERS = MARK + "абвгдежзийклмнопрстуя,"
MERGES = ("к о", "ко т", f"{MARK} кот", "н а", f"{MARK} на", "с т", "ст о", "л е", "сто ле")


@dataclass(frozen=True)
class Sizes:
    """Of the transformer and of the VQGAN; `widths` are those of the VQGAN's levels."""

    width: int = 128
    heads: int = 2
    layers: int = 4
    ids: int = 60
    codes: int = vqgan.CODES
    length: int = 12
    side: int = 16
    version: int = 3
    widths: tuple[int, ...] = (1, 1, 1, 2)


TINY = Sizes()


def random_transformer(sizes: Sizes = TINY) -> State:
    """Return the state dict of a transformer, without what its layers see."""
    torch.manual_seed(7)
    width, state = sizes.width, State()

    def linear(name: str, rows: int, columns: int) -> None:
        state[f"{name}.weight"] = torch.randn(rows, columns) * columns**-0.5
        state[f"{name}.bias"] = 0.2 * torch.randn(rows)

    def norm(name: str) -> None:
        state[f"{name}.weight"] = 1 + 0.2 * torch.randn(width)
        state[f"{name}.bias"] = 0.2 * torch.randn(width)

    rows = sizes.ids + sizes.length
    for name, count in (("text", rows), ("image", sizes.codes), ("text_pos", sizes.length + 1),
                        ("image_row", sizes.side), ("image_col", sizes.side)):  # fmt: skip
        state[f"{name}_embeddings.weight"] = 0.5 * torch.randn(count, width)
    norm("to_logits.0")
    linear("to_logits.1", rows + sizes.codes, width)
    for number in range(sizes.layers):
        at = f"transformer.layers.{number}"
        for part in ("input", "post_attention", "before_first_addition", "before_second_addition"):
            norm(f"{at}.{part}_layernorm")
        linear(f"{at}.attention.query_key_value", 3 * width, width)
        linear(f"{at}.attention.dense", width, width)
        linear(f"{at}.mlp.dense_h_to_4h", 4 * width, width)
        linear(f"{at}.mlp.dense_4h_to_h", width, 4 * width)
    norm("transformer.final_layernorm")
    return state


def random_vqgan(sizes: Sizes = TINY) -> State:
    """Return the state dict of the VQGAN."""
    state = vqgan.random_state(sizes.widths, gumbel=True)
    if sizes.codes != vqgan.CODES:
        state["quantize.embed.weight"] = torch.randn(sizes.codes, vqgan.DIMENSIONS)
        weight = torch.randn(sizes.codes, vqgan.DIMENSIONS, 1, 1)
        state |= {"quantize.proj.weight": weight, "quantize.proj.bias": torch.randn(sizes.codes)}
    return state


def pieces() -> dict[str, int]:
    """Return the ids of letters and of what merges make."""
    made = [*LETTERS, *(each.replace(" ", "") for each in MERGES)]
    return {piece: number for number, piece in enumerate(made, start=4)}


def write_tokenizer(folder: Path) -> None:
    """Write `bpe.model`."""
    table = pieces()
    lines = [f"{len(LETTERS)} {len(MERGES)}"]
    lines += [f"{ord(letter)} {table[letter]}" for letter in LETTERS]
    for merge in MERGES:
        first, second = merge.split(" ")
        lines.append(f"{table[first]} {table[second]} {table[first + second]}")
    lines.append(f"{UNK} {PAD} {BOS} {EOS}")
    (folder / "bpe.model").write_text("\n".join(lines) + "\n", encoding="utf-8")


def tokenize(text: str) -> list[int]:
    """Return the ids of a text: of each word the pieces that merges make, in their order."""
    table, found = pieces(), [BOS]
    for word in text.lower().strip().replace(MARK, " ").split():
        parts: list[str] = [MARK]
        for letter in word:
            if letter in table:
                parts.append(letter)
            elif parts[-1] != "":
                parts.append("")  # all unknown letters that lie together
        for merge in MERGES:
            first, second = merge.split(" ")
            at = 0
            while at + 1 < len(parts):
                if parts[at : at + 2] == [first, second]:
                    parts[at : at + 2] = [first + second]
                at += 1
        found += [table[part] if part else UNK for part in parts]
    return [*found, EOS]


def write(folder: Path, sizes: Sizes = TINY, *, pickled: bool = True, seen: bool = True) -> None:
    """Write the files of a ruDALL-E, with what its layers see among the weights or without."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder)
    state = random_transformer(sizes)
    if seen:
        masks = zip(("row", "col", "conv"), seen_by(sizes), strict=True)
        state |= {f"transformer.{name}_mask": each for name, each in masks}
    codec = random_vqgan(sizes)
    model, other = folder / "pytorch_model.bin", folder / "vqgan.gumbelf8-sber.model.ckpt"
    if pickled:
        torch.save(state, model)
        torch.save({"state_dict": codec}, other)
    else:
        save_file(state, model)
        save_file(codec, other)


@cache
def seen_by(sizes: Sizes) -> list[Tensor]:
    """Return what rows, columns and windows let see (N, N), position by position."""
    total, side = sizes.length + sizes.side**2, sizes.side
    masks = [torch.zeros(total, total, dtype=torch.bool) for _ in range(3)]
    for later in range(total):
        for earlier in range(later + 1):
            from_row, from_column = divmod(earlier - sizes.length, side)
            row, column = divmod(later - sizes.length, side)
            apart = [abs(row - from_row), abs(column - from_column)]
            if sizes.version == 2:
                apart = [min(each, side - each) for each in apart]
            near = (later - earlier < side + 1, column == from_column, max(apart) < 6)
            for mask, sees in zip(masks, near, strict=True):
                mask[later, earlier] = sees or earlier < sizes.length
    return masks


def logits(state: State, ids: list[int], codes: Tensor, sizes: Sizes = TINY) -> Tensor:
    """Return logits (S, V) of codes (S,) after a text's ids, each knowing those before it."""
    # 1. Each place has a padding id of its own, and in version 2 an id more stands before all.
    ids = ids[: sizes.length] + [0] * (sizes.length - len(ids))
    told = torch.tensor([each or sizes.ids + at for at, each in enumerate(ids)])
    if sizes.version == 2:
        told = F.pad(told, (1, 0), value=BOS)
    text = state["text_embeddings.weight"][told]
    text = text + state["text_pos_embeddings.weight"][: len(told)]
    where = torch.arange(len(codes) - 1)
    cells = state["image_embeddings.weight"][codes[:-1]]
    cells = cells + state["image_row_embeddings.weight"][where // sizes.side]
    cells = cells + state["image_col_embeddings.weight"][where % sizes.side]
    x = torch.cat([text, cells])
    # 2. The layers see rows, every fourth one columns, and the last one windows.
    row, column, window = (each[: len(x), : len(x)] for each in seen_by(sizes))
    for number in range(sizes.layers):
        at = f"transformer.layers.{number}"
        mask = column if (number - 1) % 4 == 0 else row if number < sizes.layers - 1 else window
        normed = _normed(state, f"{at}.input_layernorm", x)
        parts = _linear(state, f"{at}.attention.query_key_value", normed).chunk(3, dim=-1)
        q, k, v = (each.unflatten(-1, (sizes.heads, -1)) for each in parts)
        scores = torch.einsum("lhk,thk->hlt", q, k) / (sizes.width // sizes.heads) ** 0.5
        seen = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        mixed = torch.einsum("hlt,thk->lhk", seen, v).flatten(1)
        mixed = _linear(state, f"{at}.attention.dense", mixed)
        x = x + _normed(state, f"{at}.before_first_addition_layernorm", mixed)
        normed = _normed(state, f"{at}.post_attention_layernorm", x)
        inner = _linear(state, f"{at}.mlp.dense_h_to_4h", normed)
        inner = inner * (1 + torch.tanh(0.7978845608 * (inner + 0.044715 * inner**3))) / 2
        inner = _linear(state, f"{at}.mlp.dense_4h_to_h", inner)
        x = x + _normed(state, f"{at}.before_second_addition_layernorm", inner)
    normed = _normed(state, "transformer.final_layernorm", x[len(told) - 1 :])
    found = _linear(state, "to_logits.1", _normed(state, "to_logits.0", normed))
    return found[:, -sizes.codes :]
