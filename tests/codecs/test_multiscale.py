"""Residual token maps: algorithms 1 and 2 of VAR, previews from the first maps, prior's inputs."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from limner.codecs import create_codec
from limner.errors import ConfigError, UsageError
from tests.codecs.tiny import SIZE, TINY

CONFIG = TINY["multiscale"]
SCALES = CONFIG["scales"]
ENDS = [1, 5, 21]


def build(**changes: Any) -> Any:
    torch.manual_seed(0)
    return create_codec(CONFIG | changes).eval()


def pictures(count: int = 2) -> Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
@pytest.mark.parametrize("codebook", [0, 30])
def test_encoding_is_algorithm_1(codebook: int) -> None:
    codec = build(codebook=codebook)
    features, found = codec.encoder(pictures()), []
    for phi, side in zip(codec.phi, SCALES, strict=True):
        _, codes, _ = codec.quantizer(F.interpolate(features, (side, side), mode="area"))
        found.append(codes.flatten(1))
        z = codec.quantizer.embed(codes)
        features = features - phi(F.interpolate(z, codec.grid, mode="bicubic"))
    assert torch.equal(codec.encode(pictures()), torch.cat(found, dim=1))


@torch.no_grad()
def test_decoding_is_algorithm_2() -> None:
    codec = build()
    codes = torch.randint(codec.vocabulary, (2, 21))
    features = torch.zeros(2, 2, 4, 4)
    parts = codes.split([side * side for side in SCALES], dim=1)
    for phi, side, part in zip(codec.phi, SCALES, parts, strict=True):
        z = codec.quantizer.embed(part.view(2, side, side))
        features = features + phi(F.interpolate(z, codec.grid, mode="bicubic"))
    torch.testing.assert_close(codec.embed(codes), features)


@torch.no_grad()
def test_a_preview_needs_only_the_first_maps() -> None:
    codec = build()
    codes = torch.randint(codec.vocabulary, (2, 21))
    previews = [codec.decode(codes[:, :end]) for end in ENDS]
    for preview in previews:
        assert preview.shape == (2, 3, SIZE, SIZE) and preview.abs().max() <= 1
    assert torch.equal(previews[-1], codec.decode(codes))
    assert not torch.equal(previews[0], previews[1])


@torch.no_grad()
def test_finer_maps_add_to_what_is_known() -> None:
    codec = build()
    codes = torch.randint(codec.vocabulary, (1, 21))
    known = [codec.embed(codes[:, :end]) for end in ENDS]
    changed = codes.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % codec.vocabulary
    for index in (0, 1):
        assert torch.equal(codec.embed(changed[:, : ENDS[index]]), known[index])
    assert not torch.equal(codec.embed(changed), known[2])


@torch.no_grad()
def test_each_map_brings_the_sum_nearer_to_the_features() -> None:
    """Of features that the levels can hold, each finer map leaves less."""
    codec = build(levels=[15, 15, 15])
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(4, 3, 2, 2, generator=generator) - 0.5
    features = F.interpolate(coarse, (4, 4), mode="bilinear")
    features = features + 0.2 * torch.randn(4, 3, 4, 4, generator=generator)
    for phi in codec.phi:
        phi.conv.bias.zero_()
    codes = codec.quantize(features)[1]
    left = [features.square().mean()]
    left += [(features - codec.embed(codes[:, :end])).square().mean() for end in ENDS]
    assert all(after < before for before, after in pairwise(left))
    assert left[-1] < 0.1 * left[0]


@torch.no_grad()
def test_a_prior_sees_the_sum_at_the_size_of_the_next_map() -> None:
    codec = build()
    known = codec.embed(torch.randint(codec.vocabulary, (2, 5)))
    assert codec.lower(known, 1).shape == (2, 2, 2, 2)
    assert torch.equal(codec.lower(known, 2), known)
    torch.testing.assert_close(codec.lower(known, 0)[:, :, 0, 0], known.mean((2, 3)))


@torch.no_grad()
def test_a_map_is_encoded_after_whatever_the_coarser_ones_say() -> None:
    codec, images = build().eval(), pictures()
    codes, first = codec.encode(images), 0
    for which, (rows, columns) in enumerate(codec.maps):
        end = first + rows * columns
        found = codec.encode_after(images, codes[:, :first], which)
        assert torch.equal(found, codes[:, first:end])
        first = end
    # After other coarse codes the finest map says what these leave.
    finest = slice(codes.shape[1] - codec.grid[0] * codec.grid[1], None)
    others = (codes[:, : finest.start] + 1) % codec.vocabulary
    after = codec.encode_after(images, others, len(codec.maps) - 1)
    assert not torch.equal(after, codes[:, finest])


@pytest.mark.parametrize("count", [0, 2, 4, 20, 22])
def test_half_a_map_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match=rf"{count} codes are no whole maps; .*\[1, 5, 21\]"):
        build().decode(torch.zeros(1, count, dtype=torch.int64))


@torch.no_grad()
def test_sums_are_exact_under_autocast() -> None:
    codec = build()
    codes = torch.randint(codec.vocabulary, (2, 21))
    with torch.autocast("cpu", torch.bfloat16):
        found = codec.embed(codes)
    assert torch.equal(found, codec.embed(codes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scales": []}, r"scales is \[\]; expected rising sides of at least 1, the last 4"),
        ({"scales": [0, 4]}, r"scales is \[0, 4\]; expected rising"),
        ({"scales": [2, 2, 4]}, r"scales is \[2, 2, 4\]; expected rising"),
        ({"scales": [1, 2, 8]}, r"the last 4: the size halved 3 times"),
        ({"levels": []}, r"levels is \[\]; expected some"),
        ({"levels": [4, 1]}, r"levels is \[4, 1\]; expected some, each at least 2"),
        ({"levels": [4096, 4097]}, "their product at most 16777216"),
        ({"codebook": 1}, "codebook is 1; expected 2 to 16777216, or 0"),
        ({"size": 36}, "size is 36; expected a multiple of 8"),
    ],
)
def test_wrong_settings_are_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"codec 'multiscale': .*{words}"):
        build(**changes)
