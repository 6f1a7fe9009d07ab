"""The VQ-VAE-2: maps of any depth, fine codes that know the coarse ones, wrong settings told."""

from typing import Any

import pytest
import torch

from limner.codecs import create_codec
from limner.codecs.vqvae2 import stack_maps
from limner.errors import ConfigError
from tests.codecs.tiny import TINY


def build(**changes: Any) -> Any:
    torch.manual_seed(0)
    return create_codec(TINY["vqvae2"] | changes).eval()


def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
@pytest.mark.parametrize(
    ("depth", "maps"),
    [(2, ((4, 4), (8, 8))), (3, ((2, 2), (4, 4), (8, 8))), (4, ((1, 1), (2, 2), (4, 4), (8, 8)))],
)
def test_maps_go_from_coarse_to_fine(depth: int, maps: tuple[tuple[int, int], ...]) -> None:
    codec = build(depth=depth)
    assert codec.maps == maps and codec.grid == (8, 8) and codec.vocabulary == 24
    codes = codec.encode(pictures())
    assert codes.shape == (2, sum(rows * columns for rows, columns in maps)) == (2, *codec.layout)
    assert codec.embed(codes).shape == (2, 6 * depth, 8, 8)
    assert codec.decode(codes).shape == (2, 3, 32, 32)
    torch.testing.assert_close(codec(pictures())[1], codes)


@torch.no_grad()
def test_codes_lie_map_after_map_and_row_after_row() -> None:
    codec = build()
    codes = torch.zeros(1, 16 + 64, dtype=torch.int64)
    codes[0, 16 + 8 * 3 + 5] = 7  # the finest map's row 3, column 5
    codes[0, 4 * 1 + 2] = 9  # the coarsest map's row 1, column 2
    top, bottom = codec.embed(codes)[0].split(6)
    for vectors, quantizer, code, places in (
        (bottom, codec.quantizer[1], 7, [(3, 5)]),
        (top, codec.quantizer[0], 9, [(2, 4), (2, 5), (3, 4), (3, 5)]),
    ):
        for row in range(8):
            for column in range(8):
                wanted = quantizer.codebook[code if (row, column) in places else 0]
                assert torch.equal(vectors[:, row, column], wanted)


@torch.no_grad()
def test_the_bottom_is_encoded_in_view_of_the_decoded_top() -> None:
    codec = build()
    before = codec.encode(pictures())
    codec.quantizer[0].codebook.mul_(-3)
    after = codec.encode(pictures())
    assert not torch.equal(before[:, 16:], after[:, 16:])


@torch.no_grad()
def test_levels_have_codebooks_of_their_own() -> None:
    codec = build()
    codes = codec.encode(pictures())
    codec.quantizer[1].codebook.mul_(-3)
    assert torch.equal(codec.encode(pictures())[:, :16], codes[:, :16])
    assert not torch.equal(codec.encode(pictures())[:, 16:], codes[:, 16:])


def test_maps_are_stacked_by_repeating_cells() -> None:
    coarse, fine = torch.tensor([[[[1.0, 2], [3, 4]]]]), torch.zeros(1, 1, 4, 4)
    stacked = stack_maps([coarse, fine])
    assert stacked[0, 0].tolist() == [[1, 1, 2, 2]] * 2 + [[3, 3, 4, 4]] * 2
    assert torch.equal(stacked[:, 1:], fine)


def test_resets_and_starts_reach_every_level() -> None:
    codec = build().train()
    before = [quantizer.codebook.clone() for quantizer in codec.quantizer]
    codec(pictures())
    for quantizer, codebook in zip(codec.quantizer, before, strict=True):
        assert quantizer.batches == 1 and not torch.equal(quantizer.codebook, codebook)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"depth": 1}, "depth is 1; expected 2 to 8; one level is a vqvae"),
        ({"depth": 1000}, "depth is 1000; expected 2 to 8"),
        ({"depth": 5}, "size is 32; expected a multiple of 64, the coarsest map's cell"),
        ({"channels": 10}, "level_channels has 10; expected a multiple of 4"),
        ({"level_blocks": -1}, r"level_blocks is \[-1\]; expected numbers of at least 0"),
        ({"codebook": 0}, "codebook is 0; expected 2 to 16777216"),
        ({"start": "k"}, "start is 'k'; expected random or kmeans"),
    ],
)
def test_wrong_settings_are_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"codec 'vqvae2': {words}"):
        build(**changes)
