"""Weights of 8 bits: each is a whole number from -127 to 127 times the scale of its block.

A large matrix NAME of a model's file becomes NAME, I8 of the same shape, and NAME.scales, BF16
(numbers / 32,): every 32 numbers, in the order in which they are stored, share one scale, which is
their greatest magnitude / 127. What is small, and a codec, whose codes of a picture must stay what
they are, is stored in fp16. config.json says so (`weights`); nothing is guessed from the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limner.errors import CheckpointError, UsageError, did_you_mean, quote
from limner.files.safetensors import TensorEntry

if TYPE_CHECKING:
    from torch import Tensor

INT8 = "int8"
STORED = ("fp32", "fp16", INT8)
BLOCK = 32  # as many as share a scale where a prior draws in int8, so that it rounds nothing anew
PACKED = "I8 in blocks"  # in place of a dtype: the matrix that an I8 and its scales are together
_GREATEST = 127
_LEAST = 1024  # numbers: what smaller matrices would save, the header says more of
_SCALES = ".scales"
_EXACT = ("codec.", "autoencoder.")


@dataclass(frozen=True)
class Rounding:
    """What packing did to the numbers that it rounded: how many, and the error in each.

    `greatest` and `rms` are of |error|; `relative` is rms / the rms of the numbers themselves.
    """

    count: int
    greatest: float
    rms: float
    relative: float


def store(tensors: Mapping[str, Tensor], weights: str) -> dict[str, Tensor]:
    """Return tensors as a file holds them in fp32, fp16 or int8; UsageError for another word."""
    if weights not in STORED:
        raise UsageError(
            f"weights is {quote(weights)}; expected {', '.join(STORED)}"
            f"{did_you_mean(str(weights), STORED)}",
            param="weights",
        )
    if weights == INT8:
        return pack(tensors)
    half = weights == "fp16"
    return {k: v.half() if half and v.is_floating_point() else v for k, v in tensors.items()}


def pack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as a file of 8 bits holds them; those that are packed already become the same.

    Raises UsageError where a matrix holds NaN or infinity.
    """
    packed = dict[str, "Tensor"]()
    for name, tensor in tensors.items():
        if not _packs(name, tensor):
            packed[name] = tensor.half() if tensor.is_floating_point() else tensor
            continue
        levels, scales = _rounded(tensor)
        if not bool(scales.isfinite().all()):
            raise UsageError(
                f"{quote(name)} holds NaN or infinite values, which {INT8} cannot store; store "
                "the weights in fp32",
                param="weights",
            )
        packed[name], packed[f"{name}{_SCALES}"] = levels, scales
    return packed


def unpack(
    tensors: Mapping[str, Tensor], into: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return tensors with matrices in place of levels and scales.

    They are multiplied out into those of `into`, a network's own, so that memory holds them once.
    """
    import torch

    whole = dict[str, "Tensor"]()
    for name, tensor in tensors.items():
        if _is_scales(name, tensors):
            continue
        scales = tensors.get(f"{name}{_SCALES}")
        if scales is None or tensor.dtype != torch.int8:
            whole[name] = tensor
            continue
        matrix = torch.empty(tensor.shape) if into is None else into[name]
        torch.mul(tensor.view(-1, BLOCK), scales.float().unsqueeze(1), out=matrix.view(-1, BLOCK))
        whole[name] = matrix
    return whole


def whole_entries(entries: Mapping[str, TensorEntry], source: str) -> dict[str, TensorEntry]:
    """Return the header of a file of 8 bits with one entry for a matrix, whose dtype is `PACKED`.

    Raises CheckpointError where one has no scales of its own, or not as many as it has blocks.
    """
    whole = dict(entries)
    for name, entry in entries.items():
        if entry.dtype != "I8":
            continue
        scales = whole.pop(f"{name}{_SCALES}", None)
        wanted = TensorEntry("BF16", (entry.count // BLOCK,))
        if entry.count % BLOCK or scales != wanted:
            found = "none" if scales is None else f"{scales.dtype} {scales.shape}"
            raise CheckpointError(
                f"{source}: tensor {quote(name)} I8 {entry.shape} needs one BF16 scale for each "
                f"{BLOCK} numbers, and has {found}; get the model anew"
            )
        whole[name] = TensorEntry(PACKED, entry.shape)
    return whole


def rounding(tensors: Mapping[str, Tensor]) -> Rounding:
    """Return what `pack` does to the matrices that it packs."""
    import torch

    matrices = {name: each for name, each in tensors.items() if _packs(name, each)}
    again = unpack(pack(matrices))
    if not matrices:
        return Rounding(0, 0.0, 0.0, 0.0)
    given = torch.cat([each.double().flatten() for each in matrices.values()])
    errors = torch.cat([again[name].double().flatten() for name in matrices]) - given
    rms, size = (float(each.square().mean().sqrt()) for each in (errors, given))
    return Rounding(len(given), float(errors.abs().max()), rms, rms / size)


def _packs(name: str, tensor: Tensor) -> bool:
    return (
        tensor.is_floating_point()
        and tensor.ndim >= 2
        and tensor.numel() >= _LEAST
        and tensor.numel() % BLOCK == 0
        and not name.startswith(_EXACT)
    )


def _is_scales(name: str, tensors: Mapping[str, Tensor]) -> bool:
    import torch

    of = tensors.get(name.removesuffix(_SCALES)) if name.endswith(_SCALES) else None
    return of is not None and of.dtype == torch.int8


def _rounded(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return levels and scales; a block of zeros has the scale 0."""
    import torch

    blocks = matrix.detach().float().reshape(-1, BLOCK)
    scales = (blocks.abs().amax(1) / _GREATEST).bfloat16()
    # bf16 has the exponents of fp32: the greatest is 127 times any scale, whatever its size, so
    # that what is packed once more becomes the same.
    levels = (blocks / scales.float().unsqueeze(1)).round().nan_to_num(0.0, 0.0, 0.0)
    return levels.clamp(-_GREATEST, _GREATEST).to(torch.int8).view(matrix.shape), scales
