"""What every codec promises; a registered one without a tiny config fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.codecs import CODECS, CONTINUOUS, autoencoders, create_autoencoder, create_codec
from limner.errors import CheckpointError, ConfigError
from limner.train.losses import RECONSTRUCTION
from limner.train.parts import CODEC_FILE, load_autoencoder, load_codec, save_codec
from limner.types import Codec
from tests.codecs.tiny import SIZE, TINY

every_codec = pytest.mark.parametrize("name", CODECS)
every_continuous = pytest.mark.parametrize("name", CONTINUOUS)
every_autoencoder = pytest.mark.parametrize("name", autoencoders())


@pytest.fixture(autouse=True)
def random_source() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def build(name: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return create_autoencoder(TINY[name]).eval()


def pictures(count: int = 2) -> Tensor:
    """Return smooth pictures, each of its own colours."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 3, 4, 4, generator=generator) * 2 - 1
    return nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bilinear")


def random_codes(codec: Any, count: int) -> Tensor:
    shape = (count, *codec.layout) + ((codec.groups,) if codec.groups > 1 else ())
    generator = torch.Generator().manual_seed(2)
    return torch.randint(codec.vocabulary, shape, generator=generator)


def to_latent(codec: Any, images: Tensor) -> Tensor:
    """Return what stands for images between encoder and decoder: codes, or the latent's mean."""
    return codec.encode(images)


def training_loss(codec: Any, images: Tensor) -> Tensor:
    output, _, auxiliary = codec(images)
    loss: Tensor = RECONSTRUCTION[codec.likelihood](output, images) + auxiliary
    return loss


@torch.no_grad()
@pytest.mark.parametrize("name", sorted(set(autoencoders()) - {"vqvae2"}))
def test_a_codec_may_draw_larger_than_it_sees(name: str) -> None:
    changes = {"size": 2 * SIZE, "encode_size": SIZE, "fine_channels": [8], "fine_blocks": [1]}
    small, large = build(name), create_autoencoder(TINY[name] | changes).eval()
    assert set(small.state_dict()) < set(large.state_dict())
    large.load_state_dict(small.state_dict(), strict=False)
    images = pictures()
    enlarged = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    latent = to_latent(large, enlarged)
    torch.testing.assert_close(latent, to_latent(small, images))
    assert large.grid == small.grid
    output = large(enlarged)[0]
    wanted = nn.functional.interpolate(small(images)[0], scale_factor=2, mode="bilinear")
    torch.testing.assert_close(output, wanted)
    assert large.reconstruct(enlarged).shape == enlarged.shape


def test_every_codec_has_a_tiny_config_of_its_name() -> None:
    assert set(TINY) == set(autoencoders())
    assert all(config["name"] == name for name, config in TINY.items())
    assert not set(CODECS) & set(CONTINUOUS)
    assert all(isinstance(build(name), Codec) == (name in CODECS) for name in autoencoders())


@every_codec
@torch.no_grad()
def test_codes_are_as_layout_and_vocabulary_say(name: str) -> None:
    codec = build(name)
    codes = codec.encode(pictures())
    assert codes.dtype == torch.int64 and codes.shape == random_codes(codec, 2).shape
    assert ((codes >= 0) & (codes < codec.vocabulary)).all()
    cells = sum(rows * columns for rows, columns in codec.maps)
    assert codes[0].numel() == cells * codec.groups
    assert codec.grid == codec.maps[-1]
    areas = [rows * columns for rows, columns in codec.maps]
    assert areas == sorted(areas)


@every_codec
@torch.no_grad()
def test_codes_decode_to_pictures(name: str) -> None:
    codec = build(name)
    for codes in (codec.encode(pictures()), random_codes(codec, 3)):
        images = codec.decode(codes)
        assert images.shape == (len(codes), 3, SIZE, SIZE) and images.dtype == torch.float32
        assert images.abs().max() <= 1


