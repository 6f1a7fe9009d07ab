"""How colours are judged: beside the grey picture that they were made of."""

import numpy as np
import pytest
from PIL import Image

from benchmarks.colourise import figures


def test_truer_colours_gain_over_grey() -> None:
    rows = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    true = Image.fromarray(rows)
    grey = true.convert("L").convert("RGB")
    right, none = figures(true, true, grey), figures(grey, true, grey)
    assert right["gain"] > 0 and (right["better"], right["changed"]) == (1, 1)
    assert right["ssim"] == pytest.approx(1, abs=1e-4)
    assert (none["gain"], none["better"], none["changed"]) == (0, 0, 0)
