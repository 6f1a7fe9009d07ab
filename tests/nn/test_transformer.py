"""The transformer: the cache is the full pass, rotary is relative, a block is its equations."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from limner.nn.transformer import (
    Block,
    KeyValueCache,
    RMSNorm,
    Transformer,
    TransformerConfig,
    rotary_angles,
    rotate,
)

CONFIG = TransformerConfig(width=32, layers=2, heads=2, hidden=48)


def positions(length: int, columns: int = 3) -> Tensor:
    index = torch.arange(length)
    return torch.stack([index // columns, index % columns], dim=-1)[None]


def causal(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril()[None, None]


@pytest.fixture
def model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(CONFIG).eval()


@torch.no_grad()
@pytest.mark.parametrize("pieces", [[7], [1] * 7, [3, 1, 2, 1]])
def test_the_cache_gives_the_full_pass(model: Transformer, pieces: list[int]) -> None:
    x, where, mask = torch.randn(2, 7, 32), positions(7), causal(7)
    full = model(x, where, mask)
    cache = KeyValueCache(CONFIG, 2, 7)
    parts, start = [], 0
    for length in pieces:
        end = start + length
        part = model(x[:, start:end], where[:, start:end], mask[:, :, start:end, :end], cache)
        parts.append(part)
        start = end
    assert cache.filled == 7
    torch.testing.assert_close(torch.cat(parts, 1), full, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_masked_position_changes_nothing(model: Transformer) -> None:
    x, where = torch.randn(1, 5, 32), positions(5)
    changed = x.clone()
    changed[:, 3:] = 9.0
    before, after = (model(each, where, causal(5)) for each in (x, changed))
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], after[:, 3:])


@torch.no_grad()
def test_only_differences_of_places_matter(model: Transformer) -> None:
    x, where = torch.randn(2, 6, 32), positions(6)
    moved = where + torch.tensor([4, -7])
    torch.testing.assert_close(model(x, where), model(x, moved), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model(x, where), model(x, where * 2), atol=1e-3)


def test_rotary_products_are_relative_on_both_axes() -> None:
    torch.manual_seed(1)
    query, key = torch.randn(1, 1, 1, 16), torch.randn(1, 1, 1, 16)

    def product(a: tuple[int, int], b: tuple[int, int]) -> float:
        turned = []
        for vector, place in ((query, a), (key, b)):
            angles = rotary_angles(torch.tensor([[place]]), 16)[:, None]
            turned.append(rotate(vector, angles.cos(), angles.sin()))
        return float((turned[0] * turned[1]).sum())

    assert product((0, 0), (2, 5)) == pytest.approx(product((3, 1), (5, 6)), abs=1e-4)
    assert product((0, 0), (2, 5)) != pytest.approx(product((0, 0), (5, 2)), abs=1e-2)
    assert product((0, 0), (0, 3)) != pytest.approx(product((0, 0), (0, 4)), abs=1e-2)


def test_rotation_keeps_lengths() -> None:
    x = torch.randn(2, 3, 4, 16)
    angles = rotary_angles(positions(4), 16)[:, None]
    assert angles.shape == (1, 1, 4, 8)
    turned = rotate(x, angles.cos(), angles.sin())
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[:, :, 0], x[:, :, 0])  # the place (0, 0) turns nothing


def test_rms_norm_is_its_equation() -> None:
    norm = RMSNorm(8)
    norm.weight.data = torch.arange(8.0)
    x = torch.randn(3, 8)
    wanted = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * torch.arange(8.0)
    torch.testing.assert_close(norm(x), wanted)
    assert norm(x.bfloat16()).dtype == torch.bfloat16


def plain_norm(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def plain_block(block: Block, x: Tensor, where: Tensor, mask: Tensor) -> Tensor:
    """Compute a block one head and one position at a time, in loops."""
    weights = dict(block.named_parameters())
    size, half = 16, 8
    normed = plain_norm(x, weights["attention_norm.weight"])
    queries, keys, values = (normed @ weights["attention.qkv.weight"].T).split(32, dim=-1)
    frequencies = [100.0 ** -(pair / 4) for pair in range(4)]
    mixed = torch.zeros_like(x)
    for head in range(2):
        part = slice(head * size, (head + 1) * size)
        turned = []
        for vectors, name in ((queries, "query_norm"), (keys, "key_norm")):
            unit = plain_norm(vectors[:, part], weights[f"attention.{name}.weight"])
            rows = []
            for vector, (row, column) in zip(unit, where.tolist(), strict=True):
                angles = [row * f for f in frequencies] + [column * f for f in frequencies]
                out = vector.clone()
                for pair, angle in enumerate(angles):
                    first, second = vector[pair], vector[pair + half]
                    out[pair] = first * math.cos(angle) - second * math.sin(angle)
                    out[pair + half] = first * math.sin(angle) + second * math.cos(angle)
                rows.append(out)
            turned.append(torch.stack(rows))
        scores = (turned[0] @ turned[1].T / size**0.5).masked_fill(~mask, -math.inf)
        mixed[:, part] = scores.softmax(-1) @ values[:, part]
    x = x + mixed @ weights["attention.out.weight"].T
    normed = plain_norm(x, weights["feed_forward_norm.weight"])
    gate, value = (normed @ weights["feed_forward.into.weight"].T).split(48, dim=-1)
    return x + (gate * torch.sigmoid(gate) * value) @ weights["feed_forward.out.weight"].T


@torch.no_grad()
def test_a_block_is_its_equations(model: Transformer) -> None:
    block = model.blocks[1]
    assert isinstance(block, Block)
    for parameter in block.parameters():
        if parameter.ndim == 1:
            parameter.copy_(torch.rand_like(parameter) + 0.5)
    x, where, mask = torch.randn(5, 32), positions(5)[0], causal(5)
    angles = rotary_angles(where[None], 16)[:, None]
    ours = block(x[None], (angles.cos(), angles.sin()), mask)[0]
    torch.testing.assert_close(ours, plain_block(block, x, where, mask[0, 0]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_fresh_transformer_keeps_the_scale() -> None:
    torch.manual_seed(2)
    deep = Transformer(TransformerConfig(width=64, layers=8, heads=4, hidden=128))
    x = torch.randn(2, 16, 64)
    assert deep(x, positions(16)).std() == pytest.approx(1, abs=0.1)
    spread = [x.std()]
    for block in deep.blocks:
        angles = rotary_angles(positions(16), 16)[:, None]
        x = block(x, (angles.cos(), angles.sin()), None)
        spread.append(x.std())
    assert spread[-1] < 2 * spread[0]


def test_the_feed_forward_is_gated() -> None:
    block = Block(CONFIG)
    x = torch.randn(1, 2, 32)
    gate, value = block.feed_forward.into(x).chunk(2, dim=-1)
    assert torch.equal(block.feed_forward(x), block.feed_forward.out(F.silu(gate) * value))
