"""limner draws pictures from sentences.

Importing it loads nothing heavy: each public name is fetched when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limner.draw import draw, vary
    from limner.errors import LimnerError
    from limner.registry import load
    from limner.types import Picture, Request, Sampling

__version__ = "0.1.0"

__all__ = [
    "LimnerError",
    "Picture",
    "Request",
    "Sampling",
    "__version__",
    "draw",
    "load",
    "vary",
]

_HOMES = {
    "LimnerError": "limner.errors",
    "Picture": "limner.types",
    "Request": "limner.types",
    "Sampling": "limner.types",
    "draw": "limner.draw",
    "load": "limner.registry",
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
        raise AttributeError(f"module 'limner' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
