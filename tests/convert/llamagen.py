"""LlamaGen restated: random weights in its layout, and the logits that its equations give.

Sun 2024, arXiv 2406.06525: blocks of Llama (RMSNorm with 1e-5, SwiGLU, no biases), neighbouring
pairs of queries and keys turned by row and by column, a base of 10,000; queries and keys of the
text are 0, for nothing turns them. Layout and that fact: github.com/FoundationVision/LlamaGen at
5a50452, autoregressive/models/gpt.py; padding on the left that nobody else sees, and what is read
in place of a text: autoregressive/models/generate.py. T5 is transformers' own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from tests.convert import vqgan
from tests.tiny_encoders import make_tokenizer

State = dict[str, Tensor]


@dataclass(frozen=True)
class Sizes:
    """Of the decoder, of T5 and of the tokenizer; `widths` are those of the tokenizer's levels."""

    width: int = 128
    heads: int = 2
    layers: int = 2
    hidden: int = 48
    codes: int = vqgan.CODES
    length: int = 12
    states: int = 32
    side: int = 16
    widths: tuple[int, ...] = (1, 1, 1, 1, 2)


TINY = Sizes()


def random_decoder(sizes: Sizes = TINY) -> State:
    """Return the state dict of a text-to-image decoder."""
    torch.manual_seed(5)

    def matrix(rows: int, columns: int, size: float = 1.0) -> Tensor:
        return torch.randn(rows, columns) * size * columns**-0.5

    width = sizes.width
    state = {
        "cls_embedding.cap_proj.fc1.weight": matrix(width, sizes.states),
        "cls_embedding.cap_proj.fc2.weight": matrix(width, width),
        "cls_embedding.uncond_embedding": torch.randn(sizes.length, sizes.states),
        "tok_embeddings.weight": torch.randn(sizes.codes, width) * 0.5,
        "norm.weight": 1 + 0.2 * torch.randn(width),
        "output.weight": matrix(sizes.codes, width, 2.0),
    }
    for number in range(sizes.layers):
        at = f"layers.{number}"
        state |= {
            f"{at}.attention.wqkv.weight": matrix(3 * width, width, 1.5),
            f"{at}.attention.wo.weight": matrix(width, width),
            f"{at}.feed_forward.w1.weight": matrix(sizes.hidden, width),
            f"{at}.feed_forward.w3.weight": matrix(sizes.hidden, width),
            f"{at}.feed_forward.w2.weight": matrix(width, sizes.hidden),
            f"{at}.attention_norm.weight": 1 + 0.2 * torch.randn(width),
            f"{at}.ffn_norm.weight": 1 + 0.2 * torch.randn(width),
        }
    return state


def random_tokenizer(sizes: Sizes = TINY) -> tuple[State, State]:
    """Return a tokenizer's state dict in LlamaGen's names, and in those of taming-transformers."""
    theirs = vqgan.random_state(sizes.widths)
    if sizes.codes != vqgan.CODES:
        theirs["quantize.embedding.weight"] = torch.randn(sizes.codes, vqgan.DIMENSIONS)
    found: State = {"quantize.codebook_used": torch.zeros(65536)}
    last = len(sizes.widths) - 1
    for name, value in theirs.items():
        parts = name.split(".")
        if parts[1] == "mid":
            parts[2] = {"block_1": "0", "attn_1": "1", "block_2": "2"}[parts[2]]
        if parts[1] in ("down", "up"):
            at = int(parts[2])
            parts[1:3] = ["conv_blocks", str(at if parts[1] == "down" else last - at)]
            parts[3] = {"block": "res"}.get(parts[3], parts[3])
        found[".".join(parts)] = value
    unit = F.normalize(theirs["quantize.embedding.weight"], dim=-1)
    return found, theirs | {"quantize.embedding.weight": unit}


def random_t5(sizes: Sizes = TINY, layers: int = 2) -> Any:
    """Return transformers' encoder of T5 1.1 with random weights."""
    torch.manual_seed(6)
    count = make_tokenizer("t5").get_vocab_size()
    config = transformers.T5Config(
        vocab_size=count + 3, d_model=sizes.states, d_kv=8, d_ff=24, num_layers=layers, num_heads=2,
        feed_forward_proj="gated-gelu", decoder_start_token_id=0,
    )  # fmt: skip
    return transformers.T5EncoderModel(config).eval()


