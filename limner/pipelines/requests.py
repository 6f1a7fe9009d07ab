"""What every pipeline refuses in a request."""

from collections.abc import Sequence

from limner.errors import UsageError
from limner.types import Request


def refuse_pictures(request: Request, names: Sequence[str], reason: str) -> None:
    """Raise UsageError, with the reason and the remedy, for one of `names` that is given."""
    for name in names:
        if getattr(request, name) is not None:
            raise UsageError(f"{name} is given, but {reason}", param=name)


def check_size(request: Request, size: int) -> None:
    """Raise UsageError unless a request leaves the width open, or wants the model's own."""
    if request.size not in (None, size):
        raise UsageError(
            f"this model draws pictures {size} pixels wide, not {request.size}; leave size out or "
            f"give {size}",
            param="size",
        )
