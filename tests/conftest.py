"""What tests share: the emoji font, or why its tests are skipped, English, and no settings."""

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.cli.shared.settings import SETTINGS
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def english() -> Iterator[None]:
    """Tests read English messages, whatever the locale of the person who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANGUAGE", "en")
        yield


@pytest.fixture(scope="session", autouse=True)
def unset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is set by the person who runs the tests but where this machine has things."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        for setting in SETTINGS:
            if not setting.python:
                patch.delenv(setting.variable, raising=False)
        yield


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """A command that serves changes where logs go; the next test finds them as they were."""
    names = ("limner.server", "uvicorn.error")
    before = [
        (log, log.handlers, log.propagate, log.level) for log in map(logging.getLogger, names)
    ]
    yield
    for log, handlers, propagate, level in before:
        log.handlers, log.propagate = handlers, propagate
        log.setLevel(level)


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
