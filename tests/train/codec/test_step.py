"""The codec's step trains, measures, freezes and resumes every codec of both tables."""

import dataclasses
import hashlib
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from limner.codecs import CODECS, CONTINUOUS, autoencoders
from limner.data.batches.batches import picture_batch
from limner.errors import CheckpointError
from limner.evaluate.metrics.codec import psnr
from limner.nn.efficientnet import EfficientNetLite
from limner.registry import load
from limner.train.codec.settings import CodecTraining
from limner.train.codec.step import CodecStep
from limner.train.config.run import TrainConfig
from limner.train.config.shared import DataConfig, LoopConfig
from limner.train.loop import Progress, train
from limner.train.parts import load_autoencoder
from limner.types import Request
from tests.codecs.tiny import SIZE, TINY
from tests.tiny_model import save_tiny_model

STEPS = 4
LOOP = LoopConfig(
    steps=STEPS, batch=2, warmup=2, bf16=False, validate_every=99, sample_every=99, save_every=3
)
ADVERSARY = CodecTraining(adversarial=0.5, adversarial_from=1, adaptive=True)
every_autoencoder = pytest.mark.parametrize("name", autoencoders())


@pytest.fixture(autouse=True)
def font_found(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))


def config_of(name: str, out: Path | str = "x", **changes: Any) -> TrainConfig:
    data = DataConfig(held_for_validation=3)
    config = TrainConfig("codec", str(out), data=data, loop=LOOP, tables={"codec": TINY[name]})
    return config.changed(**changes)


def step_of(name: str, **changes: Any) -> CodecStep:
    torch.manual_seed(0)
    return CodecStep(config_of(name, **changes))


def run(config: TrainConfig, *, resume: bool = False, steps: int | None = None) -> list[Progress]:
    """Train, or stop after some steps as a caller does who no longer iterates."""
    going = train(config, resume=resume)
    found = list(itertools.islice(going, steps))
    going.close()  # type: ignore[attr-defined]
    return found


def weights(out: Path) -> dict[str, str]:
    """Return the hash of every tensor of a state, without torch's own random source."""
    tensors = load_file(out / "state" / "tensors.safetensors")
    return {
        name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
        for name, tensor in tensors.items()
        if name != "random"
    }


