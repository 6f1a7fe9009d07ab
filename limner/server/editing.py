"""Edits of a picture: what the fields of a request ask of `limner.pipelines.edits`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from limner.errors import UsageError
from limner.pipelines.families import FAMILIES
from limner.server.asking import Ask
from limner.types import Edit

if TYPE_CHECKING:
    from PIL.Image import Image


def check_edits(family: str) -> None:
    """Raise UsageError where a family of models can't edit."""
    if not getattr(FAMILIES[family].pipeline(), "edits", False):
        raise UsageError(
            f"edits are not supported by this model, of the family {family!r}; take one of the "
            "family 'dalle' or 'unclip'",
            param="model",
            code="unsupported_value",
        )


def edited(ask: Ask, image: Image, clear: Image | None, strength: float | None) -> Ask:
    """Return an ask that changes a picture: where `clear` (L) is 0, or of all of it `strength`.

    The answer has the size of the picture where no other was asked for.
    """
    from PIL import ImageOps

    mask = None if clear is None else ImageOps.invert(clear)  # white is what is redrawn
    request = replace(ask.request, image=image, mask=mask, edit=Edit(strength))
    return replace(ask, request=request, size=ask.size or image.size)
