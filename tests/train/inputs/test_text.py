"""A prior with a pretrained text encoder: trained, saved, loaded and drawn with, all offline."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from limner import draw, load
from limner.errors import CheckpointError, ConfigError
from limner.text.importing import import_encoder
from limner.text.pretrained_tokenizer import PretrainedTokenizer
from limner.train.config.run import TrainConfig
from limner.train.config.shared import DataConfig, LoopConfig, TextConfig
from limner.train.inputs import caches
from limner.train.loop import train
from limner.train.prior.step import PriorStep
from limner.train.reading import read_config
from tests.tiny_encoders import NAMES, save_tiny_encoder
from tests.tiny_model import save_tiny_model

PRIOR = {"name": "gpt", "width": 16, "layers": 1, "heads": 2, "hidden": 16}
LOOP = LoopConfig(steps=2, batch=4, warmup=1, learning_rate=0.01, average=0.0)


@pytest.fixture(autouse=True)
def font_found(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    monkeypatch.setattr(caches, "TOKENIZER_SCENES", 60)
    transformers.utils.logging.disable_progress_bar()


def run_of(folder: Path, **changes: Any) -> TrainConfig:
    codec = folder / "codec"
    if not codec.exists():
        save_tiny_model(codec)
        (folder / "run").mkdir()
        (folder / "more").mkdir()
    config = TrainConfig(
        "prior",
        str(folder / "run"),
        codec_from=str(codec),
        text_length=12,
        data=DataConfig(cached=16, captions=2, held_for_validation=2),
        loop=LOOP,
        tables={"prior": PRIOR},
    )
    return config.changed(**changes)


def finish(config: TrainConfig) -> Path:
    *_, last = train(config)
    assert last.step == LOOP.steps
    return Path(config.out) / "model"


@pytest.mark.parametrize("name", NAMES)
def test_a_model_with_a_pretrained_encoder_trains_saves_and_draws(
    name: str, tmp_path: Path
) -> None:
    source = save_tiny_encoder(tmp_path / name, name)
    weights = import_encoder(str(source))[1]
    model = finish(run_of(tmp_path, text=TextConfig(encoder=str(source))))
    for path in source.iterdir():
        path.unlink()  # from here on the model's folder alone must do
    held = load_file(model / "model.safetensors")
    assert {key for key in held if key.startswith("prior.text.body.")} == {
        f"prior.text.body.{key}" for key in weights
    }
    assert all(torch.equal(held[f"prior.text.body.{key}"], weights[key]) for key in weights)
    pipeline = load(model)
    assert isinstance(pipeline.tokenizer, PretrainedTokenizer)
    assert not pipeline.prior.text.body.training
    first, again = (draw("a red apple", model=m, seed=3)[0] for m in (pipeline, load(model)))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.image.size == (16, 16)


def test_a_frozen_encoder_stays_and_its_projection_learns(tmp_path: Path) -> None:
    source = save_tiny_encoder(tmp_path / "t5", "t5")
    for trainable in (False, True):
        text = TextConfig(encoder=str(source), trainable=trainable)
        step: Any = PriorStep(run_of(tmp_path, text=text))
        before = {key: value.clone() for key, value in step.prior.text.state_dict().items()}
        step.start(0)
        step(0)
        changed = {
            k for k, v in step.prior.text.state_dict().items() if not torch.equal(v, before[k])
        }
        assert {"project.weight", "project.bias"} <= changed
        assert any(key.startswith("body.") for key in changed) == trainable
        optimised = {id(p) for o in step.optimizers for g in o.param_groups for p in g["params"]}
        body = {id(parameter) for parameter in step.prior.text.body.parameters()}
        assert body <= optimised if trainable else not body & optimised
        assert step.prior.text.body.training == trainable


def test_training_goes_on_from_a_model_with_its_encoder(tmp_path: Path) -> None:
    source = save_tiny_encoder(tmp_path / "bert", "bert")
    model = finish(run_of(tmp_path, text=TextConfig(encoder=str(source), keywords=True)))
    more = run_of(
        tmp_path, out=str(tmp_path / "more"), codec_from="", start_from=str(model),
        text=TextConfig(trainable=True),
    )  # fmt: skip
    step: Any = PriorStep(more)
    assert step.prior.text.config.trainable and step.tokenizer.keywords
    held = load_file(model / "model.safetensors")
    for key, value in step.prior.text.state_dict().items():
        assert torch.equal(value, held[f"prior.text.{key}"]), key


def test_a_model_trained_with_keywords_is_drawn_with_keywords(tmp_path: Path) -> None:
    model = finish(run_of(tmp_path, text=TextConfig(keywords=True)))
    pipeline = load(model)
    assert pipeline.tokenizer.keywords
    first, second = (
        draw(prompt, model=pipeline, seed=1)[0] for prompt in ("the red apple", "red apple")
    )
    assert first.image.tobytes() == second.image.tobytes()
    assert not first.notes


def test_our_own_encoder_can_have_layers(tmp_path: Path) -> None:
    prior = PRIOR | {"text_encoder": {"name": "own", "layers": 1, "heads": 2, "hidden": 16}}
    pipeline = load(finish(run_of(tmp_path, prior=prior)))
    assert len(pipeline.prior.text.transformer.blocks) == 1


def test_a_vocabulary_beyond_16_bits_is_kept_whole(tmp_path: Path) -> None:
    source = save_tiny_encoder(tmp_path / "bert", "bert", more_words=40_000)
    step: Any = PriorStep(run_of(tmp_path, text=TextConfig(encoder=str(source))))
    text, _ = step.codes.train.read(torch.arange(16))
    assert int(text.max()) > 2**15
    assert int(text.min()) == 0


def test_a_tokenizer_of_another_encoder_is_refused(tmp_path: Path) -> None:
    source = save_tiny_encoder(tmp_path / "bert", "bert")
    (source / "tokenizer.json").write_text(
        (save_tiny_encoder(tmp_path / "clip", "clip") / "tokenizer.json").read_text()
    )
    with pytest.raises(CheckpointError, match="has 516 ids, but the model knows 25; they belong"):
        PriorStep(run_of(tmp_path, text=TextConfig(encoder=str(source))))
    assert not any((tmp_path / "run").iterdir())


def test_a_length_beyond_the_encoders_is_refused_before_any_work(tmp_path: Path) -> None:
    source = save_tiny_encoder(tmp_path / "clip", "clip")
    config = run_of(tmp_path, text=TextConfig(encoder=str(source)), text_length=33)
    with pytest.raises(ConfigError, match=r"text_length is 33; .* reads at most 32 tokens"):
        PriorStep(config)
    assert not any((tmp_path / "run").iterdir())


def test_a_changed_folder_is_refused(tmp_path: Path) -> None:
    source = save_tiny_encoder(tmp_path / "gpt2", "gpt2")
    model = finish(run_of(tmp_path, text=TextConfig(encoder=str(source))))
    (model / "manifest.json").write_text(json.dumps({"files": {}}))
    with pytest.raises(CheckpointError, match="does not list"):
        load(model)


HEAD = 'task = "prior"\nout = "x"\ncodec_from = "y"\ndata.cached = 64\nprior.name = "gpt"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[text]\nencoder = 3", r"text\.encoder is 3, an int; expected a str"),
        ("[text]\nencodr = 'x'", r"unknown key text\.encodr; did you mean 'encoder'"),
        ("[text]\ntrainable = true", r"text\.trainable is given, but text\.encoder, a"),
        ("prior.text_encoder.name = 'bert'", r"prior\.text_encoder .* by text\.encoder"),
        ("prior.text_encoder.width = 3", r"text_encoder\.width is the prior's own"),
        ("prior.text_encoder.layrs = 3", r"no setting 'layrs'; did you mean 'layers'"),
        ("prior.text_encoder = 3", r"text_encoder is 3, an int; expected a table"),
    ],
)
def test_mistakes_in_the_text_table_are_told(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(HEAD + text)
    with pytest.raises(ConfigError, match=words):
        read_config(path)


@pytest.mark.parametrize("key", ["encoder", "keywords"])
def test_a_whole_model_decides_how_it_reads_text(key: str, tmp_path: Path) -> None:
    text = TextConfig(**{key: {"encoder": "x", "keywords": True}[key]})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=rf"text\.{key} and start_from are both given"):
        run_of(tmp_path, codec_from="", start_from="y", text=text)
