"""Where a model computes, by name."""

import torch

from limner.errors import UsageError, did_you_mean, quote

DEVICES = ("auto", "cpu", "cuda")


def find_device(name: str) -> torch.device:
    """Return the device of a name: cpu, cuda, cuda:N, or auto, which is a GPU where there is one.

    Raises UsageError for another name, and for a GPU that torch does not find.
    """
    kind, colon, number = name.partition(":")
    digits = number.isascii() and number.isdecimal() and len(number) < 4
    if kind not in DEVICES or (colon and not (kind == "cuda" and digits)):
        raise UsageError(
            f"device is {quote(name)}; expected {', '.join(DEVICES)} or cuda:N"
            f"{did_you_mean(name, DEVICES)}",
            param="device",
        )
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and int(number or 0) >= found:
        raise UsageError(
            f"device is {quote(name)}, and the number of GPUs that torch finds is {found}; give "
            "auto or cpu, or install a build of torch for your GPU",
            param="device",
        )
    if kind == "cpu" or not found:
        return torch.device("cpu")
    return torch.device("cuda", int(number or 0))
