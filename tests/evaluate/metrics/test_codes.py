"""How codes are used: known frequencies, apart for each token map and group."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from limner.evaluate.metrics.codes import bits_of, code_use, code_use_by_map


def codec(*maps: tuple[int, int], vocabulary: int = 16, groups: int = 1) -> Any:
    layout = maps[0] if len(maps) == 1 else (sum(h * w for h, w in maps),)
    return SimpleNamespace(maps=maps, vocabulary=vocabulary, groups=groups, layout=layout)


@pytest.mark.parametrize(
    ("shape", "bits"),
    [
        (codec((8, 8)), 256),
        (codec((8, 8), groups=2), 512),
        (codec((1, 1), (2, 2), (4, 4)), 84),
        (codec((4, 4), vocabulary=1000), 159.45),
    ],
)
def test_bits_of_a_picture(shape: Any, bits: float) -> None:
    assert bits_of(shape) == pytest.approx(bits, abs=0.01)


def test_even_codes_have_their_number_as_perplexity() -> None:
    codes = torch.arange(16).view(1, 4, 4).repeat(3, 1, 1) % 4
    use = code_use(codes, codec((4, 4)))
    assert use.used == pytest.approx(0.25) and use.perplexity == pytest.approx(4)


def test_one_code_alone_has_perplexity_one() -> None:
    use = code_use(torch.full((5, 2, 2), 7), codec((2, 2)))
    assert use.used == pytest.approx(1 / 16) and use.perplexity == pytest.approx(1)


def test_groups_are_counted_apart() -> None:
    """Two groups that share no code would look twice as rich together as each of them is."""
    codes = torch.stack([torch.zeros(3, 2, 2), torch.arange(12).view(3, 2, 2)], dim=-1).long()
    use = code_use(codes, codec((2, 2), groups=2))
    assert use.used == pytest.approx((1 / 16 + 12 / 16) / 2)
    assert use.perplexity == pytest.approx((1 + 12) / 2)


def test_maps_are_counted_apart() -> None:
    codes = torch.tensor([[5, 0, 1, 2, 3], [5, 0, 1, 2, 3]])
    first, second = code_use_by_map(codes, codec((1, 1), (2, 2)))
    assert (first.used, first.perplexity) == pytest.approx((1 / 16, 1))
    assert (second.used, second.perplexity) == pytest.approx((4 / 16, 4))
    both = code_use(codes, codec((1, 1), (2, 2)))
    assert (both.used, both.perplexity) == pytest.approx((2.5 / 16, 2.5))


def test_maps_with_groups() -> None:
    codes = torch.randint(16, (50, 5, 2))
    uses = code_use_by_map(codes, codec((1, 1), (2, 2), groups=2))
    assert [0 < use.used <= 1 and 1 <= use.perplexity <= 16 for use in uses] == [True, True]
