"""The shared encoder and decoder: shapes for any number of stages, and a stage's mistakes told."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from limner.errors import ConfigError
from limner.nn.autoencoder import (
    AutoencoderConfig,
    Decoder,
    Encoder,
    FinerDecoder,
    GridTransformer,
    Window,
    check_enlarging,
    check_stages,
    decoder_of,
)
from limner.nn.conv import SpatialAttention


@pytest.mark.parametrize("channels", [(8,), (8, 12), (8, 12, 16, 20)])
def test_a_picture_shrinks_by_two_a_stage_and_grows_back(channels: tuple[int, ...]) -> None:
    blocks = (1,) * len(channels)
    images = torch.randn(2, 3, 32, 16)
    z = Encoder(channels, blocks, 5)(images)
    side = 2 ** len(channels)
    assert z.shape == (2, 5, 32 // side, 16 // side)
    assert Decoder(channels[::-1], blocks, 5)(z).shape == images.shape
    assert Decoder(channels[::-1], blocks, 5, pixels=6)(z).shape == (2, 6, 32, 16)


def test_attention_stands_at_the_coarsest_stage() -> None:
    plain, seeing = Encoder((8, 12), (1, 2), 5), Encoder((8, 12), (1, 2), 5, attention=True)
    assert [type(layer) for layer in seeing.body][:-1] == [type(layer) for layer in plain.body]
    last = seeing.body[-1]
    assert isinstance(last, SpatialAttention) and last.out.out_channels == 12
    decoder = Decoder((12, 8), (2, 1), 5, attention=True)
    places = [i for i, layer in enumerate(decoder.body) if isinstance(layer, SpatialAttention)]
    assert places == [3]
    images = torch.randn(2, 3, 16, 24)
    assert decoder(seeing(images)).shape == images.shape


@pytest.mark.parametrize(("stages", "factor"), [(1, 2), (1, 3), (2, 4), (3, 4)])
@pytest.mark.parametrize("coarse", [1, 2, 3])
def test_a_finer_decoder_begins_as_the_small_one_enlarged(
    stages: int, factor: int, coarse: int
) -> None:
    seen = 4 * 2**coarse
    channels, blocks = (16, 12, 8)[:coarse], (1, 0, 2)[:coarse]
    shape = AutoencoderConfig(
        seen * factor,
        decoder_channels=channels,
        decoder_blocks=blocks,
        encode_size=seen,
        fine_channels=(8,) * stages,
        fine_blocks=(1,) * stages,
    )
    small, large = Decoder(channels, blocks, 5), decoder_of(shape, 5)
    assert isinstance(large, FinerDecoder)
    large.load_state_dict(small.state_dict(), strict=False)
    z = torch.randn(2, 5, 4, 3)
    wanted = F.interpolate(small(z), scale_factor=factor, mode="bilinear")
    torch.testing.assert_close(large(z), wanted)
    large(z).square().sum().backward()
    assert large.fine_out.conv.weight.grad is not None
    assert large.fine_out.conv.weight.grad.abs().sum() > 0


def finer(layers: int = 2) -> FinerDecoder:
    shape = AutoencoderConfig(
        64,
        decoder_channels=(64, 12, 8),
        encode_size=32,
        fine_channels=(8, 8),
        fine_blocks=(1, 0),
        grid_layers=layers,
    )
    decoder = decoder_of(shape, 5)
    assert isinstance(decoder, FinerDecoder)
    return decoder


def test_layers_among_the_cells_begin_as_nothing_and_let_every_cell_see_every_other() -> None:
    torch.manual_seed(0)
    plain, looking = finer(0), finer()
    looking.load_state_dict(plain.state_dict(), strict=False)
    z = torch.randn(2, 5, 4, 4)
    torch.testing.assert_close(looking(z), plain(z))
    assert isinstance(looking.look, GridTransformer)
    torch.nn.init.normal_(looking.look.out.weight)
    changed = z.clone()
    changed[:, :, 0, 0] += 1
    seen = looking.look(z.repeat(1, 13, 1, 1)[:, :64])
    assert not torch.equal(
        seen[:, :, 3, 3], looking.look(changed.repeat(1, 13, 1, 1)[:, :64])[:, :, 3, 3]
    )


def test_a_window_is_its_part_of_the_picture() -> None:
    torch.manual_seed(0)
    decoder = finer()
    assert isinstance(decoder.look, GridTransformer)
    for weight in (decoder.fine_out.conv.weight, decoder.look.out.weight):
        torch.nn.init.normal_(weight, std=0.1)
    z, corners = torch.randn(2, 5, 4, 4), torch.tensor([[0, 1], [1, 0]])
    window = Window(corners, 3)
    whole, part = decoder(z), decoder(z, window)
    assert part.shape == (2, 3, 48, 48)
    wanted = window.of(whole, 4)
    torch.testing.assert_close(wanted[0], whole[0, :, 0:48, 16:64])
    torch.testing.assert_close(wanted[1], whole[1, :, 16:64, 0:48])
    # Where no neighbour was cut away, pixels are the same; the fine stages see 22 pixels far.
    torch.testing.assert_close(part[0, :, :26, 22:], wanted[0, :, :26, 22:])
    assert not torch.allclose(part[0, :, :, 0], wanted[0, :, :, 0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"grid_layers": 1, "encode_size": 0, "fine_channels": (), "fine_blocks": ()},
            "grid_layers is 1, but only",
        ),
        (
            {"grid_layers": 1, "decoder_channels": (32, 8, 8)},
            "begins with 32; expected a multiple of 64",
        ),
        ({"grid_layers": -1}, "grid_layers is -1; expected at least 0"),
    ],
)
def test_mistakes_about_layers_among_the_cells(changes: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"size": 64, "decoder_channels": (64, 8, 8), "encode_size": 32}
    given |= {"fine_channels": (8, 8), "fine_blocks": (0, 0)}
    with pytest.raises(ConfigError, match=words):
        check_enlarging(AutoencoderConfig(**(given | changes)))


def test_an_encoder_may_shrink_its_pictures_first() -> None:
    torch.manual_seed(0)
    plain, shrinking = Encoder((8, 12), (0, 1), 5), Encoder((8, 12), (0, 1), 5, shrink=3)
    shrinking.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 24, 36)
    torch.testing.assert_close(shrinking(images), plain(F.avg_pool2d(images, 3)))


def test_every_weight_has_a_gradient_but_those_behind_zeros() -> None:
    encoder, decoder = Encoder((8, 8), (1, 0), 4), Decoder((8, 8), (0, 1), 4)
    decoder(encoder(torch.randn(1, 3, 8, 8))).square().sum().backward()
    parameters = [*encoder.named_parameters(), *decoder.named_parameters()]
    assert all(parameter.grad is not None for _, parameter in parameters)


@pytest.mark.parametrize(
    ("channels", "blocks", "words"),
    [
        ((8,), (0, 0), r"encoder_channels is \[8\]; expected 2 numbers"),
        ((8, 8), (0,), r"encoder_blocks is \[0\]; expected 2 numbers"),
        ((8, 6), (0, 0), "encoder_channels has 6; expected a multiple of 4"),
        ((8, 132), (0, 0), "encoder_channels has 132"),
        ((8, 8), (0, -1), r"encoder_blocks is \[0, -1\]"),
    ],
)
def test_a_mistake_is_told(channels: tuple[int, ...], blocks: tuple[int, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_stages("encoder", channels, blocks, 2)
