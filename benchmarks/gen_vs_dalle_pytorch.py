"""A guided step of drawing in DALLE-pytorch's usual shape: its own loop against limner's gpt prior.

    python benchmarks/gen_vs_dalle_pytorch.py [--rounds 32] [--json FILE]

512 wide, 12 layers, 8 heads, 64 text positions, 256 image tokens of 8192, all weights random. The
two are not the same network: DALLE-pytorch has token shift, layer scale and GEGLU; limner's prior
has RMSNorm, normalised queries and keys, 2-D rotary places and SwiGLU, in matrices of the same
sizes. limner has no logits of text at image positions and so streams fewer weights; both figures
are printed. The cached path goes through a picture from its 97th token on; the default path
recomputes everything at every step, so its lengths are spread over the whole picture.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from peers import DALLE_PYTORCH, DALLE_PYTORCH_DEPS, peer_python, rerun_in
from ratios import Ratio, from_seconds, report
from torch import Tensor

WIDTH, LAYERS, HEADS = 512, 12, 8
WORDS, TEXT, TOKENS, CELLS = 10_000, 64, 8192, 256
SCALE, PRIMED = 3.0, 96
PATHS = (("native", "fp32"), ("native", "bf16"), ("native", "int8"), ("stock torch", "fp32"))


def make_peer() -> Any:
    """Return DALLE-pytorch's DALLE with random weights."""
    from dalle_pytorch import DALLE, DiscreteVAE

    torch.manual_seed(0)
    vae = DiscreteVAE(image_size=128, num_layers=3, num_tokens=TOKENS, codebook_dim=64)
    sizes = {"dim": WIDTH, "depth": LAYERS, "heads": HEADS, "dim_head": WIDTH // HEADS}
    return DALLE(vae=vae, num_text_tokens=WORDS, text_seq_len=TEXT, **sizes).eval()


def peer_steps(peer: Any, text: Tensor, codes: Tensor) -> Iterator[None]:
    """Draw on from `codes`, one token a step, as generate_images does with its cache."""
    cache: dict[str, Any] = {}
    drawn = codes
    while True:
        drawn = torch.cat([drawn, peer_step(peer, text, drawn, cache)], dim=1)
        yield


def peer_step(peer: Any, text: Tensor, codes: Tensor, cache: dict[str, Any] | None) -> Tensor:
    """Return the next code by the body of generate_images' loop."""
    from dalle_pytorch.dalle_pytorch import gumbel_sample, top_k

    # Its pass without text zeroes the text it is given: a copy keeps the prompt.
    logits = peer.forward_with_cond_scale(text.clone(), codes, cond_scale=SCALE, cache=cache)
    sample = gumbel_sample(top_k(logits[:, -1, :], thres=0.5), temperature=1.0, dim=-1)
    return (sample - peer.num_text_tokens).clamp(0, TOKENS - 1)[:, None]


def make_prior(precision: str) -> Any:
    """Return limner's gpt prior of the same sizes."""
    from limner.priors import create_prior

    torch.manual_seed(0)
    sizes = {"width": WIDTH, "layers": LAYERS, "heads": HEADS, "hidden": 4 * WIDTH}
    codes = {"text_vocabulary": WORDS, "vocabulary": TOKENS, "grid": [16, 16]}
    prior = create_prior({"name": "gpt", **sizes, **codes}).eval()
    prior.packed.precision = precision
    return prior


def limner_steps(prior: Any, text: Tensor) -> Iterator[None]:
    """Draw picture after picture, one token a step; starting a picture is not timed."""
    from limner.sampling.tokens import TokenSampling

    sampling = TokenSampling(top_k=TOKENS // 2, guidance=SCALE - 1)
    while True:
        stream = prior.stream(text, sampling, [0])
        for _ in range(PRIMED):
            next(stream)
        for _ in stream:
            yield


def streamed(transformer: torch.nn.Module, outputs: int) -> float:
    """Return the millions of weights that a step must read."""
    weights = sum(each.numel() for each in transformer.parameters() if each.ndim == 2)
    return (weights + outputs * WIDTH) / 1e6


def in_turns(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each work in every round after a warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - began)
    return {name: seconds[1:] for name, seconds in taken.items()}


def start(path: str, precision: str, text: Tensor) -> Iterator[None]:
    """Return limner's steps by one path, its weights prepared."""
    from limner.nn.native import find_library

    os.environ["LIMNER_NATIVE"] = "0" if path == "stock torch" else "1"
    find_library.cache_clear()
    prior = make_prior(precision)
    steps = limner_steps(prior, text)
    next(steps)
    return steps


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=32)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rerun_in(peer_python("dalle-pytorch", DALLE_PYTORCH, DALLE_PYTORCH_DEPS))
    peer, prior = make_peer(), make_prior("fp32")
    peer_outputs = peer.num_text_tokens + TOKENS
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(
        f"weights streamed a step: peer {streamed(peer.transformer, peer_outputs):.1f} M, "
        f"limner {streamed(prior.transformer, TOKENS):.1f} M"
    )
    text = torch.randint(1, WORDS, (1, TEXT))
    codes = torch.randint(TOKENS, (1, CELLS))
    rows: list[Ratio] = []
    with torch.inference_mode():
        limners = {f"{path} {each}": start(path, each, text) for path, each in PATHS}
        ours = {name: lambda steps=steps: next(steps) for name, steps in limners.items()}
        cached = peer_steps(peer, text, codes[:, :PRIMED])
        next(cached)
        taken = in_turns({"peer": lambda: next(cached)} | ours, options.rounds)
        for name in ours:
            target = 4.5 if name == "native fp32" else None
            what = f"DALLE-pytorch's shape, guided, to its cached path, {name}"
            rows.append(from_seconds(what, taken["peer"], taken[name], target))
        lengths = iter([16 + (97 * number) % (CELLS - 16) for number in range(1000)])
        default = {"peer": lambda: peer_step(peer, text, codes[:, : next(lengths)], None)}
        taken = in_turns(default | ours, max(4, options.rounds // 2))
        for name in ours:
            target = 25.0 if name == "native fp32" else None
            what = f"DALLE-pytorch's shape, guided, to its default path, {name}"
            rows.append(from_seconds(what, taken["peer"], taken[name], target))
    report(rows, options.json)


if __name__ == "__main__":
    main()
