"""How near a step of drawing comes to the machine's limit, and its memory to what it must hold.

    python benchmarks/roofline.py [--rounds 15] [--json FILE]

The limit of a step is the time in which the machine reads the decoder's weights once, at the rate
at which it sums 256 MiB, sampled in the same round. A ratio is the limit over the step: 1 is the
limit, 0.33 three times as long; weights that fit into the last cache can exceed it. The limit
of memory is the weights and the cache alone, over what a process adds to its peak from before the
weights are made until eight steps are done.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peers import ROOT, peer_environment
from ratios import Ratio, from_seconds, report
from torch import Tensor

BYTES = {"fp32": 4, "bf16": 2, "int8": 1 + 2 / 32}  # 32 weights of int8 share a scale in bf16
HEAD_BYTES = {"fp32": 4, "bf16": 2, "int8": 2}
ROWS = 2  # one picture with guidance
READ = 2**28


@dataclass(frozen=True)
class Shape:
    """A decoder that somebody draws with."""

    width: int
    layers: int
    heads: int
    hidden: int
    vocabulary: int
    length: int
    memory: int = 0  # positions read by cross-attention

    def read(self, precision: str) -> float:
        """Return how many bytes of weights a step reads."""
        attention = (6 if self.memory else 4) * self.width
        layer = self.width * (attention + 3 * self.hidden)
        head = self.vocabulary * self.width
        return self.layers * layer * BYTES[precision] + head * HEAD_BYTES[precision]

    def held(self, precision: str) -> float:
        """Return how many bytes of weights are kept: also those that read the memory once."""
        once = 2 * self.width**2 * self.layers if self.memory else 0
        return self.read(precision) + once * BYTES[precision]


SHAPES = {
    "limner default": Shape(256, 6, 4, 704, 1000, 96),
    "DALLE-pytorch": Shape(512, 12, 8, 2048, 8192, 320),
    "GPT-B": Shape(768, 12, 12, 2048, 16384, 256),
    "DALL-E mini": Shape(1024, 12, 16, 2730, 16384, 256, 64),
}


def matrix(*shape: int) -> Tensor:
    """Return a random matrix that keeps the scale."""
    return torch.randn(shape).mul_(shape[1] ** -0.5)


class Made(Mapping[str, Tensor]):
    """Random weights in fp32, each made when it is asked for, as a file's are when it is read."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = shapes

    def __getitem__(self, name: str) -> Tensor:
        shape = self.shapes[name]
        return matrix(*shape) if len(shape) == 2 else torch.ones(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def layers_of(shape: Shape) -> Iterator[Made]:
    """Yield every layer's weights."""
    width = shape.width
    shapes: dict[str, tuple[int, ...]] = {
        "attention_norm": (width,),
        "qkv": (3 * width, width),
        "out": (width, width),
        "feed_forward_norm": (width,),
        "into": (2 * shape.hidden, width),
        "down": (width, shape.hidden),
    }
    if shape.memory:
        shapes |= {
            "cross_norm": (width,),
            "cross_query": (width, width),
            "cross_key_value": (2 * width, width),
            "cross_out": (width, width),
        }
    for _ in range(shape.layers):
        yield Made(shapes)


def heads_of(shape: Shape) -> Iterator[Made]:
    """Yield the one head."""
    yield Made({"attention_norm": (shape.width,), "head": (shape.vocabulary, shape.width)})


def begin(shape: Shape, precision: str) -> Any:
    """Return a drawing of one picture with guidance."""
    from limner.nn.engine import DecoderShape
    from limner.nn.prepare import prepare

    sizes = DecoderShape(shape.width, shape.layers, shape.heads, shape.hidden)
    stack = prepare(sizes, layers_of(shape), heads_of(shape), precision)
    memory = torch.randn(ROWS, shape.memory, shape.width) if shape.memory else None
    return stack.begin([0] * ROWS, shape.length, None, memory, [shape.memory] * ROWS)


def step(run: Any, x: Tensor, place: int) -> None:
    """Do what a step does but for the choice of a token."""
    run.logits(run.extend(x, place)[:, 0])


def measure_time(name: str, precision: str, rounds: int) -> Ratio:
    """Return the limit over the step, taking turns."""
    shape = SHAPES[name]
    run, x = begin(shape, precision), torch.randn(ROWS, 1, shape.width)
    read = torch.ones(READ // 4)
    limits, steps = [], []
    for number in range(rounds + 1):
        began = time.perf_counter()
        read.sum()
        read_for = time.perf_counter() - began
        limits.append(read_for * shape.read(precision) / READ)
        place = shape.length * number // (rounds + 1)
        began = time.perf_counter()
        step(run, x, place)
        steps.append(time.perf_counter() - began)
    what = f"{name}, {precision}: read limit over step"
    return from_seconds(what, limits[1:], steps[1:], 1 / 3 if precision == "fp32" else None)


def resident(which: str) -> int:
    """Return this process's bytes in memory: now (VmRSS), or at their most (VmHWM).

    Linux alone tells. The usage of resources would do elsewhere, but counts the parent's too.
    """
    found = re.search(rf"^{which}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.M)
    if found is None:
        raise SystemExit("this system does not say how much memory a process uses")
    return int(found[1]) * 1024


def print_memory(name: str, precision: str) -> None:
    """Print the needed bytes and the bytes added at the peak, of a process made for this."""
    shape = SHAPES[name]
    warm = torch.randn(256, 256)
    (warm @ warm).sum()
    before = resident("VmRSS")
    run, x = begin(shape, precision), torch.randn(ROWS, 1, shape.width)
    for place in range(8):
        step(run, x, place)
    cache = 8 * shape.layers * ROWS * shape.width * (shape.length + shape.memory)
    needed = shape.held(precision) + cache
    print(json.dumps([needed, resident("VmHWM") - before]))


def measure_memory(name: str, precision: str) -> Ratio:
    """Return the needed bytes over those that were added, in MB where times have milliseconds."""
    command = [sys.executable, __file__, "--memory-of", name, precision]
    told = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=ROOT, env=peer_environment()
    )
    needed, added = json.loads(told.stdout)
    what = f"{name}, {precision}: MB of weights and cache over peak"
    return from_seconds(what, [needed / 1e9], [added / 1e9], 1 / 1.15)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        with torch.inference_mode():
            print_memory(*options.memory_of)
        return
    from limner.nn.native import find_library

    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {find_library()[1]}")
    with torch.inference_mode():
        rows = [
            measure_time(name, precision, options.rounds) for name in SHAPES for precision in BYTES
        ]
    rows += [measure_memory("DALL-E mini", precision) for precision in BYTES]
    report(rows, options.json)


if __name__ == "__main__":
    main()
