"""A function of tensors as one CUDA graph: launched once a call, however many kernels it has.

A step of drawing is some hundred small kernels, and a GPU waits for the processor between them.
"""

import os
from collections.abc import Callable

import torch
from torch import Tensor

WARM_UPS = 3  # calls before a capture, in which libraries choose their kernels


def graphs_wanted(device: torch.device) -> bool:
    """Return whether drawing on `device` goes by graphs; LIMNER_GRAPHS=0 turns them off."""
    return device.type == "cuda" and os.environ.get("LIMNER_GRAPHS") != "0"


def compiling_wanted(device: torch.device) -> bool:
    """Return whether layers are compiled by torch.compile before the capture.

    LIMNER_GRAPHS=compiled asks for it: fewer kernels a step, after some 20 seconds at the start.
    """
    return device.type == "cuda" and os.environ.get("LIMNER_GRAPHS") == "compiled"


class Graphed:
    """`function` of tensors with the shapes of `examples`, captured once and replayed.

    The result is one tensor that the next call overwrites. `function` must do the same work at
    every call, and give the same when it is called again with the same inputs: it is called a few
    times with the examples first. On a device without graphs it is called as it is.
    """

    def __init__(self, function: Callable[..., Tensor], *examples: Tensor) -> None:
        self.function = function
        self.graph: torch.cuda.CUDAGraph | None = None
        if any(each.device.type != "cuda" for each in examples):
            return
        # 1. Inputs at addresses that stay, which a call writes to.
        self.inputs = [each.clone() for each in examples]
        # 2. Warm up on another stream: what libraries allocate and choose must not be captured.
        before = torch.cuda.Stream()
        before.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(before):
            for _ in range(WARM_UPS):
                function(*self.inputs)
        torch.cuda.current_stream().wait_stream(before)
        # 3. Capture; the output too has an address that stays.
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.output = function(*self.inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return what `function` returns for inputs of the examples' shapes."""
        if self.graph is None:
            return self.function(*inputs)
        for held, new in zip(self.inputs, inputs, strict=True):
            held.copy_(new)
        self.graph.replay()
        return self.output
