"""What every pipeline refuses in a request."""

from limner.errors import UsageError
from limner.types import Request


def check_size(request: Request, size: int) -> None:
    """Raise UsageError unless a request leaves the width open, or wants the model's own."""
    if request.size not in (None, size):
        raise UsageError(
            f"this model draws pictures {size} pixels wide, not {request.size}; leave size out or "
            f"give {size}",
            param="size",
        )
