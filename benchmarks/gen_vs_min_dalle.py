"""A step of drawing in the shape of DALL-E mini: min-dalle's own decoder against limner's.

    python benchmarks/gen_vs_min_dalle.py [--rounds 24] [--json FILE]

Both have the same random weights (12 layers of 1024 with cross-attention to 64 text positions,
16384 image tokens) and are first shown to give the same logits. A step is a pass of the decoder
with guidance and the choice of a token; its place in the picture jumps about all 256 from round to
round. The peer and every variant of limner take turns.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mini import (
    CELLS,
    TEXT,
    TOKENS,
    LimnerStep,
    PeerStep,
    head_of_peer,
    layers_of_peer,
    make_peer,
    parity,
)
from peers import MIN_DALLE, MIN_DALLE_DEPS, peer_python, rerun_in
from ratios import Ratio, from_seconds, report
from roofline import SHAPES
from torch import Tensor

MINI = SHAPES["DALL-E mini"]
TARGETS = {("fp32", 1): 4.0, ("bf16", 1): 6.0, ("fp32", 4): 6.0, ("bf16", 4): 8.0}


def show_parity(peer: Any, stack: Any, memory: Tensor, name: str) -> None:
    """Draw a few steps with both and print how far their logits are apart; fp32 must agree."""
    worst, spread = parity(PeerStep(peer, 1, memory), LimnerStep(stack, peer, 1, memory), 12)
    print(f"{name}: logits differ by at most {worst:.1e} (their spread is {spread:.2f})")
    if "fp32" in name and worst > 1e-4 * max(1.0, spread):
        sys.exit("the peer and limner do not compute the same")


def in_turns(works: dict[str, Callable[[int], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each work in every round, at a place in the picture of the round."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        place = (number * 97) % CELLS
        for name, work in works.items():
            began = time.perf_counter()
            work(place)
            taken[name].append(time.perf_counter() - began)
    return {name: seconds[1:] for name, seconds in taken.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rerun_in(peer_python("min-dalle", MIN_DALLE, MIN_DALLE_DEPS))
    from limner.nn.engine import DecoderShape
    from limner.nn.native import NativeEngine, find_library
    from limner.nn.torch_engine import TorchEngine
    from limner.types import PRECISIONS

    library, why = find_library()
    threads = torch.get_num_threads()
    peer = make_peer(MINI)  # min-dalle sets the number of threads when it is imported
    torch.set_num_threads(threads)
    print(f"torch {torch.__version__}, {threads} threads; native kernel: {why}")
    sizes = (MINI.width, MINI.layers, MINI.heads, MINI.hidden)
    shape = DecoderShape(*sizes, layer_norm=True, gelu=True)
    head = head_of_peer(peer)
    variants: dict[str, tuple[str, Any]] = {}
    for precision in PRECISIONS:
        if library is not None:
            stack: Any = NativeEngine(library, shape, layers_of_peer(peer), [head], precision)
            variants[f"native {precision}"] = precision, stack
        if precision != "int8":
            stack = TorchEngine(shape, layers_of_peer(peer), [head], precision)
            variants[f"stock torch {precision}"] = precision, stack
    rows: list[Ratio] = []
    with torch.inference_mode():
        memory = torch.randn(2, TEXT, MINI.width)
        for name, (_, stack) in variants.items():
            show_parity(peer, stack, memory, name)
        for pictures in (1, 4):
            tokens = torch.randint(TOKENS, (pictures,))
            steps: dict[str, Any] = {"peer": PeerStep(peer, pictures, memory)}
            for name, (_, stack) in variants.items():
                steps[name] = LimnerStep(stack, peer, pictures, memory)
            taken = in_turns(
                {
                    name: lambda place, step=step, tokens=tokens: step(tokens, place)
                    for name, step in steps.items()
                },
                options.rounds,
            )
            for name, (precision, _) in variants.items():
                what = f"min-dalle's shape, {pictures} at once, {name}"
                first = "native" in name or library is None
                target = TARGETS.get((precision, pictures)) if first else None
                rows.append(from_seconds(what, taken["peer"], taken[name], target))
    report(rows, options.json)


if __name__ == "__main__":
    main()
