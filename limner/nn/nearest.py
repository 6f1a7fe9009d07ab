"""The nearest codes by the native kernel, and which of them are certain (kernels/nearest.h).

Shapes: N vectors, V codes, D dimensions.
"""

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.nn.native import find_library

ROWS = 1024  # vectors or codes that are rounded at a time, while a cache holds them
UNIT = 2.0**-23


class _Search(ctypes.Structure):
    """`Search` of kernels/nearest.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("rows", "codes", "panels", "quads", "width")),
        *((name, ctypes.c_void_p) for name in ("levels", "packed", "row_scales", "windows")),
        *((name, ctypes.c_void_p) for name in ("code_scales", "biases", "starts", "vectors")),
        *((name, ctypes.c_void_p) for name in ("codebook", "found", "settled")),
    ]


def searches() -> bool:
    """Tell whether there is a kernel that searches here."""
    library, _ = find_library()
    return library is not None and bool(library.limner_searches())


def search(vectors: Tensor, codebook: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return codes (N,), and whether each is certainly the nearest, of fp32 (N, D) and (V, D).

    `scale` is the power of two that brings all magnitudes near one.
    """
    # 1. Both sides are centred and rounded to 8 bits by a scale of each row; what is lost is known.
    library, _ = find_library()
    vectors, codebook = vectors.contiguous(), codebook.contiguous()
    centre = codebook.mul(scale).mean(0)  # (D,)
    z, e = _rounded(vectors, centre, scale), _rounded(codebook, centre, scale)
    width, panel = vectors.shape[1], library.limner_searches()  # D; codes side by side
    # Cauchy-Schwarz for what rounding the factors does; what fp32 rounds beside is a small multiple
    # of its unit, and the last term bounds what may be flushed to zero.
    error = z.residuals * e.norms.max() + (z.norms + z.residuals) * e.residuals.max()
    error = error + (width + 8) * UNIT * (z.norms + e.norms.max()).square() + width * 2.0**-100
    # 2. Codes come in panels, four dimensions side by side: what one instruction multiplies. The
    #    kernel's instruction takes unsigned numbers from one side, so 128 is added to the vectors'
    #    levels, and `starts` takes it off the sums again.
    missing = -len(codebook) % panel
    packed = F.pad(e.levels, (0, 0, 0, missing)).view(-1, panel, e.levels.shape[1] // 4, 4)
    kept = {
        "levels": z.levels.view(torch.uint8).bitwise_xor(128),
        "packed": packed.transpose(1, 2).contiguous(),
        "row_scales": z.scales,
        "windows": 2.02 * error,
        "code_scales": F.pad(e.scales, (0, missing)),
        "biases": F.pad(e.norms.square() / -2, (0, missing), value=float("-inf")),
        "starts": F.pad(e.levels.sum(1, dtype=torch.int32) * -128, (0, missing)),
        "vectors": vectors,
        "codebook": codebook,
        "found": torch.zeros(len(vectors), dtype=torch.int64),
        "settled": torch.zeros(len(vectors), dtype=torch.bool),
    }
    # 3. The kernel finds the best code, and whether no other comes within twice the error.
    job = _Search(len(vectors), len(codebook), len(packed), packed.shape[2], width)
    for name, tensor in kept.items():
        setattr(job, name, tensor.data_ptr())
    library.limner_search(ctypes.byref(job), torch.get_num_threads())
    return kept["found"], kept["settled"]


@dataclass(frozen=True)
class _Rounded:
    """Rows in whole numbers of -127 to 127: (N, D') of them with D' a multiple of four."""

    levels: Tensor
    scales: Tensor  # (N,), and so on
    norms: Tensor
    residuals: Tensor


def _rounded(values: Tensor, centre: Tensor, scale: float) -> _Rounded:
    found: list[tuple[Tensor, ...]] = []
    for block in values.split(ROWS):
        centred = block.mul(scale) - centre
        scales = (centred.abs().amax(1) / 127).clamp_min(2.0**-120)
        levels = (centred / scales[:, None]).round_()
        norms, rest = centred.norm(dim=1), centred.addcmul_(levels, scales[:, None], value=-1)
        found.append((levels.to(torch.int8), scales, norms, rest.norm(dim=1)))
    levels, scales, norms, residuals = (torch.cat(each) for each in zip(*found, strict=True))
    return _Rounded(F.pad(levels, (0, -values.shape[1] % 4)), scales, norms, residuals)
