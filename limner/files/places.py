"""Where limner keeps what a person made or fetched, on every system."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """Return the folder of the gallery and of fetched models; it may not be there yet."""
    root = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(root) / "limner"
