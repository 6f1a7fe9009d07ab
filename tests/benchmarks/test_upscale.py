"""The benchmark of enlarging: what is compared with what, and that a better picture scores more."""

import pytest
import torch
from PIL import Image

from benchmarks.upscale import LARGE, SMALL, line, measure, photographs, plain, shrunk, spread
from benchmarks.upscale import Row as Line


def test_small_pictures_are_the_means_of_large_ones() -> None:
    large = torch.full((2, 3, LARGE, LARGE), -1.0)
    large[..., 0, 0] = 1.0
    small = shrunk(large)
    assert small.shape == (2, 3, SMALL, SMALL)
    assert float(small[0, 0, 0, 0]) == pytest.approx(-1 + 2 / 16, abs=0.01)


def test_a_truer_picture_scores_more() -> None:
    x = torch.linspace(-3, 3, LARGE)
    true = (x[:, None] * 7).sin().mul((x * 5).cos()).expand(2, 3, LARGE, LARGE)
    small = shrunk(true)
    smooth, coarse = (
        measure(plain(how)(small), true)
        for how in (Image.Resampling.LANCZOS, Image.Resampling.NEAREST)
    )
    assert all(bool((a > b).all()) for a, b in zip(smooth, coarse, strict=True))


def test_the_row_says_what_was_measured() -> None:
    mean, half = spread(torch.tensor([1.0, 3.0]))
    assert mean == 2 and half == pytest.approx(1.96)
    said = line(Line("scenes", 2, "Lanczos", (30.0, 1.0), (0.9, 0.01), None))
    assert "30.00 ± 1.00" in said and said.endswith("-")


def test_photographs_are_those_of_the_package() -> None:
    pytest.importorskip("skimage")
    found = photographs()
    assert len(found) >= 8 and found.shape[1:] == (3, LARGE, LARGE)
