"""CLIP's training: it learns what it is shown, goes on exactly, and hands on a folder."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import limner
from limner.data.batches.batches import pixels_to_tensor
from limner.data.batches.pairs import PairBatch
from limner.data.scenes.scene import scene
from limner.errors import ConfigError
from limner.train.clip.settings import ClipTraining
from limner.train.clip.step import ClipStep
from limner.train.config.run import TrainConfig
from limner.train.config.shared import DataConfig, LoopConfig, TextConfig
from limner.train.inputs import caches
from limner.train.loop import train
from limner.train.steps import create_step
from tests.tiny_clip import CLIP, RESNET
from tests.tiny_encoders import save_tiny_encoder
from tests.tiny_model import save_tiny_model

LOOP = LoopConfig(steps=4, batch=4, warmup=2, validate_every=99, sample_every=99, save_every=2)


@pytest.fixture(autouse=True)
def font_found(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    monkeypatch.setattr(caches, "TOKENIZER_SCENES", 60)


def clip_run(out: Path, **changes: object) -> TrainConfig:
    config = TrainConfig(
        "clip",
        str(out),
        text_length=12,
        loop=LOOP,
        data=DataConfig(held_for_validation=2),
        tables={"clip": CLIP, "clip_training": ClipTraining(weights="fp32")},
    )
    return config.changed(**changes)


@pytest.mark.parametrize("loss", ["contrastive", "sigmoid"])
def test_eight_scenes_are_learnt_by_heart(loss: str, tmp_path: Path) -> None:
    loop = dataclasses.replace(LOOP, steps=150, batch=8, learning_rate=1e-2, bf16=False, warmup=5)
    table = CLIP | {"image_encoder": RESNET, "loss": loss}
    training = ClipTraining(weights="fp32", naming=0)
    step = ClipStep(clip_run(tmp_path, loop=loop, clip=table, clip_training=training))
    scenes = [scene("train", index, size=16) for index in range(8)]
    pixels = torch.stack([torch.from_numpy(each.image) for each in scenes])
    texts = [each.english for each in scenes]
    ids = step.tokenizer.batch([*texts, *texts[::-1]], 12).unflatten(0, (2, 8))[:1]
    step.batches = iter([PairBatch(pixels, ids, [each.graph for each in scenes])] * 150)
    told = [step(number) for number in range(60)]
    assert told[-1]["loss"] < told[0]["loss"] / 3
    step.clip.eval()
    near = (
        step.pipeline.encode_images(pixels_to_tensor(pixels.numpy()))
        @ step.pipeline.encode_texts(texts).T
    )
    assert near.argmax(0).tolist() == near.argmax(1).tolist() == list(range(8))


def test_a_share_of_pictures_is_seen_as_the_codec_gives_them_back(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "model")
    softened = ClipTraining(weights="fp32", softened=0.5)
    run = clip_run(tmp_path, codec_from=str(tmp_path / "model"), clip_training=softened)
    step = ClipStep(run)
    step.start(0)
    pictures = next(step.batches).pictures
    held = pictures.clone()
    seen = step._softened(pictures, 0)
    assert torch.equal(pictures, held)
    copies = step.codec.reconstruct(pixels_to_tensor(pictures.numpy()))
    copies = ((copies.movedim(1, -1) + 1) * 127.5).round().to(torch.uint8)
    changed = [not torch.equal(a, b) for a, b in zip(seen, pictures, strict=True)]
    assert 0 < sum(changed) < len(changed)
    wanted = torch.where(torch.tensor(changed)[:, None, None, None], copies, pictures)
    assert (seen.int() - wanted.int()).abs().max() <= 1
    step(0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"clip_training": ClipTraining(softened=0.5)}, "a codec softens"),
        ({"codec_from": "model"}, "a codec softens"),
    ],
)
def test_softening_wants_a_codec_and_a_share(
    changes: dict[str, object], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=told):
        clip_run(tmp_path, **changes).check_parts()


def test_a_codec_of_another_size_is_refused(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "model")
    table = CLIP | {"image_encoder": RESNET | {"size": 32}}
    softened = ClipTraining(softened=0.5)
    run = clip_run(tmp_path, codec_from=str(tmp_path / "model"), clip_training=softened, clip=table)
    with pytest.raises(ConfigError, match="codec of 16 pixels, but CLIP sees 32"):
        ClipStep(run)


def test_what_scenes_show_is_learnt_as_names(tmp_path: Path) -> None:
    loop = dataclasses.replace(LOOP, steps=60, batch=8, learning_rate=1e-2, bf16=False, warmup=5)
    step = ClipStep(clip_run(tmp_path, loop=loop, clip=CLIP | {"image_encoder": RESNET}))
    step.start(0)
    batch = next(step.batches)
    step.batches = iter([batch] * 60)
    step._questions = step._questions[:1]  # one of them, so that its answers compare
    told = [step(number)["naming"] for number in range(60)]
    assert told[-1] < told[0] / 3


@pytest.mark.parametrize("tower", ["vit", "resnet"])
def test_a_run_stopped_and_resumed_is_the_run_unbroken(tower: str, tmp_path: Path) -> None:
    table = CLIP if tower == "vit" else CLIP | {"image_encoder": RESNET}
    whole, broken = (clip_run(tmp_path / name, clip=table) for name in ("whole", "broken"))
    last = list(train(whole))[-1]
    steps = train(broken)
    next(steps), next(steps)
    steps.close()  # type: ignore[attr-defined]
    again = list(train(broken, resume=True))
    assert [each.step for each in again] == [3, 4]
    assert again[-1].numbers == last.numbers and again[-1].validation == last.validation
    first, second = (
        load_file(tmp_path / name / "state" / "tensors.safetensors") for name in ("whole", "broken")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    for name in ("model.safetensors", "tokenizer.json"):
        files = [(tmp_path / run / "model" / name).read_bytes() for run in ("whole", "broken")]
        assert files[0] == files[1]


def test_a_run_hands_on_a_clip_and_another_goes_on_from_it(tmp_path: Path) -> None:
    list(train(clip_run(tmp_path / "first")))
    model = limner.load(tmp_path / "first" / "model")
    assert (model.info.name, model.info.family) == ("first", "clip")
    half = clip_run(
        tmp_path / "more", start_from=str(tmp_path / "first" / "model"), clip={},
        clip_training=ClipTraining(),
    )  # fmt: skip
    step = ClipStep(half)
    assert all(
        torch.equal(value, model.clip.state_dict()[name])
        for name, value in step.clip.state_dict().items()
    )
    assert all(each.requires_grad for each in step.clip.parameters())
    list(train(half))
    folders = [tmp_path / name / "model" / "model.safetensors" for name in ("first", "more")]
    weights = [load_file(folder) for folder in folders]
    assert {each.dtype for each in weights[1].values()} == {torch.float16}
    assert folders[1].stat().st_size < 0.6 * folders[0].stat().st_size


def test_going_on_in_the_wide_world_adds_its_words_after_those_that_are_known(
    tmp_path: Path,
) -> None:
    list(train(clip_run(tmp_path / "first")))
    known = limner.load(tmp_path / "first" / "model")
    wide = clip_run(
        tmp_path / "more", start_from=str(tmp_path / "first" / "model"), clip={},
        data=DataConfig(level=8, held_for_validation=2),
    )  # fmt: skip
    step = ClipStep(wide)
    held, words = known.clip.state_dict(), "text.weight"
    rows = len(held[words])
    assert step.tokenizer.vocabulary == len(step.clip.state_dict()[words]) > rows
    assert step.tokenizer.encode("a stethoscope") != known.tokenizer.encode("a stethoscope")
    for name, value in step.clip.state_dict().items():
        assert torch.equal(value[:rows] if name == words else value, held[name])
    ids = known.tokenizer.batch(["a red car left of a cat"], 12)
    assert torch.equal(known.clip.encode_texts(ids), step.clip.eval().encode_texts(ids))
    list(train(wide))
    assert limner.load(tmp_path / "more" / "model").clip.config.text_vocabulary > rows


def test_a_pretrained_text_encoder_can_be_read(tmp_path: Path) -> None:
    save_tiny_encoder(tmp_path / "bert", "bert")
    table = {key: value for key, value in CLIP.items() if key != "text_encoder"}
    config = clip_run(tmp_path / "run", clip=table, text=TextConfig(encoder=str(tmp_path / "bert")))
    list(train(config))
    model = limner.load(tmp_path / "run" / "model")
    assert model.clip.config.text_encoder["name"] == "bert"


def test_validation_measures_and_leaves_training_as_it_was(tmp_path: Path) -> None:
    step = create_step(clip_run(tmp_path, clip=CLIP | {"image_encoder": RESNET}))
    before = {name: value.clone() for name, value in step.modules["clip"].state_dict().items()}
    found = step.validate()
    assert found == step.validate()
    assert all(value * 2 == int(value * 2) for value in found.values())
    assert step.modules["clip"].training
    assert all(torch.equal(before[n], v) for n, v in step.modules["clip"].state_dict().items())
    assert step.samples().shape == (32, 3, 16, 16)
    json.dumps(found)


def test_the_scale_never_leaves_its_limit(tmp_path: Path) -> None:
    step = ClipStep(clip_run(tmp_path))
    step.clip.log_scale.data.fill_(9.0)
    step.start(0)
    assert step(0)["scale"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clip": CLIP | {"width": 17}}, "width is 17 for 2 heads"),
        ({"clip": CLIP | {"depth": 17}}, "no setting 'depth'"),
        (
            {"clip": CLIP | {"text_vocabulary": 17}},
            "clip.text_vocabulary is decided by",
        ),
        ({"start_from": "x"}, "and start_from are both given"),
        ({"text": TextConfig(encoder="x")}, "name a pretrained one by text.encoder"),
    ],
)
def test_configs_that_cannot_be_trained_are_refused(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        list(train(clip_run(tmp_path, **changes)))
    assert not any(tmp_path.iterdir())


def test_a_model_that_draws_is_no_beginning(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "model")
    with pytest.raises(ConfigError, match="start_from holds a model of the family 'dalle'"):
        ClipStep(clip_run(tmp_path / "run", start_from=str(model), clip={}))
