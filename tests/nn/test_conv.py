"""Convolutional blocks: shapes, the identity at the start, and what pixels go where."""

import pytest
import torch

from limner.nn.conv import Downsample, PixelNorm, ResidualBlock, SpatialAttention, Upsample


@pytest.mark.parametrize("channels", [4, 32, 192])
def test_a_fresh_residual_block_adds_a_constant(channels: int) -> None:
    block = ResidualBlock(channels)
    x = torch.randn(2, channels, 5, 5)
    assert block.conv2.bias is not None
    torch.testing.assert_close(block(x), x + block.conv2.bias.view(1, -1, 1, 1))


def test_a_residual_block_learns() -> None:
    block = ResidualBlock(8)
    block(torch.randn(1, 8, 4, 4)).square().sum().backward()
    assert block.conv2.weight.grad is not None and block.conv2.weight.grad.abs().sum() > 0


def test_attention_is_that_of_torch_with_one_head() -> None:
    layer = SpatialAttention(8)
    reference = torch.nn.MultiheadAttention(8, 1, batch_first=True)
    with torch.no_grad():
        for ours, theirs in (
            (layer.queries_keys_values.weight[..., 0, 0], reference.in_proj_weight),
            (layer.queries_keys_values.bias, reference.in_proj_bias),
            (layer.out.weight[..., 0, 0], reference.out_proj.weight),
            (layer.out.bias, reference.out_proj.bias),
        ):
            assert ours is not None and theirs is not None
            theirs.copy_(ours)
    x = torch.randn(2, 8, 3, 5)
    rows = layer.norm(x).flatten(2).mT
    wanted = reference(rows, rows, rows)[0].mT.view(2, 8, 3, 5) + x
    torch.testing.assert_close(layer(x), wanted)


def test_down_halves_and_up_doubles() -> None:
    x = torch.randn(2, 6, 8, 12)
    assert Downsample(6, 5)(x).shape == (2, 5, 4, 6)
    for kernel in (1, 3):
        assert Upsample(6, 5, kernel)(x).shape == (2, 5, 16, 24)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_up_multiplies_by_any_factor(factor: int) -> None:
    x = torch.randn(2, 6, 4, 5)
    assert Upsample(6, 3, factor=factor)(x).shape == (2, 3, 4 * factor, 5 * factor)


def test_pixels_are_normalised_alone() -> None:
    norm = PixelNorm(16)
    x = torch.randn(2, 16, 5, 5) * torch.arange(1.0, 26).view(1, 1, 5, 5)
    torch.testing.assert_close(norm(x).square().mean(1), torch.ones(2, 5, 5))
    torch.testing.assert_close(norm(x)[..., 1:3, 1:3], norm(x[..., 1:3, 1:3]))
    block = ResidualBlock(16, PixelNorm)
    assert (block(x) - x).std((2, 3)).max() < 1e-5  # its last weights begin as nothing


def test_down_sees_its_own_four_pixels_alone() -> None:
    layer = Downsample(1, 3)
    x = torch.randn(1, 1, 6, 6)
    changed = x.clone()
    changed[..., 2:4, 4:6] += 1
    moved = (layer(x) - layer(changed)).abs().sum(1)[0] > 0
    assert moved.nonzero().tolist() == [[1, 2]]


def test_up_after_down_can_give_back_the_picture() -> None:
    down, up = Downsample(3, 12), Upsample(12, 3, 1)
    for layer in (down, up):
        torch.nn.init.zeros_(layer.conv.bias)  # type: ignore[arg-type]
        layer.conv.weight.data = torch.eye(12)[..., None, None]
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(up(down(x)), x)
