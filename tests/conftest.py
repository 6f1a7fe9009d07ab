"""What tests share: the emoji font, or why its tests are skipped, and English messages."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def english() -> Iterator[None]:
    """Tests read English messages, whatever the locale of the person who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANGUAGE", "en")
        yield


@pytest.fixture(scope="session")
def emoji_font() -> Path:
    """The path of NotoColorEmoji.ttf; tests never fetch it (`make test` does)."""
    script = ROOT / "scripts" / "get-font"
    found = subprocess.run(
        ["sh", str(script), "--offline"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    if found.returncode != 0:
        pytest.skip(found.stderr.strip())
    return Path(found.stdout.strip())
