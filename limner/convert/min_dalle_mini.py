"""DALL-E mini where its files lie beside those of mega, as in the repository of min-dalle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limner.convert import min_dalle

if TYPE_CHECKING:
    from limner.convert.files import Files
    from limner.convert.formats import Plan


def looks_like(files: Files) -> bool:
    """Say whether the files of mini are there, under the names with `_mini`."""
    return all(files.find(name) is not None for name in min_dalle.mini_names())


def plan(files: Files) -> Plan:
    """Return the model that the files hold; CheckpointError for what does not fit."""
    return min_dalle.plan_of(files, min_dalle.mini_names())