@every_autoencoder
def test_a_resumed_run_is_the_unbroken_one(name: str, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    unbroken = run(config_of(name, whole, codec_training=ADVERSARY))
    both = run(config_of(name, parts, codec_training=ADVERSARY), steps=2)
    both += run(config_of(name, parts, codec_training=ADVERSARY), resume=True)
    assert [p.numbers for p in both] == [p.numbers for p in unbroken]
    assert both[-1].validation == unbroken[-1].validation
    assert weights(whole) == weights(parts)
    file = "codec.safetensors"
    assert (whole / file).read_bytes() == (parts / file).read_bytes()


@every_autoencoder
def test_the_adversary_is_weighed_once_it_has_joined(name: str) -> None:
    step = step_of(name, codec_training=ADVERSARY)
    step.start(0)
    before, after = step(0), step(1)
    assert not {"adversarial_weight", "discriminator"} & set(before)
    assert after["adversarial_weight"] > 0 and after["discriminator"] > 0


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("count", [1, 70])
def test_a_codec_is_measured_on_so_many_scenes(name: str, count: int) -> None:
    step = step_of(name, data=DataConfig(held_for_validation=count))
    images = picture_batch("held_out", 0, count, size=SIZE)
    with torch.no_grad():
        wanted = psnr(step.codec.eval().reconstruct(images), images).mean()
    found = step.validate()
    assert found["psnr"] == pytest.approx(float(wanted), abs=0.02)
    assert 0 < found["codes_used"] <= 1
    assert 1 <= found["perplexity"] <= step.codec.vocabulary
    assert step.samples().shape == (64, 3, SIZE, SIZE)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_continuous_codec_is_measured_without_codes(name: str) -> None:
    step = step_of(name)
    images = picture_batch("held_out", 0, 3, size=SIZE)
    with torch.no_grad():
        mean, _ = step.codec.eval().latent(images)
        wanted = psnr(step.codec.decode(mean / step.codec.deviation), images).mean()
    found = step.validate()
    assert found["psnr"] == pytest.approx(float(wanted), abs=1e-3)
    assert found["latent_deviation"] == pytest.approx(float(mean.std()), rel=1e-3)
    assert not {"codes_used", "perplexity"} & set(found)


@pytest.mark.parametrize("bf16", [False, True])
def test_ssim_in_training_is_that_of_scikit_image(bf16: bool) -> None:
    similarity = pytest.importorskip("skimage.metrics").structural_similarity
    step = step_of("fsq", loop=dataclasses.replace(LOOP, bf16=bf16))
    images = picture_batch("held_out", 0, 3, size=SIZE)
    with torch.no_grad(), step.measuring(step.codec):
        drawn = step.codec.decode(step.codec.encode(images)).float()
    wanted = [
        similarity(
            *(each.double().numpy() + 1 for each in pair), channel_axis=0, data_range=2,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )
        for pair in zip(drawn, images, strict=True)
    ]  # fmt: skip
    assert step.validate()["ssim"] == pytest.approx(sum(wanted) / 3, abs=1e-3 if bf16 else 1e-5)


def test_pictures_smaller_than_a_window_have_no_ssim() -> None:
    small = {"size": 8, "encoder_channels": [8, 8], "decoder_channels": [8, 8]}
    small |= {"encoder_blocks": [0, 0], "decoder_blocks": [0, 0]}
    codec = {**TINY["vqvae"], **small}
    step = step_of("vqvae", codec=codec)
    step.pictures.held_out = lambda count: iter([torch.zeros(2, 3, 8, 8)])  # type: ignore[method-assign]
    assert set(step.validate()) == {"psnr", "codes_used", "perplexity"}


@every_autoencoder
def test_measuring_leaves_the_codec_in_training(name: str) -> None:
    step = step_of(name)
    source = torch.get_rng_state()
    step.validate()
    step.samples()
    assert step.codec.training and step.codec.decoder.training
    assert torch.equal(torch.get_rng_state(), source)


@every_autoencoder
def test_the_decoder_alone_learns_and_codes_stay(name: str, tmp_path: Path) -> None:
    run(config_of(name, tmp_path / "first"), steps=1)
    only = CodecTraining(decoder_only=True)
    start = str(tmp_path / "first")
    run(config_of(name, tmp_path / "second", start_from=start, codec_training=only))
    before, after = (
        load_file(tmp_path / place / "codec.safetensors") for place in ("first", "second")
    )
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed and all(key.startswith("decoder.") for key in changed)


@every_autoencoder
def test_cells_are_named_from_the_codes_of_every_codec(name: str) -> None:
    step = step_of(name, codec_training=CodecTraining(naming=0.5))
    step.start(0)
    assert step.names is not None
    head = next(step.names.parameters())
    learnt = head.detach().clone()
    numbers = step(0)
    assert numbers["naming"] > 1 and 0 <= numbers["noun"] <= 1
    assert not torch.equal(head, learnt)
    assert "names" in step.modules and not step.given


def test_naming_teaches_the_encoder() -> None:
    step = step_of("fsq", codec_training=CodecTraining(naming=1e4))
    step.codec.encoder.requires_grad_(True)
    step.start(0)
    step(0)
    gradients = [each.grad for each in step.codec.encoder.parameters()]
    assert all(each is not None and each.abs().sum() > 0 for each in gradients[-2:])


def test_a_decoder_for_a_whole_models_codes_comes_in_that_model(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "model")
    given = load(tmp_path / "model")
    codec = given.config.codec | {"size": 64, "encode_size": 16, "fine_channels": [8, 8]}
    codec |= {"fine_blocks": [0, 0]}
    run(
        config_of(
            "fsq",
            tmp_path / "run",
            codec=codec,
            start_from=str(tmp_path / "model"),
            codec_training=CodecTraining(decoder_only=True),
        ),
        steps=1,
    )
    large = load(tmp_path / "run" / "model")
    request = Request("a red apple", n=2, seed=3)
    ours, theirs = ([*each.stream(request)][-1] for each in (large, given))
    assert torch.equal(ours.codes, theirs.codes)
    assert ours.images.shape == (2, 3, 64, 64) and theirs.images.shape == (2, 3, 16, 16)
    assert large.config.size == 64 and large.info.name == "run"


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_named_run_resumes(accumulate: int, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "codec_training": CodecTraining(naming=0.5),
        "loop": dataclasses.replace(LOOP, accumulate=accumulate),
    }
    run(config_of("fsq", tmp_path / "whole", **changes))
    run(config_of("fsq", tmp_path / "parts", **changes), steps=2)
    run(config_of("fsq", tmp_path / "parts", **changes), resume=True)
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")


@pytest.fixture
def pretrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """EfficientNet-lite0 as if its weights were installed, with weights of chance."""
    torch.manual_seed(5)
    network = EfficientNetLite().eval().requires_grad_(False)
    monkeypatch.setattr(EfficientNetLite, "installed", lambda: network)


@pytest.mark.usefixtures("pretrained")
@pytest.mark.parametrize("side", [0, 16])
def test_pretrained_features_are_compared_and_measured(side: int) -> None:
    losses = CodecTraining(features="efficientnet-lite0", perceptual=0.5, perceptual_size=side)
    step = step_of("fsq", codec_training=losses)
    step.start(0)
    numbers = step(0)
    assert 0 < numbers["perceptual"] < 4 and numbers["loss"] > 0.5 * numbers["perceptual"]
    assert -1 <= step.validate()["feature_cosine"] <= 1


@pytest.mark.usefixtures("pretrained")
def test_pretrained_features_without_a_weight_are_only_measured() -> None:
    step = step_of("fsq", codec_training=CodecTraining(features="efficientnet-lite0"))
    step.start(0)
    assert "perceptual" not in step(0) and "feature_cosine" in step.validate()


def test_the_codec_of_a_whole_model_is_trained_on(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "model")
    step = step_of("fsq", codec={}, start_from=str(tmp_path / "model"))
    before = {name: value.clone() for name, value in step.codec.state_dict().items()}
    step.start(0)
    step(0)
    changed = {
        n for n, value in step.codec.state_dict().items() if not torch.equal(before[n], value)
    }
    assert any(name.startswith("encoder.") for name in changed)
    assert any(name.startswith("decoder.") for name in changed)


def test_a_codec_begins_with_the_weights_that_fit(tmp_path: Path) -> None:
    run(config_of("fsq", tmp_path / "first"), steps=1)
    larger = TINY["fsq"] | {
        "size": 64,
        "encode_size": 32,
        "fine_channels": [8, 4],
        "fine_blocks": [1, 0],
    }
    step = step_of("fsq", codec=larger, start_from=str(tmp_path / "first"))
    first = load_file(tmp_path / "first" / "codec.safetensors")
    ours = step.codec.state_dict()
    same = {name for name in first if torch.equal(first[name], ours.get(name, torch.zeros(0)))}
    assert {name for name in first if name.startswith("encoder.")} <= same
    assert set(first) == same and len(ours) > len(first)
    assert step.size == 64 and step.codec_config == larger
    (note,) = step.notes
    assert note.startswith(f"{len(same)} of the {len(ours)} tensors of the codec begin as those")
    images = picture_batch("held_out", 0, 2, size=SIZE)
    small = load_autoencoder(tmp_path / "first")[0]
    with torch.no_grad():
        drawn = step.codec.eval().decode(small.encode(images))
        wanted = F.interpolate(
            small.decoder(small.embed(small.encode(images))), None, 2, "bilinear"
        )
    torch.testing.assert_close(drawn, wanted.clamp(-1, 1), atol=1e-5, rtol=1e-5)


def test_more_codes_a_cell_draw_at_first_as_the_fewer_did(tmp_path: Path) -> None:
    run(config_of("fsq", tmp_path / "first"), steps=1)
    step = step_of("fsq", codec=TINY["fsq"] | {"groups": 2}, start_from=str(tmp_path / "first"))
    images = picture_batch("held_out", 0, 2, size=SIZE)
    small, large = load_autoencoder(tmp_path / "first")[0], step.codec.eval()
    with torch.no_grad():
        assert torch.equal(large.encode(images)[..., 0], small.encode(images))
        torch.testing.assert_close(large.reconstruct(images), small.reconstruct(images))


@every_autoencoder
def test_schedules_follow_the_share_of_the_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step = step_of(name)
    shares: list[float] = []
    monkeypatch.setattr(step.codec, "advance", shares.append)
    step.start(2)
    step(2)
    step(3)
    assert shares == [2 / STEPS, 3 / STEPS]


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_prior_refuses_a_continuous_codec(name: str, tmp_path: Path) -> None:
    run(config_of(name, tmp_path / "codec"), steps=1)
    assert load_autoencoder(tmp_path / "codec")[0].continuous
    config = TrainConfig(
        "prior",
        str(tmp_path / "prior"),
        codec_from=str(tmp_path / "codec"),
        data=DataConfig(cached=16),
        loop=LOOP,
        tables={"prior": {"name": "gpt", "width": 16, "layers": 1, "heads": 2, "hidden": 16}},
    )
    with pytest.raises(CheckpointError, match="whose latent is continuous, and codes are needed"):
        run(config)
