"""Backdrops: which one is painted, by its cells, by how it looks and by words."""

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.nn.painter import Backdrops
from limner.nn.told import Told


def behind() -> Tensor:
    """Say of every cell that something stands in it."""
    return torch.tensor([0.0, 99.0])[None, :, None, None].expand(1, 2, 4, 4)


def test_cells_that_differ_show_each_its_own_backdrop() -> None:
    backdrops = Backdrops(3, 4, (8, 8))
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 0, :, :2] = logits[:, 2, :, 2:] = 99.0
    found = backdrops.mixed(logits, torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, 4, 4))
    left, right = backdrops(torch.tensor([0])), backdrops(torch.tensor([2]))
    torch.testing.assert_close(found[..., :6], left[..., :6])
    torch.testing.assert_close(found[..., 10:], right[..., 10:])
    for one in (left, right):
        assert not torch.allclose(found[..., 7:9], one[..., 7:9])


def test_of_two_backdrops_words_decide_unless_the_cells_are_sure() -> None:
    backdrops = Backdrops(3, 4, (8, 8))
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 0] = 6.0  # 400 times as likely as each other one
    given = logits, torch.zeros(1, 3, 8, 8), behind()
    first, last = (backdrops(torch.tensor([number])) for number in (0, 2))
    assert torch.equal(backdrops.mixed(*given), first)
    assert torch.equal(backdrops.mixed(*given, [Told(place=2)]), last)
    assert torch.equal(backdrops.mixed(*given, [Told(place=2, weight=0.0)]), first)
    logits[:, 0] = 30.0
    assert torch.equal(backdrops.mixed(*given, [Told(place=2)]), first)


def test_a_backdrop_that_nobody_would_see_is_not_mixed_in() -> None:
    backdrops = Backdrops(3, 4, (8, 8))
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 2] = 2.5  # four times the logarithm of its share: e ** 10 times as likely
    found = backdrops.mixed(logits, torch.zeros(1, 3, 8, 8), behind())
    assert torch.equal(found, backdrops(torch.tensor([2])))


def test_of_likely_backdrops_the_one_that_the_small_picture_shows_is_painted() -> None:
    backdrops = Backdrops(3, 4, (8, 8))
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 0] = 0.5  # the likeliest by a little
    wanted = backdrops(torch.tensor([2]))
    small = F.adaptive_avg_pool2d(wanted, 8).detach()
    standing = torch.zeros(1, 2, 4, 4)
    found = backdrops.mixed(logits, small, standing)
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0)
    hidden = small.clone()
    hidden[..., :4] = 9.0  # where something stands before it nothing is compared
    standing[:, 1, :, :2] = 99.0
    found = backdrops.mixed(logits, hidden, standing)
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0)
