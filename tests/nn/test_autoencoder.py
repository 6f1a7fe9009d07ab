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
    check_enlarging,
    check_stages,
)
from limner.nn.conv import SpatialAttention
from limner.nn.decoders import decoder_of


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


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encode_size": 0}, r"encode_size is 0 .*or things, and any other none of them"),
        ({"fine_channels": (8, 8)}, "either draws large, so give one of them"),
        ({"things": (3, 2, 1)}, r"things is \[3, 2, 1\]; expected numbers of at least 2"),
        ({"things": (3, 2)}, r"things is \[3, 2\]; expected numbers of nouns, colours and styles"),
        ({"backdrops": 1}, "backdrops is 1; expected at least 2"),
        ({"styles": ("sticker",)}, r"styles is \['sticker'\]; expected plain first"),
        ({"styles": ("plain", "sticker")}, "styles names 2 styles, .* has 2 answers; expected 3"),
        ({"things_width": 96}, "things_width is 96; expected a multiple of 64"),
        ({"things_layers": 0}, "things_layers is 0"),
        ({"things_channels": (8,)}, "things_channels is .*two numbers or more"),
        ({"ground_channels": (8, 8, 8)}, "3 of them lead to 32 pixels, not to 64"),
        ({"ground_channels": (8, 8, 8, 6)}, "ground_channels has 6; expected a multiple of 4"),
        ({"size": 60}, "encode_size is 32; expected a multiple of 8"),
    ],
)
def test_mistakes_about_things(changes: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"size": 64, "encode_size": 32, "things": (3, 2, 2)}
    given |= {"backdrops": 2}
    given |= {"ground_channels": (8, 8, 8, 8)}
    check_enlarging(AutoencoderConfig(**given))
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
