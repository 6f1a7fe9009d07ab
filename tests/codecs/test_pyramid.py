"""A codec's codes told from coarse to fine: the finest are fsq's, each coarser their mean."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from limner.codecs import create_codec
from limner.errors import ConfigError, UsageError
from tests.codecs.tiny import SIZE, TINY

CONFIG = TINY["pyramid"] | {"groups": 2}
ENDS = [1, 5, 21]


def build(**changes: Any) -> Any:
    torch.manual_seed(0)
    return create_codec(CONFIG | changes).eval()


def pictures(count: int = 2) -> Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
@pytest.mark.parametrize("groups", [1, 2])
def test_the_finest_codes_and_the_picture_are_those_of_fsq_with_the_same_weights(
    groups: int,
) -> None:
    codec = build(groups=groups)
    values = {key: value for key, value in CONFIG.items() if key != "scales"}
    plain = create_codec(values | {"name": "fsq", "groups": groups}).eval()
    plain.load_state_dict(codec.state_dict())
    codes, expected = codec.encode(pictures()), plain.encode(pictures())
    assert codes.shape == (2, 21, 2)[: 2 + (groups > 1)]
    assert torch.equal(codes[:, 5:].view_as(expected), expected)
    assert torch.equal(codec.decode(codes), plain.decode(expected))


@torch.no_grad()
def test_a_coarser_map_is_nearest_to_the_mean_of_the_finest() -> None:
    codec = build()
    codes = codec.encode(pictures())
    finest = codec.embed(codes)
    for side, first, end in ((1, 0, 1), (2, 1, 5)):
        mean = F.adaptive_avg_pool2d(finest, side)
        found = codec.embed(codes[:, :end])  # enlarged
        step = 2 / (min(CONFIG["levels"]) - 1)
        assert (F.adaptive_avg_pool2d(found, side) - mean).abs().max() <= step
        if side == 1:
            assert torch.equal(found, found[:, :, :1, :1].expand_as(found))
        assert end - first == side * side


@torch.no_grad()
def test_the_first_maps_are_a_preview_and_parts_of_a_map_are_refused() -> None:
    codec = build()
    codes = torch.randint(codec.vocabulary, (2, 21, 2))
    for end in ENDS:
        assert codec.decode(codes[:, :end]).shape == (2, 3, SIZE, SIZE)
    with pytest.raises(UsageError, match="7 codes are no whole maps"):
        codec.embed(codes[:, :7])


@torch.no_grad()
def test_vectors_find_their_codes_again() -> None:
    codec = build()
    codes = codec.encode(pictures())
    assert torch.equal(codec.nearest(codec.embed(codes)), codes)


@pytest.mark.parametrize("scales", [[4], [4, 2], [1, 2], [0, 4], [1, 4, 8]])
def test_scales_rise_to_the_grid(scales: list[int]) -> None:
    with pytest.raises(ConfigError, match="scales is"):
        build(scales=scales)