@every_codec
@torch.no_grad()
def test_a_loud_decoder_stays_in_range(name: str) -> None:
    codec = build(name)
    codec.last_layer.mul_(1e4)
    images = codec.decode(random_codes(codec, 2))
    assert images.isfinite().all() and images.abs().max() <= 1
    assert images.abs().max() > 0.9


@every_codec
@torch.no_grad()
def test_vectors_of_codes_are_what_the_decoder_was_given(name: str) -> None:
    codec = build(name)
    given: list[Tensor] = []
    codec.decoder.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    _, codes, _ = codec(pictures())
    vectors = codec.embed(codes)
    assert vectors.shape[0] == 2 and vectors.shape[2:] == codec.grid
    torch.testing.assert_close(vectors, given[0], atol=1e-5, rtol=1e-5)


@every_codec
@torch.no_grad()
def test_forward_is_encode_then_decode(name: str) -> None:
    codec = build(name)
    output, codes, auxiliary = codec(pictures())
    assert torch.equal(codes, codec.encode(pictures()))
    drawn = codec.picture(output).clamp(-1, 1)
    torch.testing.assert_close(drawn, codec.decode(codes), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(codec.reconstruct(pictures()), codec.decode(codes))
    assert auxiliary.shape == () and auxiliary.isfinite()


@every_codec
@torch.no_grad()
def test_codes_say_something_of_the_picture(name: str) -> None:
    """A codec that gives every picture, or every cell, one code satisfies all shapes."""
    codec = build(name)
    one, other = codec.encode(pictures())
    assert not torch.equal(one, other)
    assert len(one.unique()) > 1


@every_codec
@torch.no_grad()
def test_a_code_of_the_finest_map_stands_for_its_place(name: str) -> None:
    codec = build(name)
    codes = random_codes(codec, 1)
    changed = codes.flatten(1, len(codec.layout)).clone()
    first = changed.shape[1] - codec.grid[0] * codec.grid[1]
    changed[0, first] = (changed[0, first] + codec.vocabulary // 2) % codec.vocabulary
    difference = (codec.embed(codes) - codec.embed(changed.view_as(codes))).abs().sum(1)[0]
    assert difference[0, 0] > 0
    half = codec.grid[0] // 2
    assert difference[half:, half:].max() < 1e-5


@every_autoencoder
@torch.no_grad()
def test_company_does_not_matter(name: str) -> None:
    codec = build(name)
    together = to_latent(codec, pictures(4))
    alone = torch.cat([to_latent(codec, each[None]) for each in pictures(4)])
    if codec.continuous:
        torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-4)
    else:
        assert (alone == together).float().mean() > 0.95
    again = torch.cat([to_latent(codec, each[None].clone()) for each in pictures(4)])
    assert torch.equal(alone, again)


@every_autoencoder
@torch.no_grad()
def test_training_mode_does_not_change_what_is_encoded(name: str) -> None:
    codec = build(name)
    state = {key: value.clone() for key, value in codec.state_dict().items()}
    wanted = to_latent(codec, pictures())
    assert torch.equal(to_latent(codec.train(), pictures()), wanted)
    assert all(torch.equal(value, state[key]) for key, value in codec.state_dict().items())


@every_autoencoder
@torch.no_grad()
def test_evaluation_leaves_the_codec_as_it_was(name: str) -> None:
    codec = build(name)
    state = {key: value.clone() for key, value in codec.state_dict().items()}
    source = torch.get_rng_state()
    first, second = codec(pictures())[0], codec(pictures())[0]
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), source)
    assert all(torch.equal(value, state[key]) for key, value in codec.state_dict().items())


@every_autoencoder
@torch.no_grad()
def test_weights_come_back(name: str, tmp_path: Path) -> None:
    codec, other = build(name), build(name, seed=1)
    wanted = to_latent(codec, pictures())
    assert not torch.equal(to_latent(other, pictures()), wanted)
    other.load_state_dict(codec.state_dict())
    assert torch.equal(to_latent(other, pictures()), wanted)
    save_codec(codec, TINY[name], tmp_path / CODEC_FILE)
    loaded, config = load_autoencoder(tmp_path)
    assert config == TINY[name] and not loaded.training
    assert torch.equal(to_latent(loaded, pictures()), wanted)
    assert torch.equal(loaded.reconstruct(pictures()), codec.reconstruct(pictures()))


