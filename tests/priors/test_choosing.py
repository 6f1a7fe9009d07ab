"""Codes that the kernel chooses are those that stock torch would."""

import pytest
import torch

from limner.nn.native import find_library
from limner.priors.choosing import choose_natively, chooses
from limner.sampling.tokens import TokenSampling, choose, guide_halves

ROWS = 4

pytestmark = pytest.mark.skipif(find_library()[0] is None, reason="there is no kernel here")


@pytest.mark.parametrize("top_k", [0, 1, 3, 40, 5000])
@pytest.mark.parametrize("codes", [1, 7, 40, 41, 1000])
@pytest.mark.parametrize("scale", [0.0, 2.0, torch.tensor([[0.3], [1.0], [2.0], [3.5]])])
def test_they_are_those_of_stock_torch(codes: int, top_k: int, scale: float | torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(codes + top_k)
    for number in range(12):
        sampling = TokenSampling((0.5, 1.0, 2.0)[number % 3], top_k, 1.0, (0, 0.05)[number % 2])
        logits = 3 * torch.randn(2 * ROWS, codes, generator=generator)
        uniforms = torch.rand(ROWS, generator=generator)
        assert chooses(logits, sampling)
        expected = choose(guide_halves(logits, scale), sampling, uniforms)
        assert choose_natively(logits, scale, sampling, uniforms).equal(expected)
        told = logits[:ROWS]
        expected = choose(told, sampling, uniforms)
        assert choose_natively(told, 0.0, sampling, uniforms).equal(expected)


def test_of_codes_that_tie_as_many_stay_as_are_asked_for() -> None:
    logits = torch.zeros(ROWS, 9)
    sampling = TokenSampling(top_k=3)
    uniforms = torch.tensor([0.0, 0.4, 0.8, 1 - 2**-24])
    assert choose_natively(logits, 0.0, sampling, uniforms).tolist() == [0, 1, 2, 2]


def test_nothing_that_is_a_number_is_the_last_code() -> None:
    logits = torch.full((ROWS, 5), float("nan"))
    uniforms = torch.rand(ROWS)
    assert choose_natively(logits, 0.0, TokenSampling(top_k=2), uniforms).tolist() == [4] * ROWS


@pytest.mark.parametrize("changed", [{"top_p": 0.9}, {"typical_p": 0.9}])
def test_some_sampling_is_left_to_torch(changed: dict[str, float]) -> None:
    assert not chooses(torch.zeros(1, 4), TokenSampling(**changed))  # type: ignore[arg-type]
    assert not chooses(torch.zeros(1, 4, dtype=torch.float64), TokenSampling())
