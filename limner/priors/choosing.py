"""Choosing codes by the native kernel (kernels/choose.h), where it can.

Shapes: B rows, V codes.
"""

import ctypes

import torch
from torch import Tensor

from limner.nn.native import find_library
from limner.sampling.tokens import TokenSampling


class _Choice(ctypes.Structure):
    """`Choice` of kernels/choose.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("rows", "codes", "top_k")),
        *((name, ctypes.c_void_p) for name in ("logits", "without", "scales")),
        *((name, ctypes.c_double) for name in ("temperature", "min_p")),
        *((name, ctypes.c_void_p) for name in ("uniforms", "guided", "sorted", "chances")),
        *((name, ctypes.c_void_p) for name in ("kept", "chosen")),
    ]


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
    library, _ = find_library()
    rows, codes = len(uniforms), logits.shape[-1]
    logits, uniforms = logits.contiguous(), uniforms.double().contiguous()
    scales = torch.as_tensor(scale, dtype=torch.float32).expand(rows, 1).contiguous()
    chosen = torch.empty(rows, dtype=torch.int64)
    # Of each code two numbers of fp32, one of fp64, and one whole number.
    scratch = torch.empty(3 * codes, dtype=torch.int64)
    first = scratch.data_ptr()
    job = _Choice(
        *(rows, codes, sampling.top_k, logits.data_ptr()),
        logits[rows:].data_ptr() if len(logits) > rows else None,
        *(scales.data_ptr(), sampling.temperature, sampling.min_p, uniforms.data_ptr()),
        *(first, first + 4 * codes, first + 8 * codes, first + 16 * codes, chosen.data_ptr()),
    )
    library.limner_choose(ctypes.byref(job))
    return chosen
