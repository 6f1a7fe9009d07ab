"""Drawing in the shape of minDALL-E: its own decoder against limner's, with the same weights.

    python benchmarks/gen_vs_mindalle.py --reference FOLDER [--layers 42] [--cells 256]
        [--pictures 1] [--rounds 1] [--precisions fp32 bf16 int8] [--json FILE]

FOLDER is a checkout of github.com/kakaobrain/minDALL-E, which is no package; its transformer and
its loop of sampling are run as they are, in fp32. Both have the same random weights (of 42 layers
of 1536, or fewer), in the same memory, and are first shown to draw the same codes by the same
logits. A drawing is one picture's cells, or its first ones, after 64 text positions, or those of
several candidates at once, as minDALL-E is used; the peer and every precision of limner take turns,
by the processor's own clock.
"""

import argparse
import itertools
import sys
import time
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from ratios import Ratio, from_seconds, report

WIDTH, HEADS, ROWS, CODES, TEXT, CELLS = 1536, 24, 16384, 16384, 64, 256
TARGET = 3.0


def reference(folder: Path) -> tuple[Any, Any]:
    """Return the modules of minDALL-E's transformer and of its sampling."""
    import importlib

    # Its packages import what is not needed here (Lightning, URLs), so empty ones stand for them.
    for name in ("dalle", "dalle.models", "dalle.models.stage2", "dalle.utils"):
        module = ModuleType(name)
        module.__path__ = [str(folder / name.replace(".", "/"))]
        sys.modules[name] = module
    config = ModuleType("omegaconf")
    config.OmegaConf = object  # type: ignore[attr-defined]
    sys.modules.setdefault("omegaconf", config)
    names = ("dalle.models.stage2.transformer", "dalle.utils.sampling")
    transformer, sampling = (importlib.import_module(name) for name in names)
    return transformer, sampling


def make_both(transformer: Any, layers: int) -> tuple[Any, Any]:
    """Return minDALL-E's transformer and limner's prior, over the same weights."""
    from limner.priors.gpt2 import GPT2, GPT2Config

    torch.manual_seed(0)
    prior = GPT2(GPT2Config(ROWS + 1, layers=layers)).eval()
    for name, parameter in prior.named_parameters():
        parameter.requires_grad_(False)
        if "norm" not in name:
            parameter.normal_(std=0.02 if "embed" in name or "placed" in name else WIDTH**-0.5)
    hparams = SimpleNamespace(
        embed_dim=WIDTH, n_layers=layers, n_dense_layers=layers, n_heads=HEADS, ctx_len_img=CELLS,
        ctx_len_txt=TEXT, embd_pdrop=0.0, resid_pdrop=0.0, attn_pdrop=0.0, mlp_bias=True,
        attn_bias=True, gelu_use_approx=False,
    )  # fmt: skip
    with torch.device("meta"):
        peer = transformer.Transformer1d(ROWS, CODES, hparams)
    state = {
        "tok_emb_txt": prior.text_embed, "tok_emb_img": prior.embed, "ln_f": prior.norm,
        "pos_emb_txt": prior.text_placed, "pos_emb_img": prior.placed, "head_img": prior.head,
        "head_txt": prior.text_head,
    }  # fmt: skip
    own: dict[str, Any] = {f"{a}.{end}": each for a, b in state.items()
                           for end, each in b.named_parameters()}  # fmt: skip
    for number, layer in enumerate(prior.layers):
        at, held = f"blocks.{number}", dict(layer.named_parameters())
        for end in ("weight", "bias"):
            for a, b in (("ln1", "attention_norm"), ("ln2", "feed_forward_norm"),
                         ("attn.proj", "out"), ("mlp.0", "into"), ("mlp.2", "down")):  # fmt: skip
                own[f"{at}.{a}.{end}"] = held[f"{b}.{end}"]
            parts = held[f"qkv.{end}"].chunk(3)
            own |= {f"{at}.attn.{a}.{end}": each
                    for a, each in zip(("query", "key", "value"), parts, strict=True)}  # fmt: skip
    peer.load_state_dict(own, strict=True, assign=True)
    for block in peer.blocks:  # no part of the state, so still without values
        whole = torch.ones(TEXT + CELLS, TEXT + CELLS).tril()
        block.attn.mask = whole.view(1, TEXT + CELLS, TEXT + CELLS)
    return peer.eval(), prior


def draw_peer(sampling: Any, peer: Any, tokens: Any, cells: int, top_k: int) -> Any:
    """Draw the first cells of N pictures (N, cells) of texts (N, 64) as minDALL-E does."""
    return sampling.sampling(
        peer, tokens, top_k=top_k, is_tqdm=False, use_fp16=False, max_seq_len=cells
    )


def draw_limner(prior: Any, text: Any, cells: int, top_k: int, hooks: Any = ()) -> Any:
    """Draw the first cells of N pictures (N, cells) of texts (N, 64) by limner's loop."""
    from limner.sampling.tokens import TokenSampling

    drawn = []
    for rows in text.split(prior.batch_rows):
        seeds = [*range(len(rows))]
        stream = prior.stream(rows, TokenSampling(top_k=top_k), seeds, processors=hooks)
        *_, codes = itertools.islice(stream, cells)
        drawn.append(codes)
    return torch.cat(drawn)


def show_parity(sampling: Any, peer: Any, prior: Any, text: Any, cells: int) -> None:
    """Draw greedily with both, and print how far their logits are apart."""
    seen: list[Any] = []

    def watch(_: Any, logits: Any) -> Any:
        seen.append(logits)
        return logits

    codes = draw_limner(prior, text, cells, 1, (watch,))
    theirs = draw_peer(sampling, peer, text - 1, cells, 1)
    places = torch.arange(TEXT)[None], torch.arange(cells)[None]
    wanted, _ = peer(theirs, text - 1, places[1], places[0])
    worst = float((torch.cat(seen) - wanted[0]).abs().max())
    same = torch.equal(codes, theirs)
    print(f"{cells} greedy codes are {'the same' if same else 'not the same'}; "
          f"logits differ by at most {worst:.1e} (their spread is {float(wanted.std()):.2f})",
          flush=True)  # fmt: skip
    if not same or worst > 1e-4:
        sys.exit("minDALL-E and limner do not compute the same")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=42)
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--pictures", type=int, default=1, help="drawn at once")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16", "int8"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    transformer, sampling = reference(options.reference)
    rows: list[Ratio] = []
    with torch.inference_mode():
        peer, prior = make_both(transformer, options.layers)
        text = torch.randint(1, ROWS + 1, (1, TEXT), generator=torch.Generator().manual_seed(1))
        for precision in options.precisions:
            prior.precision = precision
            if precision == "fp32":
                show_parity(sampling, peer, prior, text, min(options.cells, 32))
            texts = text.expand(options.pictures, -1)
            draw_limner(prior, texts, 1, 256)  # packs the weights
            draws = (
                partial(draw_peer, sampling, peer, texts - 1, options.cells, 256),
                partial(draw_limner, prior, texts, options.cells, 256),
            )
            taken: tuple[list[float], list[float]] = ([], [])
            for _ in range(options.rounds):
                for seconds, draw in zip(taken, draws, strict=True):
                    began = time.process_time()
                    draw()
                    seconds.append(time.process_time() - began)
            shape = f"{options.layers} layers, {options.cells} cells, {options.pictures} at once"
            name = f"minDALL-E, {shape}, {precision}"
            rows.append(from_seconds(name, *taken, TARGET))
            report(rows[-1:])
    report(rows, options.json)


if __name__ == "__main__":
    main()
