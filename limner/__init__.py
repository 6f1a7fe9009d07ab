"""limner draws pictures from sentences.

Importing it loads nothing heavy: each public name is fetched when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from limner.errors import did_you_mean

if TYPE_CHECKING:
    from limner.colourise import colourise
    from limner.convert.exporting import export_checkpoint
    from limner.convert.importing import import_checkpoint
    from limner.draw import draw, vary
    from limner.editing import edit, outpaint
    from limner.errors import LimnerError
    from limner.explain import Explanation, explain
    from limner.finish.upscale import upscale
    from limner.model import Model, load
    from limner.morph import Morph, morph
    from limner.registry import list_models, list_parts
    from limner.restyle import restyle
    from limner.types import Edit, Picture, Request, Sampling, Step

__version__ = "0.1.0"

__all__ = [
    "Edit",
    "Explanation",
    "LimnerError",
    "Model",
    "Morph",
    "Picture",
    "Request",
    "Sampling",
    "Step",
    "__version__",
    "colourise",
    "draw",
    "edit",
    "explain",
    "export_checkpoint",
    "import_checkpoint",
    "list_models",
    "list_parts",
    "load",
    "morph",
    "outpaint",
    "restyle",
    "upscale",
    "vary",
]

_HOMES = {
    "Edit": "limner.types",
    "Explanation": "limner.explain",
    "LimnerError": "limner.errors",
    "Model": "limner.model",
    "Morph": "limner.morph",
    "Picture": "limner.types",
    "Request": "limner.types",
    "Sampling": "limner.types",
    "Step": "limner.types",
    "colourise": "limner.colourise",
    "draw": "limner.draw",
    "edit": "limner.editing",
    "explain": "limner.explain",
    "export_checkpoint": "limner.convert.exporting",
    "import_checkpoint": "limner.convert.importing",
    "list_models": "limner.registry",
    "list_parts": "limner.registry",
    "load": "limner.model",
    "outpaint": "limner.editing",
    "morph": "limner.morph",
    "restyle": "limner.restyle",
    "upscale": "limner.finish.upscale",
    "vary": "limner.draw",
}


class _Package(ModuleType):
    """Keeps `limner.draw` the function: importing the module `limner.draw` would hide it."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        hint = did_you_mean(name, __all__)
        raise AttributeError(f"module 'limner' has no attribute {name!r}{hint}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
