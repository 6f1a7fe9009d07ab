"""Choosing codes by the native kernel (kernels/choose.h), where it can.

Shapes: B rows, V codes.
"""

import ctypes

import torch
from torch import Tensor

from limner.nn.native import find_library
from limner.sampling.tokens import TokenSampling


class Choice(ctypes.Structure):
    """`Choice` of kernels/choose.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("rows", "codes", "top_k")),
        *((name, ctypes.c_void_p) for name in ("logits", "without", "scales")),
        *((name, ctypes.c_double) for name in ("temperature", "min_p")),
        *((name, ctypes.c_void_p) for name in ("uniforms", "guided", "sorted", "chances")),
        *((name, ctypes.c_void_p) for name in ("kept", "chosen")),
    ]


def choice_of(sampling: TokenSampling, rows: int, codes: int, scratch: Tensor) -> Choice:
    """Return how a code of each row is chosen; `scratch` (3V,) fp64 must be held meanwhile."""
    # Of each code two numbers of fp32, one of fp64, and one whole number.
    guided, chances, kept = (scratch[part * codes :].data_ptr() for part in range(3))
    return Choice(
        rows=rows,
        codes=codes,
        top_k=sampling.top_k,
        temperature=sampling.temperature,
        min_p=sampling.min_p,
        guided=guided,
        sorted=guided + 4 * codes,
        chances=chances,
        kept=kept,
    )


def chooses(logits: Tensor, sampling: TokenSampling) -> bool:
    """Tell whether the kernel chooses from such logits, by such sampling."""
    whole = sampling.top_p >= 1 and sampling.typical_p >= 1
    here = logits.device.type == "cpu" and logits.dtype == torch.float32
    return whole and here and not logits.requires_grad and find_library()[0] is not None


def choose_natively(
    logits: Tensor, scale: float | Tensor, sampling: TokenSampling, uniforms: Tensor
) -> Tensor:
    """Choose one code a row (B,) by uniforms (B,), as `guide_halves` and `choose` do.

    `logits` are (B, V), or (2B, V) with those without text behind, from which `scale` pushes.
    """
    rows, codes = len(uniforms), logits.shape[-1]
    logits, uniforms = logits.contiguous(), uniforms.double().contiguous()
    scales = torch.as_tensor(scale, dtype=torch.float32).expand(rows, 1).contiguous()
    chosen = torch.empty(rows, dtype=torch.int64)
    scratch = torch.empty(3 * codes, dtype=torch.float64)
    job = choice_of(sampling, rows, codes, scratch)
    job.logits, job.chosen = logits.data_ptr(), chosen.data_ptr()
    job.without = logits[rows:].data_ptr() if len(logits) > rows else None
    job.scales, job.uniforms = scales.data_ptr(), uniforms.data_ptr()
    find_library()[0].limner_choose(ctypes.byref(job))
    return chosen
