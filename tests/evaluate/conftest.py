"""What the tests of the score share: reading needs all sprites, which takes seconds to prepare."""

from pathlib import Path

import pytest

from limner.evaluate.scenes.detection import SceneDetector


@pytest.fixture(scope="session")
def detector(emoji_font: Path) -> SceneDetector:
    return SceneDetector(str(emoji_font))
