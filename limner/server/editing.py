"""Edits of a picture: the one place where the server meets what the library can do of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from limner.errors import UsageError
from limner.server.catalogue import Pipeline
from limner.types import Picture, Request

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Editing:
    """What is to be changed of a picture, and how much, 0 to 1; None is as the model likes.

    Clear pixels of the mask are drawn anew; without a mask all may change.
    """

    image: Image
    mask: Image | None
    strength: float | None


def check_edits(family: str) -> None:
    """Raise UsageError where a family of models can't edit."""
    raise UsageError(
        f"edits are not supported by this model, of the family {family!r}; draw a picture, or vary "
        "one with a model of the family 'unclip'",
        param="model",
        code="unsupported_value",
    )


def edit_pictures(pipeline: Pipeline, request: Request, editing: Editing) -> list[Picture]:
    """Return `request.n` pictures that are edits; in the thread that draws, errors as above."""
    check_edits(pipeline.family)
    return []
