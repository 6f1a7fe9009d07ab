"""A CLIP with a pretrained image encoder: trained, saved, loaded and drawn from, all offline."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import limner
from limner.clip.importing import import_image_encoder
from limner.clip.pretrained import PRETRAINED_IMAGE
from limner.errors import CheckpointError, ConfigError
from limner.text.importing import import_encoder
from limner.train.clip.settings import ClipTraining, VisionConfig
from limner.train.clip.step import ClipStep
from limner.train.config.run import TrainConfig
from limner.train.config.shared import DataConfig, LoopConfig, TextConfig
from limner.train.inputs import caches
from limner.train.loop import train
from limner.train.reading import read_config
from limner.train.steps import create_step
from tests.tiny_clip import CLIP
from tests.tiny_encoders import save_tiny_encoder
from tests.tiny_model import SIZE
from tests.tiny_unclip import DECODER
from tests.tiny_vision import save_tiny_vision
from tests.train.gan.test_step import gan_run

ROOT = Path(__file__).resolve().parents[3]
LOOP = LoopConfig(steps=2, batch=4, warmup=1, learning_rate=0.01, validate_every=2)
TABLE = {key: value for key, value in CLIP.items() if key != "image_encoder"}


@pytest.fixture(autouse=True)
def font_found(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    monkeypatch.setattr(caches, "TOKENIZER_SCENES", 60)


def run_of(out: Path, source: Path | None = None, **changes: Any) -> TrainConfig:
    if source is not None:
        changes = {"vision": VisionConfig(encoder=str(source))} | changes
    config = TrainConfig(
        "clip",
        str(out),
        text_length=12,
        loop=LOOP,
        data=DataConfig(held_for_validation=2),
        tables={"clip": TABLE, "clip_training": ClipTraining(weights="fp32")},
    )
    return config.changed(**changes)


def weights_of(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "model.safetensors")


@pytest.mark.parametrize("name", PRETRAINED_IMAGE)
def test_a_frozen_encoder_stays_and_the_folder_holds_it(name: str, tmp_path: Path) -> None:
    source = save_tiny_vision(tmp_path / name, name)
    weights = import_image_encoder(str(source))[1]
    config = run_of(tmp_path / "run", source)
    step = ClipStep(config)
    start = step.clip.image_projection.weight.detach().clone()
    step.start(0)
    step(0), step(1)
    assert not torch.equal(step.clip.image_projection.weight, start)
    assert all(torch.equal(v, weights[k]) for k, v in step.clip.image.body.state_dict().items())
    optimised = {id(p) for o in step.optimizers for g in o.param_groups for p in g["params"]}
    assert not optimised & {id(each) for each in step.clip.image.body.parameters()}
    *_, last = train(config)
    assert last.validation is not None
    for path in source.iterdir():
        path.unlink()  # from here on the model's folder alone must do
    model = tmp_path / "run" / "model"
    held = weights_of(model)
    assert {key for key in held if key.startswith("clip.image.")} == {
        f"clip.image.body.{key}" for key in weights
    }
    assert all(torch.equal(held[f"clip.image.body.{key}"], weights[key]) for key in weights)
    first, again = limner.load(model), limner.load(model)
    assert first.clip.config.image_encoder["name"] == name and first.size == SIZE
    pixels = torch.randn(2, 3, SIZE, SIZE)
    assert torch.equal(first.encode_images(pixels), again.encode_images(pixels))


@pytest.mark.parametrize("name", PRETRAINED_IMAGE)
def test_a_trainable_encoder_learns(name: str, tmp_path: Path) -> None:
    source = save_tiny_vision(tmp_path / name, name)
    weights = import_image_encoder(str(source))[1]
    vision = VisionConfig(encoder=str(source), trainable=True)
    step = ClipStep(run_of(tmp_path / "run", vision=vision))
    assert step.clip.image.body.training
    step.start(0)
    step(0)
    held = step.clip.image.body.state_dict()
    assert all(k in held for k in weights)
    assert sum(not torch.equal(held[key], weights[key]) for key in weights) > len(weights) / 2


def test_scenes_are_drawn_at_the_size_that_is_asked_for(tmp_path: Path) -> None:
    source = save_tiny_vision(tmp_path / "vit", "pretrained_vit")
    vision = VisionConfig(encoder=str(source), size=2 * SIZE)
    step = ClipStep(run_of(tmp_path / "run", vision=vision))
    step.start(0)
    batch = next(step.batches)
    assert batch.pictures.shape[1:] == (2 * SIZE, 2 * SIZE, 3) and step.clip.size == 2 * SIZE
    wrong = dataclasses.replace(vision, size=2 * SIZE + 1)
    with pytest.raises(ConfigError, match="size is 33; expected a multiple of the encoder's patch"):
        ClipStep(run_of(tmp_path / "run", vision=wrong))


def test_a_run_that_goes_on_trains_of_its_encoders_what_it_is_told(tmp_path: Path) -> None:
    source = save_tiny_vision(tmp_path / "vit", "pretrained_vit")
    texts = save_tiny_encoder(tmp_path / "bert", "bert")
    table = {key: value for key, value in TABLE.items() if key != "text_encoder"}
    text = TextConfig(encoder=str(texts))
    list(train(run_of(tmp_path / "run", source, clip=table, text=text)))
    model = tmp_path / "run" / "model"
    more = run_of(tmp_path / "more", clip={}, start_from=str(model))
    for image, words in ((False, False), (True, False), (False, True)):
        vision, text = VisionConfig(trainable=image), TextConfig(trainable=words)
        step = ClipStep(more.changed(vision=vision, text=text))
        held = weights_of(model)
        assert all(torch.equal(v, held[f"clip.{k}"]) for k, v in step.clip.state_dict().items())
        assert all(p.requires_grad == image for p in step.clip.image.body.parameters())
        assert all(p.requires_grad == words for p in step.clip.text.body.parameters())
        assert step.clip.image_projection.weight.requires_grad and step.clip.training
        assert step.table["image_encoder"]["trainable"] == image
    list(train(more))
    weights = import_image_encoder(str(source))[1]
    found = weights_of(tmp_path / "more" / "model")
    assert all(torch.equal(found[f"clip.image.body.{key}"], weights[key]) for key in weights)
    words_of = import_encoder(str(texts))[1]
    assert all(torch.equal(found[f"clip.text.body.{key}"], words_of[key]) for key in words_of)


def test_unclip_draws_from_a_picture_that_a_pretrained_encoder_saw(tmp_path: Path) -> None:
    source = save_tiny_vision(tmp_path / "vit", "pretrained_vit")
    list(train(run_of(tmp_path / "clip", source)))
    decoder = {k: v for k, v in DECODER.items() if k not in ("embedding", "text_vocabulary")}
    config = TrainConfig(
        "decoder",
        str(tmp_path / "run"),
        loop=LOOP,
        text_length=12,
        clip_from=str(tmp_path / "clip" / "model"),
        sampling={"steps": 2},
        data=DataConfig(held_for_validation=3, cached=9, captions=2, workers=0),
        tables={"decoder": decoder},
    )
    list(train(config))
    model = limner.load(tmp_path / "run" / "model")
    weights = import_image_encoder(str(source))[1]
    held = {key: value.half() for key, value in weights.items()}  # as it is exported
    assert all(
        torch.equal(v.half(), held[k]) for k, v in model.clip.image.body.state_dict().items()
    )
    (drawn,) = limner.draw("a red apple", model=model, seed=1)
    (other,) = limner.vary(drawn.image, "a red apple", model=model, seed=1)
    assert drawn.image.size == other.image.size == (SIZE, SIZE)
    assert drawn.image.tobytes() != other.image.tobytes()


@pytest.mark.parametrize("name", PRETRAINED_IMAGE)
def test_a_gan_is_judged_by_the_maps_of_a_pretrained_encoder(name: str, tmp_path: Path) -> None:
    source = save_tiny_vision(tmp_path / name, name)
    list(train(run_of(tmp_path / "clip", source)))
    model = str(tmp_path / "clip" / "model")
    config = gan_run(tmp_path / "gan" / "run", "clip", clip_from=model)
    step: Any = create_step(config)
    step.start(0)
    before = {key: value.clone() for key, value in step.clip.image.state_dict().items()}
    numbers = step(0)
    assert all(map(math.isfinite, numbers.values()))
    assert all(torch.equal(v, before[k]) for k, v in step.clip.image.state_dict().items())


HEAD = 'task = "clip"\nout = "x"\n'
VISION = "[vision]\nencoder = 'x'\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            HEAD + "[vision]\nencoder = 3",
            r"run.toml:4: vision\.encoder is 3, an int; expected a st",
        ),
        (HEAD + "[vision]\nencodr = 'x'", r"unknown key vision\.encodr; did you mean 'encoder'"),
        (HEAD + "[vision]\ntrainable = true", r"vision\.trainable is given, but vision\.encoder"),
        (HEAD + "[vision]\nsize = 32", r"vision\.size is given, but vision\.encoder, a pre"),
        (HEAD + VISION + "size = -1", r"vision\.size is -1; expected an int at least 0"),
        (HEAD + "start_from = 'y'\n" + VISION, r"vision\.encoder and start_from are both given"),
        (HEAD + "start_from = 'y'\nvision.size = 32", r"vision\.size and start_from are both giv"),
        (HEAD + VISION + "[clip.image_encoder]\nname = 'vit'", "pretrained one by vision.encoder"),
        (HEAD + "[clip.image_encoder]\nname = 'pretrained_vit'", "one by vision.encoder"),
        (HEAD + "[clip.image_encoder]\nname = [1]", "unknown image encoder"),
        ("task = 'codec'\nout = 'x'\n" + VISION, r"\[vision\] and task 'codec' are both given"),
        ("task = 'decoder'\nclip_from = 'y'\nout = 'x'\n" + VISION, "of the task 'clip'; leave"),
    ],
)
def test_mistakes_in_the_vision_table_are_told(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_encoder_is_refused_before_any_work(tmp_path: Path) -> None:
    source = save_tiny_encoder(tmp_path / "bert", "bert")
    with pytest.raises(CheckpointError, match="model_type 'bert'; expected one of vit, resnet, cl"):
        list(train(run_of(tmp_path / "run", source)))
    assert not (tmp_path / "run" / "model").exists()


def test_the_example_of_the_documentation_can_be_read(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```$", text, re.M | re.S)
    (example,) = [block for block in blocks if "[vision]" in block]
    (tmp_path / "run.toml").write_text(example)
    config = read_config(tmp_path / "run.toml")
    assert config.task == "clip" and config.settings(VisionConfig).encoder and config.text.encoder
    for name in (*PRETRAINED_IMAGE, "gpt2", "bert", "t5", "clip"):
        assert f"`{name}`" in text
