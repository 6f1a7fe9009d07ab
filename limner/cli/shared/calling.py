"""How limner was called, so that a command line that it prints can be typed as it stands."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def called_as() -> list[str]:
    """Return the words that call limner from where the person is.

    `limner` where the shell finds this one by its name, else the path of the script that was
    called, or python and `-m limner`. It knows no aliases.
    """
    script = Path(sys.argv[0])  # the entry point, or limner/__main__.py with python -m
    if script.stem == "limner" and script.is_file():
        return ["limner"] if _is_found("limner", script) else [_shown(script)]
    if script.name == "__main__.py" and script.parent.name == "limner":
        beside = Path(sys.executable).with_name("limner")
        if _is_found("limner", beside):
            return ["limner"]
        python = Path(sys.executable)  # no script beside it: python -m it was
        named = [name for name in ("python", "python3") if _is_found(name, python)]
        return [named[0] if named else _shown(python), "-m", "limner"]
    return ["limner"]


def _is_found(name: str, path: Path) -> bool:
    """Tell whether the shell takes this file for a name; a link in another folder is another."""
    found = shutil.which(name)
    return found is not None and os.path.abspath(found) == os.path.abspath(path)


def _shown(path: Path) -> str:
    """Return a path as short as can be typed here."""
    absolute = Path(os.path.abspath(path))
    try:
        inside = absolute.relative_to(Path.cwd())
    except (OSError, ValueError):  # no current folder any more, or outside of it
        return str(absolute)
    return str(inside) if len(inside.parts) > 1 else os.path.join(os.curdir, inside)
