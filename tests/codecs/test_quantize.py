"""Finite scalars: every code can be reached, embeds as quantised, and gradients pass through."""

import itertools

import pytest
import torch
from torch import Tensor

from limner.codecs.quantize import FiniteScalar

LEVELS = [(8, 5, 5, 5, 4), (3,), (4, 4), (7, 6, 5), (16, 15), (2,), (2, 5, 2)]


def every_point(levels: tuple[int, ...]) -> Tensor:
    """Return vectors (1, D, N, 1) before quantisation, one amid each cell."""
    columns = []
    for level in levels:
        half = (level - 1) * (1 - 1e-3) / 2
        offset = 0.5 if level % 2 == 0 else 0.0
        values = torch.arange(level) - level // 2
        shift = torch.atanh(torch.tensor(offset / half)) if level > 2 else torch.tensor(0.0)
        columns.append(
            torch.atanh((values + offset).clamp(-0.9999 * half, 0.9999 * half) / half) - shift
        )
    return torch.tensor(list(itertools.product(*(c.tolist() for c in columns)))).T[None, :, :, None]


@pytest.mark.parametrize("levels", LEVELS)
def test_every_code_can_be_reached_and_embeds_as_quantised(levels: tuple[int, ...]) -> None:
    quantizer = FiniteScalar(levels)
    z, codes, loss = quantizer(every_point(levels))
    assert sorted(codes.flatten().tolist()) == list(range(quantizer.vocabulary))
    torch.testing.assert_close(quantizer.embed(codes), z)
    assert loss == 0


@pytest.mark.parametrize("levels", LEVELS)
def test_embeddings_are_all_different_and_in_range(levels: tuple[int, ...]) -> None:
    quantizer = FiniteScalar(levels)
    vectors = quantizer.embed(torch.arange(quantizer.vocabulary).view(1, -1, 1))
    assert vectors.shape == (1, len(levels), quantizer.vocabulary, 1)
    assert vectors.abs().max() <= 1
    assert len(vectors[0, :, :, 0].T.unique(dim=0)) == quantizer.vocabulary


@pytest.mark.parametrize("levels", [(2, 3), (8, 5, 5, 5), (4,)])
def test_values_near_a_code_are_that_code(levels: tuple[int, ...]) -> None:
    quantizer = FiniteScalar(levels)
    codes = torch.arange(quantizer.vocabulary)[:, None, None]
    values = quantizer.embed(codes)
    step = 1 / (max(levels) // 2)
    moved = values + (torch.rand(values.shape) - 0.5) * 0.9 * step
    assert torch.equal(quantizer.nearest(moved), codes)
    far = quantizer.nearest(torch.full_like(values, 9.0) * values.sign())
    assert far.min() >= 0 and far.max() < quantizer.vocabulary


def test_two_levels_part_at_zero_and_learn() -> None:
    z = torch.tensor([-3.0, -0.1, 0.1, 3.0]).view(1, 1, 4, 1).requires_grad_()
    quantised, codes, _ = FiniteScalar((2,))(z)
    assert codes.flatten().tolist() == [0, 0, 1, 1]
    assert quantised.flatten().tolist() == [-1, -1, 0, 0]
    quantised.sum().backward()
    assert z.grad is not None and (z.grad > 0).all()


def test_levels_beyond_two_are_as_the_paper_has_them() -> None:
    """The bound of levels from 3 on may not move by a bit: trained codecs rest on it."""
    levels = torch.tensor([3, 4, 5, 8, 16]).view(1, -1, 1, 1)
    z = torch.randn(2, 5, 6, 6) * 3
    half = (levels - 1) * (1 - 1e-3) / 2
    offset = torch.where(levels % 2 == 0, 0.5, 0.0)
    wanted = torch.tanh(z + torch.atanh(offset / half)) * half - offset
    assert torch.equal(FiniteScalar((3, 4, 5, 8, 16))._bound(z), wanted)


def test_far_values_stay_in_the_vocabulary() -> None:
    quantizer = FiniteScalar((8, 5, 5, 5, 4))
    for far in (-1e6, 1e6):
        z, codes, _ = quantizer(torch.full((2, 5, 3, 3), far))
        assert codes.dtype == torch.int64 and codes.shape == (2, 3, 3)
        assert ((codes >= 0) & (codes < quantizer.vocabulary)).all()
        assert z.isfinite().all()


def test_the_gradient_is_that_of_the_bound() -> None:
    quantizer = FiniteScalar((5, 5))
    z = torch.randn(1, 2, 4, 4, requires_grad=True)
    quantised, _, _ = quantizer(z)
    quantised.sum().backward()
    assert z.grad is not None
    wanted = (1 - torch.tanh(z).square()) * 2 * (1 - 1e-3) / 2
    torch.testing.assert_close(z.grad, wanted.detach())


def test_digits_are_independent() -> None:
    quantizer = FiniteScalar((4, 3))
    codes = torch.tensor([[[0, 1], [4, 11]]])
    first, second = quantizer.embed(codes)[0]
    assert first.tolist() == [[-1, -0.5], [-1, 0.5]]
    assert second.tolist() == [[-1, -1], [0, 1]]