@every_autoencoder
def test_gradients_reach_every_parameter(name: str) -> None:
    codec = build(name).train()
    codec.advance(0.5)
    training_loss(codec, pictures(4)).backward()
    lacking = [
        key
        for key, parameter in codec.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    # The last convolution of a residual block starts at zero, and what is before it waits for it.
    assert not [key for key in lacking if ".conv1." not in key and ".norm" not in key]
    optimizer = torch.optim.Adam(codec.parameters(), lr=1e-3)
    optimizer.step()
    optimizer.zero_grad()
    training_loss(codec, pictures(4)).backward()
    for key, parameter in codec.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


@every_autoencoder
def test_the_last_layer_makes_the_output(name: str) -> None:
    codec = build(name)
    output = codec(pictures())[0]
    (gradient,) = torch.autograd.grad(output.square().mean(), codec.last_layer)
    assert gradient.norm() > 0
    with torch.no_grad():
        codec.last_layer.zero_()
        one, other = codec(pictures())[0]
    assert torch.equal(one, other)


@every_autoencoder
def test_one_picture_is_learnt(name: str) -> None:
    codec, images = build(name).train(), pictures(1)
    optimizer = torch.optim.Adam(codec.parameters(), lr=1e-2)
    before = (codec.eval().reconstruct(images) - images).square().mean()
    codec.train()
    losses = []
    for step in range(50):
        codec.advance(step / 50)
        loss = training_loss(codec, images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    after = (codec.eval().reconstruct(images) - images).square().mean()
    assert after < 0.5 * before


@every_continuous
@torch.no_grad()
def test_a_latent_is_a_grid_of_normals(name: str) -> None:
    codec = build(name)
    mean, log_variance = codec.latent(pictures())
    assert mean.shape == log_variance.shape == (2, TINY[name]["channels"], *codec.grid)
    assert mean.dtype == log_variance.dtype == torch.float32
    for z in (mean, mean * 1e4):
        images = codec.decode(z)
        assert images.shape == (2, 3, SIZE, SIZE) and images.dtype == torch.float32
        assert images.isfinite().all() and images.abs().max() <= 1


@every_continuous
@torch.no_grad()
def test_a_latent_is_drawn_in_training_and_the_mean_in_evaluation(name: str) -> None:
    codec = build(name)
    output, z, auxiliary = codec(pictures())
    mean, log_variance = codec.latent(pictures())
    assert torch.equal(z, mean)
    drawn = codec.picture(output).clamp(-1, 1)
    torch.testing.assert_close(drawn, codec.reconstruct(pictures()), atol=1e-5, rtol=1e-5)
    assert auxiliary.shape == () and auxiliary >= 0
    codec.train()
    draws = torch.stack([codec(pictures())[1] for _ in range(200)])
    scores = (draws - mean) / (log_variance / 2).exp()
    assert abs(float(scores.mean())) < 0.02 and abs(float(scores.std()) - 1) < 0.02


@every_continuous
def test_what_has_no_codes_is_no_codec_for_a_prior(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"unknown codec '{name}'"):
        create_codec(TINY[name])
    save_codec(build(name), TINY[name], tmp_path / CODEC_FILE)
    with pytest.raises(CheckpointError, match=f"'{name}', whose latent is continuous, and codes"):
        load_codec(tmp_path)


@every_codec
@torch.no_grad()
def test_a_codec_comes_back_for_a_prior(name: str, tmp_path: Path) -> None:
    codec = build(name)
    save_codec(codec, TINY[name], tmp_path / CODEC_FILE)
    loaded, _ = load_codec(tmp_path)
    assert torch.equal(loaded.encode(pictures()), codec.encode(pictures()))
