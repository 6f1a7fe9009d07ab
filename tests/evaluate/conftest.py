"""What the tests of the score share: reading needs all sprites, which takes seconds to prepare."""

from pathlib import Path

import pytest

from limner.evaluate.scenes.detection import Reader


@pytest.fixture(scope="session")
def reader(emoji_font: Path) -> Reader:
    return Reader(str(emoji_font))