def write(folder: Path, sizes: Sizes = TINY, *, pickled: bool = True, layers: int = 2) -> Any:
    """Write the files of a text-to-image model, and return T5."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    decoder, (tokenizer, _) = random_decoder(sizes), random_tokenizer(sizes)
    for state, name in ((decoder, "t2i_XL_stage1_256.pt"), (tokenizer, "vq_ds16_t2i.pt")):
        if pickled:
            torch.save({"model": state, "steps": 3}, folder / name)
        else:
            save_file(state, folder / name)
    t5 = random_t5(sizes, layers)
    t5.save_pretrained(folder / "flan-t5-xl")
    made: Tokenizer = make_tokenizer("t5")
    made.save(str(folder / "flan-t5-xl" / "tokenizer.json"))
    return t5


def states_of(t5: Any, ids: list[int]) -> Tensor:
    """Return T5's states (T, C) of ids without padding."""
    found: Tensor = t5(input_ids=torch.tensor([ids])).last_hidden_state[0]
    return found


def _normed(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def _turned(x: Tensor, side: int) -> Tensor:
    """Turn the pairs of cells' queries or keys x (S, H, K) by where each stands."""
    head = x.shape[-1]
    cells = torch.arange(len(x))
    frequencies = 10_000.0 ** (-torch.arange(0, head // 2, 2, dtype=x.dtype) / (head // 2))
    rows, columns = cells // side, cells % side
    angles = torch.cat([rows[:, None] * frequencies, columns[:, None] * frequencies], dim=1)
    turns = torch.polar(torch.ones_like(angles), angles)[:, None]  # (S, 1, K / 2)
    turned = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * turns
    return torch.view_as_real(turned).flatten(-2)


def logits(state: State, states: Tensor, codes: Tensor, sizes: Sizes = TINY) -> Tensor:
    """Return logits (S, V) of codes (S,) after T5's states (T, C), each knowing those before it."""
    told = F.gelu(states @ state["cls_embedding.cap_proj.fc1.weight"].T, approximate="tanh")
    told = told @ state["cls_embedding.cap_proj.fc2.weight"].T
    x = torch.cat([told, state["tok_embeddings.weight"][codes[:-1]]])
    text, causal = len(told), torch.ones(len(x), len(x), dtype=torch.bool).tril()
    for number in range(sizes.layers):
        at = f"layers.{number}"
        normed = _normed(x, state[f"{at}.attention_norm.weight"])
        parts = (normed @ state[f"{at}.attention.wqkv.weight"].T).chunk(3, dim=-1)
        q, k, v = (each.unflatten(-1, (sizes.heads, -1)) for each in parts)
        q, k = (torch.cat([torch.zeros_like(each[:text]), _turned(each[text:], sizes.side)])
                for each in (q, k))  # fmt: skip
        scores = torch.einsum("lhk,thk->hlt", q, k) / (sizes.width // sizes.heads) ** 0.5
        scores = scores.masked_fill(~causal, float("-inf"))
        mixed = torch.einsum("hlt,thk->lhk", scores.softmax(-1), v).flatten(1)
        x = x + mixed @ state[f"{at}.attention.wo.weight"].T
        normed = _normed(x, state[f"{at}.ffn_norm.weight"])
        gate = F.silu(normed @ state[f"{at}.feed_forward.w1.weight"].T)
        inner = gate * (normed @ state[f"{at}.feed_forward.w3.weight"].T)
        x = x + inner @ state[f"{at}.feed_forward.w2.weight"].T
    return _normed(x[text - 1 :], state["norm.weight"]) @ state["output.weight"].T


def guided(
    state: State, states: Tensor, codes: Tensor, scale: float, sizes: Sizes = TINY
) -> Tensor:
    """Return logits (S, V) pushed from those without text, as LlamaGen's cfg-scale says."""
    untold = state["cls_embedding.uncond_embedding"][-len(states) :]
    without = logits(state, untold, codes, sizes)
    return without + (logits(state, states, codes, sizes) - without) * scale
