"""Machines that a run may be planned for: what their makers say of them, and this processor."""

import time
from dataclasses import dataclass

import torch

MATRIX = 1024
GIB = 2**30


@dataclass(frozen=True)
class Hardware:
    """A processor: its dense half-precision products a second, its memory, and what a run gets.

    `rate` is in FLOP a second as the maker states it, of bf16, or fp16 where it has no bf16.
    `utilisation` is the share of it that a training step is assumed to reach. One that is `alone`
    is planned for one rank only.
    """

    name: str
    rate: float
    memory: int
    utilisation: float
    source: str
    alone: bool = False


# Well-tuned training of large transformers reaches 0.3 to 0.5 of the peak; small models reach less.
GPUS = (
    Hardware("T4", 65e12, 16 * GIB, 0.3, "maker's sheet, fp16: it has no bf16"),
    Hardware("A10", 125e12, 24 * GIB, 0.3, "maker's sheet, bf16"),
    Hardware("A100", 312e12, 80 * GIB, 0.3, "maker's sheet, bf16, 80 GB"),
    Hardware("H100", 989e12, 80 * GIB, 0.3, "maker's sheet, bf16 without sparsity, SXM"),
)


def this_processor(bf16: bool) -> Hardware:
    """Return the processor we run on, its rate measured by a product of two matrices of 1024."""
    kind = torch.bfloat16 if bf16 else torch.float32
    left, right = torch.randn(2, MATRIX, MATRIX).to(kind)
    best = float("inf")
    for _ in range(6):
        began = time.perf_counter()
        _ = left @ right
        best = min(best, time.perf_counter() - began)
    name, threads = "this CPU", torch.get_num_threads()
    source = f"measured here, {str(kind).removeprefix('torch.')}, {threads} threads"
    return Hardware(name, 2 * MATRIX**3 / best, _memory(), 0.5, source, alone=True)


def _memory() -> int:
    import os

    if not hasattr(os, "sysconf"):
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
