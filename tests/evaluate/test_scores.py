"""Wilson intervals against published values."""

import pytest

from limner.evaluate.resampling import Score, wilson


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [  # the first two rows are method 3 in table I of Newcombe, Statistics in Medicine 17 (1998)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (29, 29, 0.8830, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_gives_known_intervals(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == pytest.approx((low, high), abs=5e-5)


def test_scores_as_json() -> None:
    assert Score.measured(3, 4).to_json() == {"value": 0.75, "low": 0.3006, "high": 0.9544, "n": 4}
    assert Score.measured(0, 0).to_json() == {"value": None, "low": 0.0, "high": 1.0, "n": 0}
    assert Score.computed(0.25).to_json() == {"value": 0.25, "low": 0.25, "high": 0.25, "n": 0}
