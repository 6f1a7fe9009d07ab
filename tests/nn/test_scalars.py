"""A head that says which value each finite scalar has."""

import pytest
import torch
from torch import nn

from limner.codecs.quantize import FiniteScalar
from limner.errors import ConfigError
from limner.nn.scalars import ScalarHead, check_levels, finite_scalars

LEVELS = [4, 3]


def head() -> ScalarHead:
    torch.manual_seed(0)
    made = ScalarHead(6, 4, LEVELS)
    nn.init.normal_(made.weight)
    return made


def test_its_values_are_those_of_finite_scalars() -> None:
    levels = [8, 5, 2]
    codes = torch.arange(80).view(1, 8, 10)
    found = [set(row[~row.isnan()].tolist()) for row in finite_scalars(levels)]
    assert found == [set(row.unique().tolist()) for row in FiniteScalar(levels).embed(codes)[0]]


def test_a_new_head_calls_every_value_as_likely() -> None:
    logits = ScalarHead(6, 4, LEVELS)(torch.randn(2, 6))
    shares = logits.softmax(-1)
    assert shares.shape == (2, 4, 4)
    torch.testing.assert_close(shares[:, 0], torch.full((2, 4), 0.25))
    torch.testing.assert_close(shares[:, 3], torch.tensor([1, 1, 1, 0]).expand(2, 4) / 3)


def test_the_likeliest_are_codes_and_have_the_gradient_of_the_expected() -> None:
    made, features = head(), torch.randn(5, 7, 6)
    logits = made(features).requires_grad_()
    likeliest, expected = made.likeliest(logits), made.expected(logits)
    # Values of a code are what the codec's own rounding leaves as they are.
    vectors = likeliest.detach()[None, :, :, :2].movedim(-1, 1).contiguous()
    quantizer = FiniteScalar(LEVELS)
    torch.testing.assert_close(quantizer.embed(quantizer.nearest(vectors)), vectors)
    assert not torch.allclose(likeliest, expected)
    weights = torch.randn_like(expected)
    ours, theirs = (
        torch.autograd.grad((each * weights).sum(), logits, retain_graph=True)[0]
        for each in (likeliest, expected)
    )
    assert torch.equal(ours, theirs) and ours.any()


def test_what_is_likeliest_has_the_least_loss() -> None:
    made, features = head(), torch.randn(9, 6)
    logits = made(features)
    best = made.likeliest(logits)
    other = made.scalars.nan_to_num()[:, 0].expand_as(best)
    assert made.loss(logits * 1e3, best) < 1e-3 < 1 < made.loss(logits * 1e3, other)


@pytest.mark.parametrize(
    ("levels", "patch", "words"),
    [([4, 1], 1, "each of 2 at least"), ([4, 3], 2, "patch 2; values are told apart by patch 1")],
)
def test_levels_that_cannot_be_are_refused(levels: list[int], patch: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_levels(levels, patch)
    check_levels([], patch)  # none are no mistake


def test_levels_of_another_codec_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"levels is \[4, 3\], and 3 channels are drawn"):
        ScalarHead(6, 3, LEVELS)
