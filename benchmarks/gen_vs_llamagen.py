"""Drawing in the shapes of LlamaGen: its own decoder against limner's, with the same weights.

    python benchmarks/gen_vs_llamagen.py --reference FOLDER [--size B|L|XL] [--layers N]
        [--cells 256] [--rounds 1] [--precisions fp32 bf16 int8] [--json FILE]

FOLDER is a checkout of github.com/FoundationVision/LlamaGen, which is no package; its transformer
and its `generate` are run as they are, in fp32 with their cache. Both have the same random weights
in the same memory, and are first shown to draw the same codes. A drawing is one picture's cells, or
its first ones, after 120 positions of T5's states, at LlamaGen's scale of 7.5; T5 itself is left
out of both. The peer and every precision of limner take turns, by the processor's own clock.
"""

import argparse
import itertools
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from ratios import Ratio, from_seconds, report

SIZES = {"B": (768, 12, 12, 2048), "L": (1024, 16, 24, 2816), "XL": (1280, 20, 36, 3584)}
CODES, TEXT, STATES, CELLS, SCALE = 16384, 120, 2048, 256, 7.5
TARGET = 3.0


class Held(torch.nn.Module):
    """Stands for T5: the same states for every text."""

    def __init__(self, states: Any) -> None:
        super().__init__()
        self.states = states

    def forward(self, ids: Any) -> Any:
        """Return the states (B, T, C) of ids (B, T)."""
        return self.states.expand(len(ids), -1, -1)


def make_both(size: str, layers: int | None) -> tuple[Any, Any]:
    """Return LlamaGen's transformer and limner's prior, over the same weights."""
    from autoregressive.models.gpt import ModelArgs, Transformer

    from limner.convert.llamagen import KEYS
    from limner.priors.llamagen import LlamaGen, LlamaGenConfig

    width, heads, deep, hidden = SIZES[size]
    deep = layers or deep
    encoder = {"d_model": STATES, "d_kv": 8, "d_ff": 8, "num_layers": 1,
               "num_heads": 1, "vocab_size": 8}  # fmt: skip
    prior = LlamaGen(
        LlamaGenConfig(8, encoder, width=width, layers=deep, heads=heads, hidden=hidden)
    ).eval()
    torch.manual_seed(0)
    for name, parameter in prior.named_parameters():
        parameter.requires_grad_(False)
        if "norm" not in name:
            parameter.normal_(std=0.5 if "embed" in name else parameter.shape[-1] ** -0.5)
    prior.encoder = Held(torch.randn(1, TEXT, STATES))
    args = ModelArgs(
        dim=width, n_layer=deep, n_head=heads, model_type="t2i", cls_token_num=TEXT,
        block_size=CELLS, vocab_size=CODES, caption_dim=STATES,
    )  # fmt: skip
    peer = Transformer(args)
    named = ((KEYS.theirs(name), each) for name, each in prior.named_parameters())
    state = {theirs[0]: each for theirs, each in named if theirs is not None}
    peer.load_state_dict(state, strict=False, assign=True)  # its buffers are computed
    own = {each.data_ptr() for each in prior.parameters()}
    apart = [name for name, each in peer.named_parameters() if each.data_ptr() not in own]
    if apart:
        sys.exit(f"LlamaGen's decoder has weights that limner's has not: {apart[:3]}")
    return peer.eval(), prior


def draw_peer(peer: Any, states: Any, cells: int, top_k: int) -> Any:
    """Draw the first cells of a picture (1, cells) as LlamaGen does."""
    from autoregressive.models.generate import generate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's old switch of attention
        mask = torch.ones(1, TEXT, dtype=torch.bool)
        return generate(peer, states, cells, mask, SCALE, temperature=1.0, top_k=top_k, top_p=1.0)


def draw_limner(prior: Any, text: Any, cells: int, top_k: int) -> Any:
    """Draw the first cells of a picture (1, cells) by limner's loop."""
    from limner.sampling.tokens import TokenSampling

    # limner pushes from the conditional logits, LlamaGen from the others: one less is the same.
    stream = prior.stream(text, TokenSampling(top_k=top_k, guidance=SCALE - 1), [0])
    *_, codes = itertools.islice(stream, cells)
    return codes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--size", choices=SIZES, default="XL")
    parser.add_argument("--layers", type=int, help="fewer than the size has")
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16", "int8"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(options.reference)]
    rows: list[Ratio] = []
    with torch.inference_mode():
        peer, prior = make_both(options.size, options.layers)
        text, states = torch.ones(1, TEXT, dtype=torch.long), prior.encoder.states
        for precision in options.precisions:
            prior.precision = precision
            if precision == "fp32":
                cells = min(options.cells, 32)
                ours = draw_limner(prior, text, cells, 1).flatten()
                theirs = draw_peer(peer, states, cells, 1).flatten()
                same = int((ours == theirs).sum())
                print(f"{same} of {cells} greedy codes are the same", flush=True)
                if same < cells:
                    sys.exit("LlamaGen and limner do not draw the same")
            draw_limner(prior, text, 1, 1000)  # packs the weights
            taken: tuple[list[float], list[float]] = ([], [])
            for _ in range(options.rounds):
                for seconds, draw in zip(taken, (
                    lambda: draw_peer(peer, states, options.cells, 1000),
                    lambda: draw_limner(prior, text, options.cells, 1000),
                ), strict=True):  # fmt: skip
                    began = time.process_time()
                    draw()
                    seconds.append(time.process_time() - began)
            layers = options.layers or SIZES[options.size][2]
            name = f"LlamaGen-{options.size}, {layers} layers, {options.cells} cells, {precision}"
            rows.append(from_seconds(name, *taken, TARGET))
            report(rows[-1:])
    report(rows, options.json)


if __name__ == "__main__":
    main()
