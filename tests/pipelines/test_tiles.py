"""Tiles: edges that fit, made of the same codes; what cannot be tiled."""

from pathlib import Path

import pytest
import torch

import limner
from limner.codecs import create_codec
from limner.errors import UsageError
from limner.pipelines.tiles import check_tiles, paint_tile, seam
from limner.types import Request
from tests.tiny_gan import tiny_gan
from tests.tiny_model import CODEC, Averages, AveragesConfig, save_tiny_model, tiny_pipeline
from tests.tiny_unclip import tiny_unclip

LARGE = {**CODEC, "size": 64, "decoder_channels": [16, 16, 16]}


def edges_and_inside(images: torch.Tensor) -> tuple[float, float]:
    """Return the mean change across the sides of pictures, and between columns inside."""
    change = (images.roll(1, 3) - images).abs().mean((0, 1, 2))
    return float(change[0]), float(change[1:].mean())


@torch.inference_mode()
@pytest.mark.parametrize("grid", [(8, 8), (8, 5), (6, 3)])
def test_a_tile_goes_on_around_its_edges(grid: tuple[int, int]) -> None:
    torch.manual_seed(1)
    codec = create_codec(LARGE).eval()
    codes = torch.randint(16, (1, *grid))
    plain, tile = codec.decode(codes), paint_tile(codec, codes)
    assert tile.shape == plain.shape
    # A tile of codes moved around is the same tile, moved as far.
    moved = paint_tile(codec, codes.roll((grid[0] // 2, grid[1] // 2), (1, 2)))
    if not grid[0] % 2 and not grid[1] % 2:
        shift = (grid[0] // 2 * 8, grid[1] // 2 * 8)
        torch.testing.assert_close(moved, tile.roll(shift, (2, 3)), atol=1e-5, rtol=0)
    edge, inside = edges_and_inside(tile)
    assert edge < 1.5 * inside


def test_weights_are_whole_everywhere() -> None:
    class Plain(torch.nn.Module):
        def decode_each(self, codes: torch.Tensor, told: object = ()) -> torch.Tensor:
            return torch.full((1, 3, codes.shape[1] * 4, codes.shape[2] * 4), 0.5)

    for grid in ((4, 4), (5, 3), (7, 2)):
        tile = paint_tile(Plain(), torch.zeros(1, *grid).long())  # type: ignore[arg-type]
        torch.testing.assert_close(tile, torch.full_like(tile, 0.5))


def test_a_seam_is_seen() -> None:
    x = torch.linspace(-1, 1, 32)
    ramp = x.expand(1, 3, 32, 32)
    wave = (torch.arange(32) / 32 * 2 * torch.pi).sin().expand(1, 3, 32, 32)
    assert float(seam(ramp)[0, 0]) > 20 and float(seam(wave)[0, 0]) < 1.1
    assert float(seam(ramp)[0, 1]) == 0


def test_a_model_of_tokens_draws_tiles(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "tiny")
    (plain,) = limner.draw("a red apple", model=tmp_path / "tiny", seed=5)
    (tile,) = limner.draw("a red apple", model=tmp_path / "tiny", seed=5, tile=True)
    assert tile.settings["tile"] is True and "tile" not in plain.settings
    assert plain.image.size == tile.image.size
    pipeline = tiny_pipeline()
    *_, step = pipeline.stream(Request("a red apple", seed=5, tile=True))
    assert step.codes is not None and step.images is not None
    expected = paint_tile(pipeline.codec, step.codes.unflatten(1, pipeline.codec.layout))
    assert torch.equal(step.images, expected)


@pytest.mark.parametrize("pipeline", [lambda: tiny_gan()[0], lambda: tiny_unclip()[0]])
def test_others_refuse(pipeline: object) -> None:
    with pytest.raises(UsageError, match="tile is given, but this model draws no codes"):
        list(pipeline().stream(Request("a red apple", tile=True)))  # type: ignore[operator]


def test_codes_of_several_maps_are_refused() -> None:
    with pytest.raises(UsageError, match="stand in several maps"):
        check_tiles(Averages(AveragesConfig()))
