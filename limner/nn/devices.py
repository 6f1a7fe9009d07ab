"""Where a model computes, by name."""

import torch

from limner.errors import UsageError, quote
from limner.types import check_device

BF16 = ("avx512_bf16", "amx_bf16", "bf16")  # as torch names it of processors, the last of ARM's


def computes_bf16(device: torch.device | str) -> bool:
    """Tell whether a device multiplies bf16 itself.

    A processor that does not takes several times as long in bf16 as in fp32.
    """
    if torch.device(device).type != "cpu":
        return True
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in BF16)


def bf16_where_fast(device: torch.device) -> torch.autocast:
    """Return a context of bf16 where the device computes in it, and of fp32 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=computes_bf16(device))


def device_name(given: str | int | torch.device) -> str:
    """Return the name of a device; a number is that of a GPU, as torch takes it."""
    return f"cuda:{given}" if isinstance(given, int) else str(given)


def find_device(given: str | int | torch.device) -> torch.device:
    """Return the device of a name: cpu, cuda, cuda:N, or auto, which is a GPU where there is one.

    Raises UsageError for another name, and for a GPU that torch does not find.
    """
    name = device_name(given)
    kind, number = check_device(name)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and number >= found:
        raise UsageError(
            f"device is {quote(name)}, and the number of GPUs that torch finds is {found}; give "
            "auto or cpu, or install a build of torch for your GPU",
            param="device",
        )
    if kind == "cpu" or not found:
        return torch.device("cpu")
    return torch.device("cuda", number)
