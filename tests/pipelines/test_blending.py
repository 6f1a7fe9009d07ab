import pytest
import torch

from limner.pipelines.blending import close_hole, fill_hole, resize


def striped(size: int = 32) -> torch.Tensor:
    return torch.linspace(-1, 1, size).expand(1, 3, size, size).clone()


def hole(size: int = 32) -> torch.Tensor:
    share = torch.zeros(1, 1, size, size)
    share[..., 8:24, 8:24] = 1
    return share


def test_a_filled_hole_knows_nothing_of_what_was_there() -> None:
    share, one, other = hole(), striped(), striped()
    other[..., 8:24, 8:24] = torch.rand(3, 16, 16)
    assert torch.equal(fill_hole(one, share), fill_hole(other, share))
    filled = fill_hole(one, share)
    assert torch.allclose(filled[..., :8, :], one[..., :8, :], atol=1e-6)
    assert (filled - one).abs().max() < 0.7  # it continues what is around


def test_where_nothing_is_kept_the_hole_is_grey() -> None:
    assert fill_hole(striped(), torch.ones(1, 1, 32, 32)).abs().max() == 0


def test_kept_pixels_do_not_change_by_a_bit() -> None:
    share, picture = hole(), torch.rand(1, 3, 32, 32)
    closed = close_hole(picture, torch.rand(1, 3, 32, 32), share, 2.0)
    assert torch.equal(closed[..., :8, :], picture[..., :8, :])
    assert torch.equal(closed[..., :, 24:], picture[..., :, 24:])
    assert not torch.equal(closed, picture)


def test_a_drawing_of_another_shade_leaves_no_seam() -> None:
    share, picture = hole(), striped()
    closed = close_hole(picture, picture - 0.5, share, 2.0)
    step = (closed[..., 8, 8:24] - closed[..., 7, 8:24]).abs().mean()
    assert step < 0.15  # of 0.5 without blending
    assert (closed - picture)[..., 15, 15].abs().max() > 0.4  # far inside it stays as drawn


def test_a_soft_share_mixes() -> None:
    share = torch.full((1, 1, 16, 16), 0.25)
    closed = close_hole(torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16), share, 2.0)
    assert torch.allclose(closed, torch.full_like(closed, 0.25))


@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_keeps_what_has_the_size(channels: int) -> None:
    picture = torch.rand(1, channels, 20, 20)
    assert resize(picture, (20, 20)) is picture
    assert resize(picture, (7, 7)).shape == (1, channels, 7, 7)
