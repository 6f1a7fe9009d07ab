"""What tests share: the emoji font, or one clear reason why its tests are skipped."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def emoji_font() -> Path:
    """The path of NotoColorEmoji.ttf; tests never fetch it (`make test` does)."""
    script = ROOT / "scripts" / "get-font"
    found = subprocess.run(
        ["sh", str(script), "--offline"], capture_output=True, text=True, check=False, timeout=60
    )
    if found.returncode != 0:
        pytest.skip(found.stderr.strip())
    return Path(found.stdout.strip())
