"""What every pipeline takes for a request, and refuses in one."""

from collections.abc import Sequence

from limner.errors import UsageError, quote
from limner.types import Request


def as_request(given: Request | str) -> Request:
    """Return a request as it is, and of a prompt alone the request for one picture of it.

    Raises UsageError for anything else.
    """
    if isinstance(given, str):
        return Request(given)
    if not isinstance(given, Request):
        raise UsageError(
            f"the request is {quote(given)}; expected a prompt, or a limner.Request",
            param="request",
        )
    return given


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


def refuse_processors(request: Request) -> None:
    """Raise UsageError for logits processors, where a model draws no tokens."""
    if request.logits_processors:
        raise UsageError(
            "logits_processors are given, but this model draws no tokens and has no logits; leave "
            "them out, or draw with a model of the family 'dalle'",
            param="logits_processors",
        )
