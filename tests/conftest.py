"""What tests share: the emoji font, or why its tests are skipped, English, and no settings."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.cli.settings import SETTINGS

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests read English messages, and nothing is set by the person who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANGUAGE", "en")
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        for setting in SETTINGS:
            if not setting.python:  # the font and the kernel are this machine's
                patch.delenv(setting.variable, raising=False)
        yield


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
