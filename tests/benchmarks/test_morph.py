"""How steady a morph is: its greatest change beside its median one."""

import pytest
from PIL import Image

from benchmarks.morph import steadiness
from limner.morph import Morph


def test_steadiness_is_of_the_greatest_change() -> None:
    frames = [Image.new("RGB", (16, 16))] * 4
    even = Morph(frames, "a", "b", 0, "tiny", changes=(0.1, 0.1, 0.1))
    jump = Morph(frames, "a", "b", 0, "tiny", changes=(0.1, 0.4, 0.1))
    assert steadiness(even) == pytest.approx(1) and steadiness(jump) == pytest.approx(4)
